"""The only writer of conversations and messages; notifies the owner's open pages.

Every action checks whose it is, validates, writes in one transaction and sends on commit. Actions
raise ChatError with a code for the client and a sentence for the person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.selection import choose_model, choose_preset
from chatsite.chat import notify
from chatsite.chat.access import own_conversation, own_message
from chatsite.chat.models import Conversation, Message
from chatsite.chat.prompt import request_for, turns_to
from chatsite.chat.texts import auto_title, clean_text, clean_title
from chatsite.error_messages import field_sentence
from chatsite.errors import ChatError
from chatsite.generation.models import Generation
from chatsite.generation.rows import open_generation, stored_sampling
from chatsite.generation.submit import cancel, submit_or_wait
from inference import client
from inference.contract import (
    ErrorCode,
    GenerationRequest,
    InvalidField,
    SamplingParams,
    Stamp,
    is_end_token,
)


@dataclass(frozen=True)
class Accepted:
    """What an action stored: the messages to show, question first."""

    conversation: Conversation
    messages: list[Message]


def send_message(
    user: User,
    *,
    question_id: UUID,
    answer_id: UUID,
    request_id: UUID,
    text: str,
    conversation_id: UUID | None = None,
    parent_id: UUID | None = None,
    model_slug: str = "",
    preset_slug: str = "",
    channel: str = "",
) -> Accepted:
    """Store a question and its pending answer under the ids that the page made.

    As with all three actions that ask: the same request again changes nothing, and `channel` is the
    asking socket's, which is not notified.
    """
    received = Stamp.now()
    if (known := _already(user, request_id)) is not None:
        return known
    text = clean_text(text)
    conversation = own_conversation(user, conversation_id) if conversation_id else None
    model = choose_model(model_slug or (conversation.model_slug if conversation else ""))
    preset = choose_preset(preset_slug or (conversation.preset_slug if conversation else ""), model)
    parent = _parent(conversation, parent_id)
    turns = [*turns_to(parent), {"role": "user", "content": text}]
    request, trimmed = request_for(
        turns, model=model, sampling=_sampling_of(preset), received=received, request_id=request_id
    )

    def write() -> Accepted:
        nonlocal conversation
        _wait_for_own_turn(user)
        _check_new(question=question_id, answer=answer_id)
        if conversation is None:
            conversation = Conversation.objects.create(owner=user, title=auto_title(text))
        _check_free(user, conversation)
        question = Message.objects.create(
            id=question_id,
            conversation=conversation,
            parent=parent,
            role=Message.Role.USER,
            text=text,
            author=user,
        )
        answer = Message(id=answer_id, conversation=conversation, parent=question)
        _open_answer(
            answer,
            request,
            user=user,
            model=model,
            preset_slug=preset.slug,
            preset_version=preset.version,
            trimmed=trimmed,
        )
        return Accepted(conversation, [question, answer])

    return _store_and_submit(user, request, write, channel=channel)


def regenerate_answer(
    user: User,
    *,
    answer_id: UUID,
    request_id: UUID,
    message_id: UUID,
    model_slug: str = "",
    preset_slug: str = "",
    channel: str = "",
) -> Accepted:
    """Another answer beside the message, under the same question."""
    received = Stamp.now()
    if (known := _already(user, request_id)) is not None:
        return known
    old = own_message(user, message_id, role=Message.Role.ASSISTANT)
    model = choose_model(model_slug or old.model_slug)
    preset = choose_preset(preset_slug or old.preset_slug, model)
    request, trimmed = request_for(
        turns_to(old.parent),
        model=model,
        sampling=_sampling_of(preset),
        received=received,
        request_id=request_id,
    )

    def write() -> Accepted:
        _wait_for_own_turn(user)
        _check_new(answer=answer_id)
        _check_free(user, old.conversation)
        answer = Message(id=answer_id, conversation=old.conversation, parent=old.parent)
        _open_answer(
            answer,
            request,
            user=user,
            model=model,
            preset_slug=preset.slug,
            preset_version=preset.version,
            trimmed=trimmed,
        )
        return Accepted(old.conversation, [answer])

    return _store_and_submit(user, request, write, channel=channel)


def continue_answer(
    user: User, *, request_id: UUID, message_id: UUID, channel: str = ""
) -> Accepted:
    """Go on from the last token of an answer that was cut, stopped, interrupted or that failed.

    With the parameters that its last request was made with, whatever has become of the preset.
    """
    received = Stamp.now()
    if (known := _already(user, request_id)) is not None:
        return known
    answer = own_message(user, message_id, role=Message.Role.ASSISTANT)
    if answer.state != Message.State.DONE:  # it goes on already: by itself, or from another page
        return Accepted(answer.conversation, [answer])
    if not answer.is_continuable:
        raise ChatError(ErrorCode.NOT_CONTINUABLE)
    model = _model_to_continue(answer)
    last = _last_generation(answer)
    # The limit counts the whole answer: going on gives as many tokens again.
    given = last.sampling["max_tokens"] - last.continued_tokens
    request, trimmed = request_for(
        turns_to(answer.parent),
        model=model,
        sampling=stored_sampling(last, max_tokens=given + len(answer.token_ids)),
        received=received,
        request_id=request_id,
        continue_from=tuple(answer.token_ids),
    )

    def write() -> Accepted:
        _wait_for_own_turn(user)
        _check_free(user, answer.conversation)
        now = Message.objects.select_for_update().filter(pk=answer.pk).first()
        if now is None or now.token_ids != answer.token_ids:
            raise ChatError(ErrorCode.ANSWER_CHANGED)
        _open_answer(
            answer,
            request,
            user=user,
            model=model,
            preset_slug=last.preset_slug,
            preset_version=last.preset_version,
            trimmed=trimmed,
        )
        return Accepted(answer.conversation, [answer])

    try:
        return _store_and_submit(user, request, write, channel=channel)
    except ChatError:
        answer = own_message(user, message_id)
        if answer.state == Message.State.DONE:
            raise
        return Accepted(answer.conversation, [answer])  # it was continued while this was made


def branch_answer(
    user: User,
    *,
    answer_id: UUID,
    request_id: UUID,
    message_id: UUID,
    position: int,
    token_id: int,
    channel: str = "",
) -> Accepted:
    """Another answer beside the message: its first `position` tokens, then this one, and on.

    The tokens before are the very same ids, whatever the text would be tokenised to; parameters and
    seed are the message's own, so that what follows differs because of this one token alone.
    """
    received = Stamp.now()
    if (known := _already(user, request_id)) is not None:
        return known
    old = own_message(user, message_id, role=Message.Role.ASSISTANT)
    if old.state != Message.State.DONE:
        raise ChatError(ErrorCode.BUSY)
    if not 0 <= position < len(old.token_ids):
        text = _("“position” must be one of the answer's tokens, from 0 to %(last)d.")
        last_token = max(0, len(old.token_ids) - 1)
        raise ChatError(ErrorCode.BAD_FIELD, text % {"last": last_token}, field="position")
    model = _model_to_continue(old)
    last = _last_generation(old)
    prefix = [*old.token_ids[:position], token_id]
    written = _text_to_branch_from(model, prefix, last)
    given = last.sampling["max_tokens"] - last.continued_tokens
    request, trimmed = request_for(
        turns_to(old.parent),
        model=model,
        sampling=stored_sampling(last, max_tokens=given + len(prefix)),
        received=received,
        request_id=request_id,
        continue_from=tuple(prefix),
    )

    def write() -> Accepted:
        _wait_for_own_turn(user)
        _check_new(answer=answer_id)
        _check_free(user, old.conversation)
        answer = Message(
            id=answer_id,
            conversation=old.conversation,
            parent=old.parent,
            text=written,
            branched_from=old,
            branched_at=position,
        )
        answer.set_tokens(prefix)
        _open_answer(
            answer,
            request,
            user=user,
            model=model,
            preset_slug=last.preset_slug,
            preset_version=last.preset_version,
            trimmed=trimmed,
        )
        return Accepted(old.conversation, [answer])

    return _store_and_submit(user, request, write, channel=channel)


def stop_answer(user: User, *, message_id: UUID) -> None:
    """Ask that an answer ends as `cancelled`. An ended answer stays as it is."""
    answer = own_message(user, message_id, role=Message.Role.ASSISTANT)
    if answer.state != Message.State.DONE and answer.request_id is not None:
        cancel(answer.request_id)


def rename_conversation(user: User, conversation_id: UUID, title: str) -> Conversation:
    conversation = own_conversation(user, conversation_id)
    conversation.title, conversation.is_titled_by_owner = clean_title(title), True
    conversation.save(update_fields=["title", "is_titled_by_owner"])
    notify.conversation_changed(user.id, conversation.id)
    return conversation


def show_branch(user: User, conversation_id: UUID, message_id: UUID) -> Conversation:
    """Make the branch that ends in this message the one that is shown."""
    leaf = own_message(user, message_id, conversation_id=conversation_id)
    conversation = leaf.conversation
    conversation.active_leaf = leaf
    conversation.save(update_fields=["active_leaf"])
    return conversation


# --- parts ---------------------------------------------------------------------------------------


def _already(user: User, request_id: UUID) -> Accepted | None:
    """What an earlier frame with this request's id has stored. Raises ChatError for somebody
    else's.
    """
    generation = Generation.objects.filter(pk=request_id).only("user_id", "subject").first()
    if generation is None:
        return None
    if generation.user_id != user.pk:
        raise _taken("request")
    if generation.subject is None:
        raise _taken("request")
    answer = own_message(user, generation.subject)
    return Accepted(answer.conversation, [*([answer.parent] if answer.parent else []), answer])


def _check_new(**ids: UUID) -> None:
    """Raises ChatError, naming the frame's field, for an id that any message has already."""
    taken = set(Message.objects.filter(id__in=ids.values()).values_list("id", flat=True))
    for field, message_id in ids.items():
        if message_id in taken:
            raise _taken(field)


