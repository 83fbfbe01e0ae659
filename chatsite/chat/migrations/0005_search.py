"""The full-text index: SearchDocument, and what the database keeps in step with it.

SQLite: chat_searchindex, a contentless FTS5 table written by triggers on chat_searchdocument. A later
migration that alters SearchDocument makes its table anew, which drops the triggers: it must run
SQLITE_TRIGGERS again. PostgreSQL: a generated tsvector with a GIN index.

Existing conversations are indexed here.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

MODELS = ("Conversation", "Message", "SearchDocument")
SQLITE_TABLE = """
CREATE VIRTUAL TABLE chat_searchindex USING fts5(
    words, content='', columnsize=0, tokenize='ascii', prefix='1 2 3'
)
"""
# char(57344) is search_index.OWNER_MARK: one word of each document says whose it is.
SQLITE_TRIGGERS = [
    """
    CREATE TRIGGER chat_searchdocument_added AFTER INSERT ON chat_searchdocument BEGIN
        INSERT INTO chat_searchindex(rowid, words)
        VALUES (new.id, char(57344) || new.owner_id || ' ' || new.words);
    END
    """,
    """
    CREATE TRIGGER chat_searchdocument_removed AFTER DELETE ON chat_searchdocument BEGIN
        INSERT INTO chat_searchindex(chat_searchindex, rowid, words)
        VALUES ('delete', old.id, char(57344) || old.owner_id || ' ' || old.words);
    END
    """,
    """
    CREATE TRIGGER chat_searchdocument_changed AFTER UPDATE ON chat_searchdocument BEGIN
        INSERT INTO chat_searchindex(chat_searchindex, rowid, words)
        VALUES ('delete', old.id, char(57344) || old.owner_id || ' ' || old.words);
        INSERT INTO chat_searchindex(rowid, words)
        VALUES (new.id, char(57344) || new.owner_id || ' ' || new.words);
    END
    """,
]
POSTGRESQL = [
    """
    ALTER TABLE chat_searchdocument ADD COLUMN vector tsvector
    GENERATED ALWAYS AS (to_tsvector('simple', words)) STORED
    """,
    "CREATE INDEX chat_searchdocument_vector ON chat_searchdocument USING gin (vector)",
]


def make_index(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        statements = [SQLITE_TABLE, *SQLITE_TRIGGERS]
    else:
        statements = POSTGRESQL
    for statement in statements:
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TABLE chat_searchindex")  # the triggers go with their table


def index_all(apps, schema_editor):
    from chatsite.chat.search_index import index_existing

    index_existing(*(apps.get_model("chat", name) for name in MODELS))


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("chat", "0004_deleted_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="SearchDocument",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("words", models.TextField(blank=True)),
                (
                    "conversation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="search_documents",
                        to="chat.conversation",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="search_documents",
                        to="chat.message",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "search document",
                "verbose_name_plural": "search documents",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["conversation"],
                        condition=models.Q(message__isnull=True),
                        name="one_title_document",
                    )
                ],
            },
        ),
        migrations.RunPython(make_index, drop_index),
        migrations.RunPython(index_all, migrations.RunPython.noop),
    ]
