"""The only writer of conversations and messages, and what announces it.

Every action checks whose it is, validates, writes in one transaction and sends on commit. Actions
raise ChatError with a code for the client and a sentence for the person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.catalog.selection import choose_model, choose_preset, with_seed
from chatsite.chat import notify as announce
from chatsite.chat.access import own_conversation, own_message
from chatsite.chat.frames import MAX_TEXT_CHARS
from chatsite.chat.models import Conversation, Message
from chatsite.error_messages import error_sentence, field_sentence
from chatsite.errors import ChatError
from chatsite.generation import request_life as requests
from chatsite.generation import rows as metrics
from inference import client
from inference.contract import GenerationRequest, InvalidField, Stamp

MAX_TITLE_CHARS = 120
AUTO_TITLE_CHARS = 60
CONTINUABLE = ("length", "cancelled", "failed", "interrupted")


@dataclass(frozen=True)
class Accepted:
    """What an action stored: the messages to show, question first."""

    conversation: Conversation
    messages: list[Message]
    is_new: bool = True


def send_message(
    user: User,
    *,
    client_id: UUID,
    text: str,
    conversation_id: UUID | None = None,
    parent_id: UUID | None = None,
    model_slug: str = "",
    preset_slug: str = "",
) -> Accepted:
    """Store a question and its queued answer. A resend of the same client_id changes nothing."""
    received = Stamp.now()
    if (known := _already(user, client_id)) is not None:
        return known
    text = clean_text(text)
    conversation = own_conversation(user, conversation_id) if conversation_id else None
    model = choose_model(model_slug or (conversation.model_slug if conversation else ""))
    preset = choose_preset(preset_slug or (conversation.preset_slug if conversation else ""), model)
    parent = _parent(conversation, parent_id)
    turns = [*_turns(parent), {"role": "user", "content": text}]
    answer_id = uuid4()
    request, trimmed = _request(model, preset, turns, received)

    def write() -> Accepted:
        nonlocal conversation
        _wait_for_own_turn(user)
        if conversation is None:
            conversation = Conversation.objects.create(owner=user, title=auto_title(text))
        _check_free(user, conversation)
        question = Message.objects.create(
            conversation=conversation,
            parent=parent,
            role=Message.Role.USER,
            text=text,
            client_id=client_id,
            author=user,
        )
        answer = Message(id=answer_id, conversation=conversation, parent=question)
        _open_answer(answer, request, user=user, model=model, preset=preset, trimmed=trimmed)
        return Accepted(conversation, [question, answer])

    return _store_and_submit(user, client_id, request, write)


def regenerate_answer(
    user: User, *, client_id: UUID, message_id: UUID, model_slug: str = "", preset_slug: str = ""
) -> Accepted:
    """Another answer beside this one, under the same question."""
    received = Stamp.now()
    if (known := _already(user, client_id)) is not None:
        return known
    old = own_message(user, message_id, role=Message.Role.ASSISTANT)
    model = choose_model(model_slug or old.model_slug)
    preset = choose_preset(preset_slug or old.preset_slug, model)
    request, trimmed = _request(model, preset, _turns(old.parent), received)

    def write() -> Accepted:
        _wait_for_own_turn(user)
        _check_free(user, old.conversation)
        answer = Message(conversation=old.conversation, parent=old.parent, client_id=client_id)
        _open_answer(answer, request, user=user, model=model, preset=preset, trimmed=trimmed)
        return Accepted(old.conversation, [answer])

    return _store_and_submit(user, client_id, request, write)


def continue_answer(user: User, *, client_id: UUID, message_id: UUID) -> Accepted:
    """Go on from the last token of an answer that was cut, stopped, interrupted or that failed."""
    received = Stamp.now()
    if (known := _already(user, client_id)) is not None:
        return known
    answer = own_message(user, message_id, role=Message.Role.ASSISTANT)
    if answer.state != Message.State.DONE or answer.finish_reason not in CONTINUABLE:
        raise ChatError(
            "not_continuable", _("This answer is complete; there is nothing to continue.")
        )
    model = choose_model(answer.model_slug)
    preset = choose_preset(answer.preset_slug, model)
    request, trimmed = _request(
        model, preset, _turns(answer.parent), received, continue_from=tuple(answer.token_ids)
    )

    def write() -> Accepted:
        _wait_for_own_turn(user)
        _check_free(user, answer.conversation)
        now = Message.objects.select_for_update().filter(pk=answer.pk).first()
        if now is None or now.token_ids != answer.token_ids:
            raise ChatError(
                "not_continuable",
                _("This answer has changed meanwhile. Look at it again."),
                status=409,
            )
        answer.client_id = client_id
        _open_answer(answer, request, user=user, model=model, preset=preset, trimmed=trimmed)
        return Accepted(answer.conversation, [answer])

    return _store_and_submit(user, client_id, request, write)


def stop_answer(user: User, *, message_id: UUID) -> None:
    """Ask that an answer ends as `cancelled`. An ended answer stays as it is."""
    answer = own_message(user, message_id, role=Message.Role.ASSISTANT)
    if answer.state != Message.State.DONE and answer.request_id is not None:
        requests.cancel(answer.request_id)


def rename_conversation(user: User, conversation_id: UUID, title: str) -> Conversation:
    conversation = own_conversation(user, conversation_id)
    title = " ".join(clean_text(title, field="title").split())
    if len(title) > MAX_TITLE_CHARS:
        raise ChatError(
            "title_too_long",
            _("A title has 1 to %(limit)d characters.") % {"limit": MAX_TITLE_CHARS},
            field="title",
        )
    conversation.title, conversation.is_titled_by_owner = title, True
    conversation.save(update_fields=["title", "is_titled_by_owner"])
    announce.conversation_changed(user.id, conversation.id)
    return conversation


def delete_conversation(user: User, conversation_id: UUID) -> None:
    """Delete with all messages. A running answer is stopped (signals.py)."""
    conversation = own_conversation(user, conversation_id)
    with transaction.atomic():
        conversation.delete()
        announce.conversation_changed(user.id, conversation_id, deleted=True)


def show_branch(user: User, conversation_id: UUID, message_id: UUID) -> Conversation:
    """Make the branch that ends in this message the one that is shown."""
    leaf = own_message(user, message_id, conversation_id=conversation_id)
    conversation = leaf.conversation
    conversation.active_leaf = leaf
    conversation.save(update_fields=["active_leaf"])
    return conversation


# --- parts ---------------------------------------------------------------------------------------


def clean_text(text: str, *, field: str = "text") -> str:
    """NUL and lone surrogates become U+FFFD: no database and no tokenizer takes them."""
    text = client.clean(text)
    if not text.strip():
        raise ChatError("empty", _("Write something first."), field=field)
    if len(text) > MAX_TEXT_CHARS:
        raise ChatError(
            "text_too_long",
            _("A message has at most %(limit)s characters; this one has %(length)s.")
            % {"limit": f"{MAX_TEXT_CHARS:,}", "length": f"{len(text):,}"},
            field=field,
        )
    return text


def auto_title(text: str) -> str:
    """The first line of the question, cut at a word."""
    line = " ".join(text.strip().split("\n", 1)[0].split()) or " ".join(text.split())
    if len(line) <= AUTO_TITLE_CHARS:
        return line
    head = line[:AUTO_TITLE_CHARS]
    return (head.rsplit(" ", 1)[0] if " " in head else head).rstrip(" ,;:.") + "…"


def _already(user: User, client_id: UUID) -> Accepted | None:
    message = (
        Message.objects.filter(author=user, client_id=client_id)
        .select_related("conversation")
        .first()
    )
    if message is None:
        return None
    answers = list(message.children.order_by("created_at")[:1])
    return Accepted(message.conversation, [message, *answers], is_new=False)


def _parent(conversation: Conversation | None, parent_id: UUID | None) -> Message | None:
    if parent_id is None:
        return None
    parent = conversation and conversation.messages.filter(id=parent_id).first()
    if parent is None or parent.role != Message.Role.ASSISTANT:
        raise ChatError(
            "no_such_parent",
            _("The message that this one follows isn't there any more."),
            field="parent",
        )
    return parent


def _turns(leaf: Message | None) -> list[dict[str, str]]:
    """The branch from its root to `leaf` as chat turns; answers without text are left out."""
    if leaf is None:
        return []
    rows = {
        row["id"]: row
        for row in Message.objects.filter(conversation_id=leaf.conversation_id).values(
            "id", "parent_id", "role", "text"
        )
    }
    turns, at = [], leaf.id
    while at is not None:
        row = rows[at]
        if row["text"]:
            turns.append({"role": row["role"], "content": row["text"]})
        at = row["parent_id"]
    turns.reverse()
    return turns


def _request(
    model: LanguageModel,
    preset: SamplingPreset,
    turns: list[dict[str, str]],
    received: Stamp,
    *,
    continue_from: tuple[int, ...] = (),
) -> tuple[GenerationRequest, int]:
    """The request for these turns, and how many of the oldest were left out. Raises ChatError."""
    if model.system_prompt:
        turns = [{"role": "system", "content": model.system_prompt}, *turns]
    try:
        sampling = with_seed(preset.sampling())
        # The limit counts the whole answer: going on gives as many tokens again.
        sampling = replace(sampling, max_tokens=sampling.max_tokens + len(continue_from))
        fitted = client.fit(
            model.slug, turns, max_tokens=sampling.max_tokens, continued_tokens=len(continue_from)
        )
    except InvalidField as error:
        raise ChatError("bad_preset", field_sentence(error), field=error.field) from error
    except client.PromptTooLong as error:
        raise ChatError("prompt_too_long", _too_long(error), field="text") from error
    except client.ClientError as error:
        raise ChatError(error.code, error_sentence(error.code), status=503) from error
    request = GenerationRequest(
        request_id=uuid4().hex,
        model=model.slug,
        prompt_token_ids=tuple(fitted.token_ids),
        sampling=sampling,
        received=received,
        continue_from=continue_from,
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
    return counted % {"prompt": f"{error.prompt_tokens:,}", "context": f"{error.context_length:,}"}


def _wait_for_own_turn(user: User) -> None:
    """Hold the person's row: of two frames at once, the later one counts what the earlier wrote.

    Call first in the transaction. SQLite's transactions come one after the other anyway.
    """
    User.objects.select_for_update().only("pk").get(pk=user.pk)


def _check_free(user: User, conversation: Conversation) -> None:
    """One answer at a time in a conversation, and a bounded number per person."""
    unfinished = Message.objects.filter(author=user).exclude(state=Message.State.DONE)
    busy = list(unfinished.values_list("conversation_id", flat=True))
    if conversation.pk in busy:
        raise ChatError(
            "busy", _("An answer is still being written here. Wait for it or stop it."), status=409
        )
    if len(busy) >= settings.MAX_CONCURRENT_ANSWERS:
        raise ChatError(
            "too_many_answers",
            _("At most %(limit)d answers are written for you at once. Wait for one or stop it.")
            % {"limit": settings.MAX_CONCURRENT_ANSWERS},
            status=429,
        )


def _open_answer(
    answer: Message,
    request: GenerationRequest,
    *,
    user: User,
    model: LanguageModel,
    preset: SamplingPreset,
    trimmed: int,
) -> None:
    """Store the answer that will be written, and its request. Call inside the transaction."""
    answer.role = Message.Role.ASSISTANT
    answer.author = user
    answer.state = Message.State.PENDING
    answer.finish_reason = answer.error_code = answer.error_text = ""
    answer.request_id = UUID(request.request_id)
    answer.model_slug, answer.preset_slug = model.slug, preset.slug
    answer.trimmed_messages = trimmed
    answer.save()
    metrics.open_generation(
        request,
        subject=answer.id,
        user=user,
        model_version=model.version,
        preset_slug=preset.slug,
        preset_version=preset.version,
    )
    conversation = answer.conversation
    conversation.active_leaf = answer
    conversation.model_slug, conversation.preset_slug = model.slug, preset.slug
    conversation.updated_at = timezone.now()
    # Only these: what was read before counting tokens may be old by now, the title for one.
    conversation.save(update_fields=["active_leaf", "model_slug", "preset_slug", "updated_at"])


def _store_and_submit(user: User, client_id: UUID, request: GenerationRequest, write) -> Accepted:
    try:
        with transaction.atomic():
            accepted = write()
            transaction.on_commit(partial(requests.submit, request))
            announce.messages_accepted(
                user.id, accepted.conversation.id, [m.id for m in accepted.messages]
            )
    except (IntegrityError, ChatError):
        # The same frame, twice at once: the later one finds the conversation busy with the earlier.
        if (known := _already(user, client_id)) is not None:
            return known
        raise
    accepted.messages[-1].refresh_from_db()
    return accepted


def resubmit_pending(answer: Message) -> bool:
    """Send an answer whose request never reached the queue (the outbox). False: still away."""
    generation = metrics.generation_of(answer.request_id)
    if generation is None:
        return False
    sampling = metrics.sampling_of(generation)
    model = choose_model(answer.model_slug)
    turns = _turns(answer.parent)
    if model.system_prompt:
        turns = [{"role": "system", "content": model.system_prompt}, *turns]
    continued = tuple(answer.token_ids[: generation.continued_tokens])
    fitted = client.fit(
        model.slug, turns, max_tokens=sampling.max_tokens, continued_tokens=len(continued)
    )
    return requests.submit(
        GenerationRequest(
            request_id=answer.request_id.hex,
            model=model.slug,
            prompt_token_ids=tuple(fitted.token_ids),
            sampling=sampling,
            received=metrics.received_of(generation),
            continue_from=continued,
        )
    )