def _taken(field: str) -> ChatError:
    return ChatError(ErrorCode.BAD_FIELD, _("This id is taken. Make another one."), field=field)


def _parent(conversation: Conversation | None, parent_id: UUID | None) -> Message | None:
    if parent_id is None:
        return None
    parent = conversation.messages.filter(id=parent_id).first() if conversation else None
    if parent is None or parent.role != Message.Role.ASSISTANT:
        raise ChatError(ErrorCode.NO_SUCH_PARENT, field="parent")
    return parent


def _sampling_of(preset: SamplingPreset) -> SamplingParams:
    try:
        return preset.sampling()
    except InvalidField as error:
        raise ChatError(ErrorCode.BAD_PRESET, field_sentence(error), field=error.field) from error


def _model_to_continue(answer: Message) -> LanguageModel:
    try:
        return choose_model(answer.model_slug)
    except ChatError as error:
        text = _(
            "The model “%(slug)s” that began this answer is not offered any more, and no other one "
            "can go on in the middle. Answer again with another model."
        )
        raise ChatError(error.code, text % {"slug": answer.model_slug}, field="model") from error


def _last_generation(answer: Message) -> Generation:
    """The answer's latest Generation. Raises ChatError when that isn't kept any more."""
    rows = Generation.objects.only("sampling", "continued_tokens", "preset_slug", "preset_version")
    last = rows.filter(pk=answer.request_id).first() if answer.request_id else None
    if last is None or "max_tokens" not in last.sampling:
        raise ChatError(ErrorCode.NOT_CONTINUABLE)
    return last


