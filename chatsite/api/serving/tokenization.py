"""/v1/models, /v1/tokenize and /v1/detokenize: what there is, and text as tokens.

Tokenizing also serves vocabularies without a model: folders that have a tokenizer and nothing else.
"""

from __future__ import annotations

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError, no_such_model
from chatsite.api.http.endpoints import Caller
from chatsite.api.schemas.replies import Model, ModelList
from chatsite.api.schemas.tokens import DetokenizeBody, Detokenized, TokenizeBody, Tokenized
from chatsite.api.serving import prompts
from chatsite.catalog.models import LanguageModel
from inference import client


def list_models(caller: Caller) -> ModelList:
    models = LanguageModel.objects.filter(is_enabled=True)
    return {"object": "list", "data": [_model(m) for m in models if caller.may_use(m.slug)]}


def one_model(caller: Caller) -> Model:
    return _model(caller.model(caller.path["model"]))


def _model(model: LanguageModel) -> Model:
    return {
        "id": model.slug,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "chatsite",
        "name": model.name,
        "max_model_len": client.context_length(model.slug),
    }


def tokenize(caller: Caller, body: TokenizeBody) -> Tokenized:
    text, system_prompt = _text(caller, body.model)
    tokens: list[int]
    if body.messages is not None:
        turns = prompts.turns_of(body.messages, system_prompt=system_prompt)
        tokens = list(
            prompts.chat_tokens(
                text,
                turns,
                variables=body.chat_template_kwargs,
                add_generation_prompt=body.add_generation_prompt is not False,
                continue_final_message=bool(body.continue_final_message),
                add_special_tokens=bool(body.add_special_tokens),
            )
        )
    else:
        special = body.add_special_tokens is not False
        tokens = prompts.raw_tokens(text, body.prompt or "", add_special_tokens=special)
    reply: Tokenized = {
        "count": len(tokens),
        "max_model_len": text.context_length,
        "tokens": tokens,
    }
    if body.return_token_strs:
        reply["token_strs"] = [text.vocabulary.token(token) or "" for token in tokens]
    return reply


def detokenize(caller: Caller, body: DetokenizeBody) -> Detokenized:
    text, _system_prompt = _text(caller, body.model)
    if body.tokens and (highest := max(body.tokens)) >= text.vocab_size:
        message = (
            f"Invalid 'tokens': token id {highest} is not in the vocabulary. Expected ids from 0 "
            f"to {text.vocab_size - 1}."
        )
        raise ApiError(400, message, param="tokens", code=ApiCode.INVALID_VALUE)
    return {"prompt": text.decode(body.tokens)}


def _text(caller: Caller, name: str) -> tuple[client.TextModel, str]:
    """An enabled model's vocabulary and system prompt, or a vocabulary that belongs to no model.

    Raises ApiError 404.
    """
    if LanguageModel.objects.filter(slug=name).exists():
        model = caller.model(name)
        return prompts.text_of_model(model), model.system_prompt
    if "/" in name or not caller.may_use(name):  # a path would lead to models of any state
        raise no_such_model(name)
    try:
        return client.load_text(name), ""
    except client.ClientError:
        raise no_such_model(name) from None
