"""Search over a person's own conversations: the one function of sidebar, history and API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation
from chatsite.chat.search_index import conversations_with, hits_in
from chatsite.chat.search_query import Query, parse
from chatsite.chat.search_text import Snippet, Term, snippet, spans_in


@dataclass(frozen=True, slots=True)
class Hit:
    """The message of a conversation that was found, and the part of it to show."""

    message: UUID
    snippet: Snippet


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found: `rows` are conversations of the owner alone, to be sliced and sorted."""

    rows: QuerySet[Conversation]
    query: Query

    @property
    def terms(self) -> Sequence[Term]:
        return self.query.terms

    def hits(self, shown: Sequence[UUID], *, chars: int, before: int) -> dict[UUID, Hit]:
        """The first hit in each of these conversations. None for those found by title alone.

        `shown` are conversations of `rows`. A snippet has about `chars` characters, and its hit
        begins at most `before` characters after its start.
        """
        if not self.terms:
            return {}
        return {
            conversation: Hit(
                message.id, snippet(message.text, self.terms, chars=chars, before=before)
            )
            for conversation, message in hits_in(shown, self.terms).items()
        }

    def marks_in(self, title: str) -> list[tuple[int, int]]:
        """Where the words stand in a title."""
        return spans_in(title, self.terms)


def search(user: User, text: str) -> Search:
    """`user`'s own conversations that match a text in search_query.py's language. No query yet."""
    query = parse(text)
    rows = Conversation.objects.filter(owner=user)
    if query.finds_nothing:
        return Search(rows.none(), query)
    for term in query.terms:
        rows = rows.filter(conversations_with(user.pk, term))
    for where in query.wheres:
        rows = rows.filter(where)
    return Search(rows, query)
