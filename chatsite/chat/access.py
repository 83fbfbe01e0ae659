"""Access to conversations: somebody else's is the same 404 as one that doesn't exist."""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation, Message
from chatsite.errors import NotFound


def own_conversation(user: User, conversation_id: UUID) -> Conversation:
    conversation = Conversation.objects.filter(owner=user, id=conversation_id).first()
    if conversation is None:
        raise NotFound(_("There is no such conversation."))
    return conversation


def own_message(user: User, message_id: UUID, **conditions: object) -> Message:
    message = (
        _messages_of(user)
        .filter(id=message_id, **conditions)
        .select_related("conversation", "parent")
        .first()
    )
    if message is None:
        raise NotFound(_("There is no such message."))
    return message


def own_answer_of(user: User, request_id: UUID) -> Message:
    message = _messages_of(user).filter(request_id=request_id).defer("token_ids").first()
    if message is None:
        raise NotFound(_("There is no such request."))
    return message


def _messages_of(user: User) -> QuerySet[Message]:
    return Message.objects.filter(conversation__owner=user, conversation__deleted_at=None)
