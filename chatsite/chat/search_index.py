"""The full-text index of titles and messages, for SQLite (FTS5) and PostgreSQL (tsvector, GIN).

`index_title` and `index_message` are called by the writes themselves (signals.py), in the same
transaction; an answer is indexed when it has ended, not at each checkpoint. The rows are
SearchDocument's; the database's own triggers and columns (migration 0005_search) keep the index in
step with them.

The ids of one conversation's documents lie side by side: its number times DOCUMENTS, the title
first. So SQLite finds the conversations of a hundred thousand hits without looking up their rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.models import Max, Q
from django.db.models.expressions import RawSQL

from chatsite.chat.models import Conversation, Message, SearchDocument
from chatsite.chat.search_text import Term, words_of

DOCUMENTS = 1 << 20
"""How many documents a conversation has room for."""
CONVERSATION_BITS = 42
MAX_WORDS = 8_000
"""Of one document. PostgreSQL tells no positions beyond 16,383, and a tsvector has at most 1 MB."""
SHARED_WORDS = 16
"""With which each document repeats the one before it, so that phrases across the cut are found."""
OWNER_MARK = "\ue000"  # no word can begin with it: it is neither letter nor digit


def index_title(conversation: Conversation) -> None:
    """Bring the conversation's title up to date in the index."""
    document = SearchDocument.objects.filter(conversation=conversation, message=None).first()
    words = " ".join(words_of(conversation.title))
    if document is None:
        _title_document(conversation, SearchDocument).save(force_insert=True)
    elif document.words != words:
        document.words = words
        document.save(update_fields=["words"])


def index_message(message: Message) -> None:
    """Bring a message's text up to date in the index."""
    known = list(SearchDocument.objects.filter(message=message).order_by("id"))
    if [document.words for document in known] == list(_documents_of(message.text)):
        return
    SearchDocument.objects.filter(pk__in=[document.pk for document in known]).delete()
    index_new_messages([message])


def index_new_messages(messages: Sequence[Message]) -> None:
    """Index finished messages that are not in the index yet."""
    per_conversation: dict[UUID, list[Message]] = {}
    for message in messages:
        per_conversation.setdefault(message.conversation_id, []).append(message)
    conversations = Conversation.with_deleted.annotate(last=Max("search_documents__id")).in_bulk(
        per_conversation
    )
    made: list[SearchDocument] = []
    for conversation_id, of_it in per_conversation.items():
        conversation = conversations[conversation_id]
        last: int | None = conversation.last
        if last is None:
            made.append(_title_document(conversation, SearchDocument))
            last = made[-1].id
        made += _message_documents(conversation, of_it, last, SearchDocument)
    SearchDocument.objects.bulk_create(made, batch_size=500)


def index_existing(
    conversations: type[Conversation], messages: type[Message], documents: type[SearchDocument]
) -> None:
    """Index all conversations that have no document yet. Migrations give their own models."""
    unknown = conversations._default_manager.filter(search_documents=None)
    for conversation in unknown.iterator(chunk_size=200):
        title = _title_document(conversation, documents)
        done = messages._default_manager.filter(conversation=conversation, state="done")
        texts = done.exclude(text="").only("id", "text").order_by("created_at")
        made = _message_documents(conversation, texts.iterator(chunk_size=200), title.id, documents)
        documents._default_manager.bulk_create([title, *made], batch_size=500)


def conversations_with(owner_id: int, term: Term) -> Q:
    """Conversations of that owner whose title or messages hold the term."""
    if connection.vendor == "sqlite":
        query = (
            "SELECT conversation_id FROM chat_searchdocument WHERE id IN"
            " (SELECT DISTINCT (rowid / %s) * %s FROM chat_searchindex"
            "  WHERE chat_searchindex MATCH %s)"
        )
        parameters: Sequence[object] = (DOCUMENTS, DOCUMENTS, _fts5([term], "AND", owner_id))
    else:
        query = (
            "SELECT DISTINCT conversation_id FROM chat_searchdocument"
            " WHERE owner_id = %s AND vector @@ to_tsquery('simple', %s)"
        )
        parameters = (owner_id, _tsquery([term], "&"))
    return Q(pk__in=RawSQL(query, tuple(parameters)))


