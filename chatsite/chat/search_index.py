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
from django.db.models import Exists, Max, OuterRef, Q
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
        titles = RawSQL(
            "SELECT DISTINCT (rowid / %s) * %s FROM chat_searchindex"
            " WHERE chat_searchindex MATCH %s",
            (DOCUMENTS, DOCUMENTS, _fts5(term, owner_id)),
        )
        # Asked from the conversation by its title's document: the rows of all documents are wide.
        own_title = SearchDocument.objects.filter(conversation=OuterRef("pk"), message=None)
        return Q(Exists(own_title.filter(pk__in=titles)))
    query = (
        "SELECT DISTINCT conversation_id FROM chat_searchdocument"
        " WHERE owner_id = %s AND vector @@ to_tsquery('simple', %s)"
    )
    return Q(pk__in=RawSQL(query, (owner_id, _tsquery(term))))


@dataclass(frozen=True, slots=True)
class HitMessage:
    """A message that holds words of a search."""

    id: UUID
    text: str


def hits_in(conversations: Sequence[UUID], terms: Sequence[Term]) -> dict[UUID, HitMessage]:
    """Per conversation the message that holds most of the terms, the first of several.

    Reads these conversations' own documents: to ask the index for each of them costs more, since
    it gathers all hits of a word's beginning anew each time.
    """
    if not conversations or not terms:
        return {}
    find = "instr" if connection.vendor == "sqlite" else "strpos"
    has_term = f"CASE WHEN {find}(' ' || words || ' ', %s) > 0 THEN 1 ELSE 0 END"
    query = f"""
        SELECT best.conversation_id, message.id, message.text FROM (
            SELECT conversation_id, message_id, ROW_NUMBER() OVER (
                PARTITION BY conversation_id ORDER BY num_terms DESC, id
            ) AS place
            FROM (
                SELECT id, conversation_id, message_id,
                       {" + ".join([has_term] * len(terms))} AS num_terms
                FROM chat_searchdocument
                WHERE message_id IS NOT NULL
                AND conversation_id IN ({", ".join(["%s"] * len(conversations))})
            ) AS counted
            WHERE num_terms > 0
        ) AS best
        JOIN chat_message AS message ON message.id = best.message_id
        WHERE place = 1
    """
    written = [f" {' '.join(term.words)}{'' if term.is_prefix else ' '}" for term in terms]
    ids = Message._meta.pk
    parameters = [ids.get_db_prep_value(one, connection) for one in conversations]
    with connection.cursor() as cursor:
        cursor.execute(query, [*written, *parameters])
        rows = cursor.fetchall()
    return {_uuid(one): HitMessage(_uuid(message), text) for one, message, text in rows}


def _uuid(value: UUID | str) -> UUID:
    """SQLite gives an id as its digits."""
    return value if isinstance(value, UUID) else UUID(value)


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


def _fts5(term: Term, owner_id: int) -> str:
    """The term in FTS5's language. Words hold no quotation marks: they are letters and digits."""
    words = " ".join(term.words)
    return f'"{OWNER_MARK}{owner_id}" AND "{words}"{" *" if term.is_prefix else ""}'


def _tsquery(term: Term) -> str:
    """The term in PostgreSQL's language."""
    return " <-> ".join(f"'{word}'" for word in term.words) + (":*" if term.is_prefix else "")
