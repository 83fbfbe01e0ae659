"""The page makes the ids of messages and requests; no second id is needed to know a resend by."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("chat", "0002_num_tokens")]

    operations = [
        migrations.RemoveConstraint(model_name="message", name="one_message_per_client_id"),
        migrations.RemoveField(model_name="message", name="client_id"),
    ]