@dataclass(frozen=True, slots=True)
class HitMessage:
    """A message that holds words of a search."""

    id: UUID
    text: str


def hits_in(conversations: Sequence[UUID], terms: Sequence[Term]) -> dict[UUID, HitMessage]:
    """Per conversation the first message that holds all terms, or else one of them."""
    hits: dict[UUID, HitMessage] = {}
    for operator in ("AND", "OR") if len(terms) > 1 else ("AND",):
        left = [one for one in conversations if one not in hits]
        if left and terms:
            rows = _sqlite_hits if connection.vendor == "sqlite" else _postgresql_hits
            for conversation, message, text in rows(left, terms, operator):
                hits[conversation] = HitMessage(message, text)
    return hits


def _sqlite_hits(
    conversations: Sequence[UUID], terms: Sequence[Term], operator: str
) -> Iterable[tuple[UUID, UUID, str]]:
    """A look into the index per conversation, between its first and its last document."""
    query = f"""
        SELECT document.conversation_id, document.message_id, message.text
        FROM (
            SELECT (
                SELECT rowid FROM chat_searchindex WHERE chat_searchindex MATCH %s
                AND rowid BETWEEN title.id + 1 AND title.id + {DOCUMENTS - 1} LIMIT 1
            ) AS hit
            FROM chat_searchdocument AS title
            WHERE title.message_id IS NULL
            AND title.conversation_id IN ({", ".join(["%s"] * len(conversations))})
        )
        JOIN chat_searchdocument AS document ON document.id = hit
        JOIN chat_message AS message ON message.id = document.message_id
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [_fts5(terms, operator), *(one.hex for one in conversations)])
        return [(UUID(one), UUID(message), text) for one, message, text in cursor.fetchall()]


def _postgresql_hits(
    conversations: Sequence[UUID], terms: Sequence[Term], operator: str
) -> Iterable[tuple[UUID, UUID, str]]:
    found = SearchDocument.objects.extra(
        where=["vector @@ to_tsquery('simple', %s)"],
        params=[_tsquery(terms, "&" if operator == "AND" else "|")],
    )
    rows = found.filter(conversation__in=conversations, message__isnull=False)
    first = rows.order_by("conversation_id", "id").distinct("conversation_id")
    return first.values_list("conversation_id", "message_id", "message__text")


def _title_document(conversation: Conversation, documents: type[SearchDocument]) -> SearchDocument:
    return documents(
        id=secrets.randbits(CONVERSATION_BITS) * DOCUMENTS,
        conversation=conversation,
        owner_id=conversation.owner_id,
        words=" ".join(words_of(conversation.title)),
    )


def _message_documents(
    conversation: Conversation,
    messages: Iterable[Message],
    last: int,
    documents: type[SearchDocument],
) -> Iterator[SearchDocument]:
    for message in messages:
        for words in _documents_of(message.text):
            last += 1
            yield documents(
                id=last,
                conversation=conversation,
                message=message,
                owner_id=conversation.owner_id,
                words=words,
            )


def _documents_of(text: str) -> Iterator[str]:
    words = words_of(text)
    step = MAX_WORDS - SHARED_WORDS
    for start in range(0, max(len(words) - SHARED_WORDS, min(len(words), 1)), step):
        yield " ".join(words[start : start + MAX_WORDS])


def _fts5(terms: Sequence[Term], operator: str, owner_id: int | None = None) -> str:
    """The terms in FTS5's language. Words hold no quotation marks: they are letters and digits."""
    written = [f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in terms]
    joined = f" {operator} ".join(written)
    return joined if owner_id is None else f'"{OWNER_MARK}{owner_id}" AND ({joined})'


def _tsquery(terms: Sequence[Term], operator: str) -> str:
    """The terms in PostgreSQL's language."""
    written = []
    for term in terms:
        words = [f"'{word}'" for word in term.words]
        if term.is_prefix:
            words[-1] += ":*"
        written.append(f"({' <-> '.join(words)})")
    return f" {operator} ".join(written)