def _text_to_branch_from(model: LanguageModel, prefix: list[int], last: Generation) -> str:
    """What these tokens say so far. Raises ChatError where nothing can follow them."""
    try:
        text = client.load_text(model.slug)
    except client.ModelUnknown as error:
        raise ChatError(error.code) from error
    if not 0 <= prefix[-1] < text.vocab_size:
        words = _("“token” must be one of the model's, from 0 to %(last)d.")
        last_id = text.vocab_size - 1
        raise ChatError(ErrorCode.BAD_FIELD, words % {"last": last_id}, field="token")
    sampling = stored_sampling(last, max_tokens=len(prefix))
    detokenizer = text.detokenizer(stop=sampling.stop)
    written = "".join(detokenizer.feed(token) for token in prefix)
    if is_end_token(prefix[-1], sampling, text.eos_token_ids) or detokenizer.stopped is not None:
        raise ChatError(
            ErrorCode.BAD_FIELD, _("This token ends the answer: nothing follows it."), field="token"
        )
    return written


def _wait_for_own_turn(user: User) -> None:
    """Lock the person's row: of two concurrent frames, the later one sees what the earlier one
    wrote.

    Call first in the transaction. On SQLite, write transactions come one after the other anyway.
    """
    User.objects.select_for_update().only("pk").get(pk=user.pk)


