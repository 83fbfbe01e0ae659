"""Conversations for staff with the permission: to be read, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chatsite.chat.models import Conversation, Message
from chatsite.error_messages import error_sentence

SHOWN_MESSAGES = 200


if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    ReadOnlyBase = admin.ModelAdmin[Conversation]  # generic to the type checker alone
else:
    ReadOnlyBase = admin.ModelAdmin


class MessageCount(TypedDict):
    """What the list's query adds to each conversation."""

    num_messages_: int


class ReadOnly(ReadOnlyBase):
    """Nothing is added or changed here: chat.actions is the only writer."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Conversation)
class ConversationAdmin(ReadOnly):
    list_display = ("__str__", "owner", "num_messages", "model_slug", "preset_slug", "updated_at")
    list_filter = ("updated_at", "model_slug", "preset_slug")
    list_select_related = ("owner",)
    search_fields = ("title", "=owner__username", "=id")
    search_help_text = _("Searches titles, and finds an owner or an id by its exact name.")
    date_hierarchy = "updated_at"
    fields = (
        "title", "owner", "model_slug", "preset_slug", "created_at", "updated_at", "thread",
    )  # fmt: skip
    readonly_fields = ("thread",)
    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).annotate(num_messages_=Count("messages"))

    @admin.display(description=_("messages"), ordering="num_messages_")
    def num_messages(self, conversation: WithAnnotations[Conversation, MessageCount]) -> int:
        return conversation.num_messages_

    @admin.display(description=_("messages"))
    def thread(self, conversation: Conversation) -> SafeString:
        """All branches in order of time, the newest SHOWN_MESSAGES of them; as text, escaped."""
        newest = conversation.messages.order_by("-created_at")[:SHOWN_MESSAGES]
        rows = [_message_line(message) for message in reversed(newest)]
        return format_html(
            '<ol class="thread">{}</ol>', format_html_join("", "<li class='{}'>{}{}</li>", rows)
        )


def _message_line(message: Message) -> tuple[str, SafeString, SafeString]:
    head = [message.get_role_display(), date_format(message.created_at, "DATETIME_FORMAT")]
    if message.role == Message.Role.ASSISTANT:
        head.append(f"{message.model_slug} / {message.preset_slug}")
        head.append(message.finish_reason or message.get_state_display())
    link = SafeString("")
    if message.request_id is not None:
        url = reverse("latency:request", args=[message.request_id])
        link = format_html(' · <a href="{}">{}</a>', url, gettext("its latency"))
    first = format_html('<p class="thread-head">{}{}</p>', " · ".join(head), link)
    text = message.text or error_sentence(message.error_code)
    return message.role, first, format_html('<p class="thread-text">{}</p>', text)
