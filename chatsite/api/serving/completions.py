"""/v1/chat/completions and /v1/completions: from a body to a run of requests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.http.endpoints import Caller
from chatsite.api.schemas.chat_completions import ChatBody
from chatsite.api.schemas.common import (
    MAX_CHOICES,
    GenerationBody,
)
from chatsite.api.schemas.text_completions import DEFAULT_MAX_TOKENS, CompletionBody
from chatsite.api.serving import prompts
from chatsite.api.serving.choice import Choice
from chatsite.api.serving.formats import ChatFormat, CompletionFormat
from chatsite.api.serving.reasoning import Split, speaks_harmony, split_of
from chatsite.api.serving.reply import GenerationReply, opened
from chatsite.api.serving.runs import Run
from chatsite.api.serving.sampling_params import sampling_of
from chatsite.api.serving.structured import form_of
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.selection import choose_preset
from chatsite.generation.build import build_request
from inference import client
from inference.contract import PRIORITY_API, SamplingParams


def chat_completion(caller: Caller, body: ChatBody) -> GenerationReply:
    model = caller.model(body.model)
    preset = choose_preset(body.preset, model) if body.preset else None
    text = prompts.text_of_model(model)
    turns = prompts.turns_of(body.messages, system_prompt=model.system_prompt)
    variables = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        variables["reasoning_effort"] = body.reasoning_effort
    opens = body.add_generation_prompt is not False
    prompt = prompts.chat_tokens(
        text,
        turns,
        variables=variables,
        add_generation_prompt=opens,
        continue_final_message=bool(body.continue_final_message),
        add_special_tokens=bool(body.add_special_tokens),
    )
    asked = _asked(
        body,
        preset,
        text,
        prompt,
        what="messages",
        max_tokens=body.max_completion_tokens or body.max_tokens,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        keeps_first_space=not opens,
    )
    if speaks_harmony(text):
        asked = asked.spelling_marks()
    run = _run(caller, model, body, text, [asked], splits_reasoning=True)
    echoed = turns[-1]["content"] if body.echo and not opens else ""
    return opened(run, ChatFormat(run, body, echoed=echoed), body, preset)


def completion(caller: Caller, body: CompletionBody) -> GenerationReply:
    model = caller.model(body.model)
    preset = choose_preset(body.preset, model) if body.preset else None
    text = prompts.text_of_model(model)
    _check_together(body)
    given = prompts.split_prompts(body.prompt)
    special = body.add_special_tokens is not False
    asked = [
        _asked(
            body,
            preset,
            text,
            prompts.prompt_tokens(text, p, add_special_tokens=special),
            what="prompt",
            max_tokens=body.max_tokens,
            default=DEFAULT_MAX_TOKENS,
            logprobs=body.logprobs,
            keeps_first_space=True,
        )
        for p in given
    ]
    run = _run(
        caller,
        model,
        body,
        text,
        asked,
        is_echo_only=body.max_tokens == 0,
        echo_logprobs=body.logprobs if body.echo else None,
    )
    is_whole = body.truncate_prompt_tokens is None
    echoed = [
        p if isinstance(p, str) and is_whole else text.decode(one.prompt)
        for p, one in zip(given, asked, strict=True)
    ]
    return opened(run, CompletionFormat(run, body, echoed), body, preset)


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt and how its answers are drawn."""

    prompt: tuple[int, ...]
    sampling: SamplingParams

    def spelling_marks(self) -> Asked:
        """The same with control tokens spelled out in the text, for a Split that removes them."""
        return Asked(self.prompt, dataclasses.replace(self.sampling, skip_special_tokens=False))


def _asked(
    body: GenerationBody,
    preset: SamplingPreset | None,
    text: client.TextModel,
    prompt: tuple[int, ...],
    *,
    what: str,
    max_tokens: int | None,
    default: int | None = None,
    logprobs: int | None,
    keeps_first_space: bool,
) -> Asked:
    """The prompt, cut if that is wanted, and parameters that fit it. Raises ApiError."""
    context = _context(text)
    if (truncation := prompts.truncation_of(body)) is not None:
        prompt = truncation.of(prompt, context - (1 if max_tokens is None else max_tokens))
    if max_tokens is None:  # nobody asked for a number: it is what there is room for
        limit = preset.max_tokens if preset is not None else default
        max_tokens = None if limit is None else max(1, min(limit, context - len(prompt)))
    room = prompts.room_for_answer(context, len(prompt), max_tokens, what=what)
    sampling = sampling_of(
        body,
        preset,
        max_tokens=max(1, room),  # to score a prompt alone, a token is made and not shown
        logprobs=logprobs,
        text=text,
        keeps_first_space=keeps_first_space,
    )
    return Asked(prompt, sampling)


def _check_together(body: CompletionBody) -> None:
    if body.max_tokens == 0 and not body.echo:
        message = "Invalid 'max_tokens': 0 is for 'echo' alone. Expected a value >= 1."
        raise ApiError(400, message, param="max_tokens", code=ApiCode.INTEGER_BELOW_MIN)
    if body.best_of is not None and body.best_of != (body.n or 1):
        message = "Invalid 'best_of': only the value of 'n' is supported."
        raise ApiError(400, message, param="best_of", code=ApiCode.UNSUPPORTED_VALUE)


def _context(text: client.TextModel) -> int:
    if text.context_length is None:
        raise ApiError(400, "This is a vocabulary without a model.", param="model")
    return text.context_length


def _run(
    caller: Caller,
    model: LanguageModel,
    body: GenerationBody,
    text: client.TextModel,
    asked: list[Asked],
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
        raise ApiError(400, message, param="n", code=ApiCode.INTEGER_ABOVE_MAX)
    form = form_of(body)
    scored = [top for top in (echo_logprobs, body.prompt_logprobs) if top is not None]
    choices = []
    for index in range(len(asked) * n):
        one = asked[index // n]
        if is_echo_only and len(one.prompt) == text.context_length:
            echo: int | None = max(scored, default=0)  # tells the engine that no answer has to fit
        else:
            # The same for all choices of a prompt: the first brings it.
            echo = max(scored) if scored and index % n == 0 else None
        request = build_request(
            model=model.slug,
            prompt_token_ids=one.prompt,
            sampling=one.sampling,
            choice=index % n,
            received=caller.received,
            priority=PRIORITY_API + (body.priority or 0),
            source="api",
            echo_logprobs=echo,
            constraint=form.constraint if form else None,
            cache_salt=body.cache_salt or "",
        )
        choices.append(
            Choice(
                index=index,
                prompt_index=index // n,
                request=request,
                text=text,
                split=_split(body, text, one) if splits_reasoning else None,
                hides_reasoning=getattr(body, "include_reasoning", None) is False,
                shows_stop=bool(body.include_stop_str_in_output),
                is_echo_only=is_echo_only,
                form_param=form.param if form else None,
            )
        )
    return Run(caller.key, model, choices)


def _split(body: GenerationBody, text: client.TextModel, asked: Asked) -> Split | None:
    """How to separate reasoning from the answer; None where the text keeps its control tokens."""
    if speaks_harmony(text) and body.skip_special_tokens is False:
        return None
    continues = bool(getattr(body, "continue_final_message", None))
    return split_of(text, asked.prompt, continues=continues)
