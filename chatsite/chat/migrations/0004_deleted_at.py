"""Deletion is a state: `deleted_at` hides a conversation until it is restored or purged."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_ids_from_the_page")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="deleted_at",
            field=models.DateTimeField(
                null=True,
                blank=True,
                editable=False,
                help_text="Hidden since then; purged when the time to undo it is over.",
            ),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                fields=["deleted_at"],
                condition=models.Q(deleted_at__isnull=False),
                name="chat_deleted_conversations",
            ),
        ),
    ]