def _check_free(user: User, conversation: Conversation) -> None:
    """One answer at a time in a conversation, and a bounded number per person."""
    unfinished = Message.objects.filter(author=user).exclude(state=Message.State.DONE)
    busy = list(unfinished.values_list("conversation_id", flat=True))
    if conversation.pk in busy:
        raise ChatError(ErrorCode.BUSY)
    if len(busy) >= settings.MAX_CONCURRENT_ANSWERS:
        raise ChatError(
            ErrorCode.TOO_MANY_ANSWERS,
            _("At most %(limit)d answers are written for you at once. Wait for one or stop it.")
            % {"limit": settings.MAX_CONCURRENT_ANSWERS},
        )


def _open_answer(
    answer: Message,
    request: GenerationRequest,
    *,
    user: User,
    model: LanguageModel,
    preset_slug: str,
    preset_version: int | None,
    trimmed: int,
) -> None:
    """Store the answer that will be written, and its request. Call inside the transaction."""
    answer.role = Message.Role.ASSISTANT
    answer.author = user
    answer.state = Message.State.PENDING
    answer.finish_reason = answer.error_code = ""
    answer.request_id = UUID(request.request_id)
    answer.model_slug, answer.preset_slug = model.slug, preset_slug
    answer.trimmed_messages = trimmed
    answer.save(force_insert=answer._state.adding)
    open_generation(
        request,
        subject=answer.id,
        user=user,
        model_version=model.version,
        preset_slug=preset_slug,
        preset_version=preset_version,
    )
    conversation = answer.conversation
    conversation.active_leaf = answer
    conversation.model_slug, conversation.preset_slug = model.slug, preset_slug
    conversation.updated_at = timezone.now()
    # Only these: what was read before counting tokens may be old by now, the title for one.
    conversation.save(update_fields=["active_leaf", "model_slug", "preset_slug", "updated_at"])


def _store_and_submit(
    user: User, request: GenerationRequest, write: Callable[[], Accepted], *, channel: str
) -> Accepted:
    try:
        with transaction.atomic():
            accepted = write()
            transaction.on_commit(partial(submit_or_wait, request))
            notify.messages_accepted(
                user.id,
                accepted.conversation.id,
                [m.id for m in accepted.messages],
                but_not=channel,
            )
    except (IntegrityError, ChatError) as error:
        # The same frame, twice at once: the later one finds the conversation busy with the earlier.
        if (known := _already(user, UUID(request.request_id))) is not None:
            return known
        if isinstance(error, IntegrityError):  # another frame had the same id a moment ago
            raise _taken("") from error
        raise
    accepted.messages[-1].refresh_from_db()
    return accepted
