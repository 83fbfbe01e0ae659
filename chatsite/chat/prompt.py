"""From a branch of a conversation to the request that answers it."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _

from chatsite import figure_format
from chatsite.catalog.models import LanguageModel
from chatsite.chat.models import Message
from chatsite.errors import ChatError
from chatsite.generation.build import build_request
from inference import client
from inference.contract import ErrorCode, GenerationRequest, SamplingParams, Stamp

Turn = dict[str, str]


def turns_to(leaf: Message | None) -> list[Turn]:
    """The branch from its root to `leaf` as chat turns; answers without text are left out."""
    if leaf is None:
        return []
    rows = {
        row["id"]: row
        for row in Message.objects.filter(conversation_id=leaf.conversation_id).values(
            "id", "parent_id", "role", "text"
        )
    }
    turns: list[Turn] = []
    at = leaf.id
    while at is not None:
        row = rows[at]
        if row["text"]:
            turns.append({"role": row["role"], "content": row["text"]})
        at = row["parent_id"]
    turns.reverse()
    return turns


def request_for(
    turns: list[Turn],
    *,
    model: LanguageModel,
    sampling: SamplingParams,
    received: Stamp,
    request_id: UUID,
    continue_from: tuple[int, ...] = (),
) -> tuple[GenerationRequest, int]:
    """The request for these turns, and how many of the oldest were left out. Raises ChatError."""
    if model.system_prompt:
        turns = [{"role": "system", "content": model.system_prompt}, *turns]
    try:
        fitted = client.fit(
            model.slug, turns, max_tokens=sampling.max_tokens, continued_tokens=len(continue_from)
        )
    except client.PromptTooLong as error:
        raise ChatError(ErrorCode.PROMPT_TOO_LONG, _too_long(error), field="text") from error
    except client.ClientError as error:
        raise ChatError(error.code) from error
    request = build_request(
        model=model.slug,
        prompt_token_ids=fitted.token_ids,
        sampling=sampling,
        received=received,
        source="chat",
        request_id=request_id,
        continue_from=continue_from,
        wants_records=settings.SAVE_TOKEN_TRACES,
    )
    return request, fitted.trimmed_messages


def _too_long(error: client.PromptTooLong) -> str:
    counted = (
        _("This is too long for the model: %(prompt)s tokens, and its context holds %(context)s.")
        if error.is_exact
        else _(
            "This is too long for the model: more than %(prompt)s tokens, and its context holds "
            "%(context)s."
        )
    )
    return counted % {
        "prompt": figure_format.count(error.prompt_tokens),
        "context": figure_format.count(error.context_length),
    }
