"""The API's URLs. The OpenAPI description is made from the same list."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from chatsite.api import error_responses as errors
from chatsite.api.http import openapi
from chatsite.api.http.endpoints import Endpoint, with_id
from chatsite.api.schemas.chat_completions import ChatBody, ChatCompletion, ChatCompletionChunk
from chatsite.api.schemas.replies import Model, ModelList
from chatsite.api.schemas.text_completions import Completion, CompletionBody
from chatsite.api.schemas.tokens import DetokenizeBody, Detokenized, TokenizeBody, Tokenized
from chatsite.api.serving.completions import chat_completion, completion
from chatsite.api.serving.tokenization import detokenize, list_models, one_model, tokenize

ENDPOINTS = [
    Endpoint(
        path="models",
        method="GET",
        summary="The models that this key may use.",
        answer=list_models,
        gives=ModelList,
    ),
    Endpoint(
        path="models/<path:model>",
        method="GET",
        summary="One model.",
        answer=one_model,
        gives=Model,
    ),
    Endpoint(
        path="chat/completions",
        method="POST",
        summary="The next turn of a conversation.",
        answer=chat_completion,
        takes=ChatBody,
        gives=ChatCompletion,
        streams=ChatCompletionChunk,
        generates=True,
    ),
    Endpoint(
        path="completions",
        method="POST",
        summary="What follows a text or tokens.",
        answer=completion,
        takes=CompletionBody,
        gives=Completion,
        streams=Completion,
        generates=True,
    ),
    Endpoint(
        path="tokenize",
        method="POST",
        summary="Text or a conversation as token ids.",
        answer=tokenize,
        takes=TokenizeBody,
        gives=Tokenized,
    ),
    Endpoint(
        path="detokenize",
        method="POST",
        summary="Token ids as text.",
        answer=detokenize,
        takes=DetokenizeBody,
        gives=Detokenized,
    ),
]


NOT_YET = {
    "responses": "/v1/responses isn't served yet: use /v1/chat/completions.",
    "embeddings": "/v1/embeddings isn't served: no model here makes embeddings.",
}
"""What clients of OpenAI's API also ask for, and what they are told."""


@csrf_exempt
async def no_such_url(request: HttpRequest, rest: str) -> HttpResponse:
    first = rest.partition("/")[0]
    if (sentence := NOT_YET.get(first)) is not None:
        return with_id(errors.not_served(sentence).response())
    return with_id(errors.no_such_url(request.method or "", request.path).response())


app_name = "api"
urlpatterns = [
    path("openapi.json", openapi.view_of(ENDPOINTS), name="openapi"),
    *(path(each.path, csrf_exempt(each.view)) for each in ENDPOINTS),  # by key, never by cookie
    re_path(r"^(?P<rest>[\s\S]*)$", no_such_url),  # a line's end in a path, too
]
