"""/v1/chat/completions and /v1/completions: from a body to a run of requests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from uuid import uuid4

from django.http import HttpResponse, StreamingHttpResponse

from chatsite.api import prompts
from chatsite.api.choices import Choice
from chatsite.api.endpoints import Caller, page_of
from chatsite.api.errors import ApiError
from chatsite.api.formats import ChatFormat, CompletionFormat, Format
from chatsite.api.replies import streamed_reply, whole_reply
from chatsite.api.runs import Run, refuse_without_worker, stop
from chatsite.api.sampling import response_schema_of, sampling_of
from chatsite.api.schemas.chat import ChatBody
from chatsite.api.schemas.common import MAX_CHOICES, GenerationBody
from chatsite.api.schemas.completions import DEFAULT_MAX_TOKENS, CompletionBody
from chatsite.api.threads import POOL
from chatsite.catalog.choices import choose_preset, with_seed
from chatsite.catalog.models import LanguageModel, SamplingPreset
from inference import client
from inference.contract import PRIORITY_BATCH, GenerationRequest, SamplingParams


def chat_completion(caller: Caller, body: ChatBody) -> GenerationReply:
    model = caller.model(body.model)
    preset = choose_preset(body.preset, model) if body.preset else None
    text = prompts.text_of_model(model)
    turns = prompts.turns_of(body.messages, system_prompt=model.system_prompt)
    variables = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        variables["reasoning_effort"] = body.reasoning_effort
    prompt = prompts.chat_tokens(text, turns, variables=variables)
    max_tokens = body.max_completion_tokens or body.max_tokens
    sampling = _sampling(
        body,
        preset,
        text,
        prompts.room_for_answer(
            _context(text),
            len(prompt),
            max_tokens or _preset_limit(preset, text, len(prompt)),
            what="messages",
        ),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
    )
    run = _run(caller, model, body, text, [(prompt, sampling)], splits_reasoning=True)
    return _opened(run, ChatFormat(run, body), body, preset)


def completion(caller: Caller, body: CompletionBody) -> GenerationReply:
    model = caller.model(body.model)
    preset = choose_preset(body.preset, model) if body.preset else None
    text = prompts.text_of_model(model)
    _check_together(body)
    given = prompts.split_prompts(body.prompt)
    special = body.add_special_tokens is not False
    tokens = [prompts.prompt_tokens(text, p, add_special_tokens=special) for p in given]
    asked = []
    for prompt in tokens:
        limit = body.max_tokens
        if limit is None:
            limit = _preset_limit(preset, text, len(prompt)) or DEFAULT_MAX_TOKENS
        room = prompts.room_for_answer(_context(text), len(prompt), max(1, limit), what="prompt")
        asked.append((prompt, _sampling(body, preset, text, room, logprobs=body.logprobs)))
    run = _run(
        caller,
        model,
        body,
        text,
        asked,
        is_echo_only=body.max_tokens == 0,
        echo_logprobs=body.logprobs if body.echo else None,
    )
    echoed = [p if isinstance(p, str) else text.decode(p) for p in given]
    return _opened(run, CompletionFormat(run, body, echoed), body, preset)


def _check_together(body: CompletionBody) -> None:
    if body.max_tokens == 0 and not body.echo:
        message = "Invalid 'max_tokens': 0 is for 'echo' alone. Expected a value >= 1."
        raise ApiError(400, message, param="max_tokens", code="integer_below_min_value")
    if body.best_of is not None and body.best_of != (body.n or 1):
        message = "Invalid 'best_of': only the value of 'n' is supported."
        raise ApiError(400, message, param="best_of", code="unsupported_value")


def _context(text: client.TextModel) -> int:
    if text.context_length is None:
        raise ApiError(400, "This is a vocabulary without a model.", param="model")
    return text.context_length


def _preset_limit(
    preset: SamplingPreset | None, text: client.TextModel, prompt_length: int
) -> int | None:
    """The preset's max tokens, as far as the context has room: it wasn't asked for by number."""
    if preset is None:
        return None
    return max(1, min(preset.max_tokens, _context(text) - prompt_length))


def _sampling(
    body: GenerationBody,
    preset: SamplingPreset | None,
    text: client.TextModel,
    max_tokens: int,
    *,
    logprobs: int | None,
) -> SamplingParams:
    return sampling_of(
        body, preset, max_tokens=max_tokens, logprobs=logprobs, vocab_size=text.vocab_size
    )


def _run(
    caller: Caller,
    model: LanguageModel,
    body: GenerationBody,
    text: client.TextModel,
    asked: list[tuple[tuple[int, ...], SamplingParams]],
    *,
    splits_reasoning: bool = False,
    is_echo_only: bool = False,
    echo_logprobs: int | None = None,
) -> Run:
    """One request for each choice of each prompt, n choices of a prompt side by side."""
    n = body.n or 1
    if len(asked) * n > MAX_CHOICES:
        message = (
            f"Invalid 'n': {len(asked)} prompts with {n} choices each are {len(asked) * n} "
            f"choices. At most {MAX_CHOICES} are made at once."
        )
        raise ApiError(400, message, param="n", code="integer_above_max_value")
    schema = response_schema_of(body)
    choices = []
    for index in range(len(asked) * n):
        prompt, sampling = asked[index // n]
        request = GenerationRequest(
            request_id=uuid4().hex,
            model=model.slug,
            prompt_token_ids=prompt,
            sampling=_seeded(sampling, index % n),
            received=caller.received,
            priority=PRIORITY_BATCH + (body.priority or 0),
            source="api",
            echo_logprobs=echo_logprobs,
            response_schema=schema,
        )
        choices.append(
            Choice(
                index=index,
                prompt_index=index // n,
                request=request,
                text=text,
                splits_reasoning=splits_reasoning,
                shows_stop=bool(body.include_stop_str_in_output),
                is_echo_only=is_echo_only,
            )
        )
    return Run(caller.key, model, choices)


def _seeded(sampling: SamplingParams, number: int) -> SamplingParams:
    """Choices of one prompt draw differently: a given seed is counted up."""
    if sampling.seed is not None and number:
        seed = (sampling.seed + number + 2**63) % 2**64 - 2**63
        return dataclasses.replace(sampling, seed=seed)
    return with_seed(sampling)


@dataclass(frozen=True, slots=True)
class GenerationReply:
    """A run under way and how its reply is written."""

    run: Run
    form: Format
    body: GenerationBody

    async def response(self) -> HttpResponse:
        response: HttpResponse | StreamingHttpResponse
        try:
            if self.body.stream:
                response = await streamed_reply(self.run, self.form, self.body.stream_options)
            else:
                response = await whole_reply(self.run, self.form)
        except ApiError as error:
            error.headers |= self._headers()
            raise
        for name, value in self._headers().items():
            response[name] = value
        return response

    def abandon(self) -> None:
        POOL.submit(stop, self.run.choices)

    def _headers(self) -> dict[str, str]:
        headers = {"x-request-id": self.run.id, **self.run.headers}
        if page := page_of(self.run.id):
            headers["Link"] = f'<{page}>; rel="describedby"'
        return headers


def _opened(
    run: Run, form: Format, body: GenerationBody, preset: SamplingPreset | None
) -> GenerationReply:
    refuse_without_worker(run.model)
    run.open(preset)
    return GenerationReply(run, form, body)
