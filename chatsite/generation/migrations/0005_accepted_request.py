from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metrics", "0004_figures_are_known")]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="accepted_request",
            field=models.TextField(
                blank=True,
                default="",
                help_text="The request as it was accepted, in its wire form; empty once it has ended.",
            ),
            preserve_default=False,
        ),
    ]
