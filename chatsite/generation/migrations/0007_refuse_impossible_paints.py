"""Takes a browser's stamps away where they can't be: the last paint before the last token."""

from django.db import migrations
from django.db.models import F, Q


def refuse(apps, _schema_editor):
    generation = apps.get_model("metrics", "Generation")
    impossible = Q(user_latency_us__lt=F("latency_us")) | Q(user_ttft_us__lt=F("ttft_us"))
    generation.objects.filter(impossible).update(
        user_ttft_us=None, user_latency_us=None, is_paint_refused=True
    )


class Migration(migrations.Migration):
    dependencies = [("metrics", "0006_roll_ups")]
    operations = [migrations.RunPython(refuse, migrations.RunPython.noop)]
