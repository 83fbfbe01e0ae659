"""Conversations and their messages. Written by actions.py alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from inference.contract import FinishReason

MAX_TITLE_CHARS = 120


messages_created = Signal()
"""Sent with `messages` after they were made in bulk."""


class PresentConversations(models.Manager["Conversation"]):
    """All but the deleted ones, which nobody sees while they wait to be purged (deletion.py)."""

    def get_queryset(self) -> models.QuerySet[Conversation]:
        return super().get_queryset().filter(deleted_at=None)


class Conversation(models.Model):
    """A tree of messages of one owner. `active_leaf` ends the branch that is shown."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("owner"),
        on_delete=models.CASCADE,
        related_name="conversations",
    )
    title = models.CharField(_("title"), max_length=MAX_TITLE_CHARS, blank=True)
    is_titled_by_owner = models.BooleanField(default=False)
    model_slug = models.CharField(_("model"), max_length=63, blank=True)
    preset_slug = models.CharField(_("preset"), max_length=63, blank=True)
    active_leaf = models.ForeignKey(
        "Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(_("made"), default=timezone.now)
    updated_at = models.DateTimeField(_("last changed"), default=timezone.now)
    deleted_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("Hidden since then; purged when the time to undo it is over."),
    )

    objects = PresentConversations()
    with_deleted = models.Manager["Conversation"]()

    class Meta:
        ordering = ["-updated_at"]
        indexes = [
            models.Index(fields=["owner", "-updated_at"]),
            models.Index(
                fields=["deleted_at"],
                condition=models.Q(deleted_at__isnull=False),
                name="chat_deleted_conversations",
            ),
        ]
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")

    def __str__(self) -> str:
        return self.title or str(_("New conversation"))


class MessageQuerySet(models.QuerySet["Message"]):
    """Tells of rows that are made in bulk, for which Django sends no signal."""

    def bulk_create(self, objs: Iterable[Message], *args: Any, **kwargs: Any) -> list[Message]:
        made = super().bulk_create(objs, *args, **kwargs)
        messages_created.send(sender=Message, messages=made)
        return made


class Message(models.Model):
    """One question or answer. Siblings share a parent: edits and regenerated answers.

    `token_ids` are an answer's own tokens and `text` exactly what they say, also in the middle of
    it (a checkpoint writes both at once), so that any answer can be continued from its last token.
    """

    class Role(models.TextChoices):
        USER = "user", _("question")
        ASSISTANT = "assistant", _("answer")

    class State(models.TextChoices):
        PENDING = "pending", _("not yet submitted")
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("being written")
        DONE = "done", _("done")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    text = models.TextField(blank=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.DONE)
    finish_reason = models.CharField(max_length=11, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    request_id = models.UUIDField(
        null=True, unique=True, help_text=_("The answer's latest request (generation.Generation).")
    )
    model_slug = models.CharField(max_length=63, blank=True)
    preset_slug = models.CharField(max_length=63, blank=True)
    token_ids = models.JSONField(default=list)
    num_tokens = models.PositiveIntegerField(
        default=0, help_text=_("How many token_ids there are, to be known without reading them.")
    )
    trimmed_messages = models.PositiveIntegerField(
        default=0, help_text=_("Oldest messages left out of the prompt because it was too long.")
    )
    branched_from = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="branches",
        help_text=_("The answer whose first tokens this one begins with."),
    )
    branched_at = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("How many tokens those are.")
    )
    created_at = models.DateTimeField(default=timezone.now)

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        indexes = [models.Index(fields=["conversation", "created_at"])]
        verbose_name = _("message")
        verbose_name_plural = _("messages")

    def __str__(self) -> str:
        return f"{self.role} {self.id.hex[:8]}"

    def set_tokens(self, token_ids: list[int]) -> None:
        """Set the answer's tokens and their number."""
        self.token_ids, self.num_tokens = token_ids, len(token_ids)

    @property
    def is_continuable(self) -> bool:
        """Whether an ended answer can go on from its last token."""
        is_done = self.state == Message.State.DONE and bool(self.finish_reason)
        return is_done and FinishReason(self.finish_reason).is_continuable


class SearchDocument(models.Model):
    """The folded words of a title, or of a part of a message (search_index.py is the only writer).

    The full-text index itself is the database's: see migration 0005_search.
    """

    id = models.BigIntegerField(primary_key=True)
    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="search_documents"
    )
    message = models.ForeignKey(
        Message, null=True, on_delete=models.CASCADE, related_name="search_documents"
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    words = models.TextField(blank=True)

    class Meta:
        verbose_name = _("search document")
        verbose_name_plural = _("search documents")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=models.Q(message__isnull=True),
                name="one_title_document",
            )
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.words[:40]}"
