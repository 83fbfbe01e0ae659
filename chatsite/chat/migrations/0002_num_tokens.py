"""The number of an answer's tokens beside them; an error's sentence follows from its code."""

from django.db import migrations, models


def count_tokens(apps, schema_editor):
    message = apps.get_model("chat", "Message")
    answers = message.objects.filter(role="assistant").only("id", "token_ids")
    for answer in answers.iterator(chunk_size=500):
        message.objects.filter(pk=answer.pk).update(num_tokens=len(answer.token_ids))


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial")]

    operations = [
        migrations.RemoveField(model_name="message", name="error_text"),
        migrations.AddField(
            model_name="message",
            name="num_tokens",
            field=models.PositiveIntegerField(
                default=0,
                help_text="How many token_ids there are, to be known without reading them.",
            ),
        ),
        migrations.RunPython(count_tokens, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="message",
            name="request_id",
            field=models.UUIDField(
                null=True,
                unique=True,
                help_text="The answer's latest request (generation.Generation).",
            ),
        ),
    ]
