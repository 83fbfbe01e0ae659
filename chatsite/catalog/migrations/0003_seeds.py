"""The default model and the four presets a new site starts with.

Values are for a model of 135 million parameters, which loses its thread sooner than large ones: its
makers advise a temperature of 0.2 and top-p of 0.9 (precise). A mild repetition penalty keeps longer
answers from looping. min-p cuts the long tail that a small model fills with noise, which is what
makes a temperature of 1 readable (creative).
Greedy is left without penalties, so that it is the plain arg-max that can be compared with other
software.

Names and descriptions are stored in English; pages show them in their own language for as long as an
administrator hasn't written others (`chatsite.catalog.seeded.shown`).
"""

from django.db import migrations
from django.utils.translation import gettext_noop as _

MODEL = {
    "slug": "smollm2-135m-instruct",
    "name": "SmolLM2 135M Instruct",
    "description": _("A small English chat model that answers fast on two CPU cores."),
    "is_default": True,
}
PRESETS = (
    {
        "slug": "precise",
        "name": _("Precise"),
        "description": _("Stays close to the likeliest words. For facts and short answers."),
        "temperature": 0.2,
        "top_p": 0.9,
        "repetition_penalty": 1.05,
        "max_tokens": 1024,
    },
    {
        "slug": "balanced",
        "name": _("Balanced"),
        "description": _("Some variety, little nonsense. A good start for anything."),
        "is_default": True,
        "temperature": 0.6,
        "top_p": 0.92,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "max_tokens": 1024,
    },
    {
        "slug": "creative",
        "name": _("Creative"),
        "description": _("Surprising words and turns. For stories, names and ideas."),
        "temperature": 1.0,
        "top_p": 0.95,
        "min_p": 0.08,
        "repetition_penalty": 1.12,
        "max_tokens": 1536,
    },
    {
        "slug": "greedy",
        "name": _("Greedy"),
        "description": _("Always the likeliest token: the same question gets the same answer."),
        "temperature": 0.0,
        "max_tokens": 1024,
    },
)


def plant(apps, schema_editor):
    """Insert what is missing; never touch what an administrator has changed."""
    models = apps.get_model("catalog", "LanguageModel").objects
    presets = apps.get_model("catalog", "SamplingPreset").objects
    for manager, rows in ((models, (MODEL,)), (presets, PRESETS)):
        has_default = manager.filter(is_default=True).exists()
        for row in rows:
            values = {**row, "is_default": row.get("is_default", False) and not has_default}
            manager.get_or_create(slug=row["slug"], defaults=values)


class Migration(migrations.Migration):
    dependencies = [("catalog", "0002_one_default")]
    operations = [migrations.RunPython(plant, migrations.RunPython.noop)]
