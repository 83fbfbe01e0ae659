import datetime as dt

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metrics", "0005_accepted_request"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LabelSet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model_slug", models.CharField(max_length=63)),
                ("preset_slug", models.CharField(blank=True, max_length=63)),
                ("worker", models.CharField(blank=True, max_length=100)),
                ("source", models.CharField(max_length=4)),
                ("state", models.CharField(max_length=12)),
                ("api_key", models.CharField(blank=True, max_length=16)),
                ("error_code", models.CharField(blank=True, max_length=40)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="RollUp",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("width_s", models.PositiveIntegerField(help_text="60, 3600, 21600 or 86400.")),
                (
                    "start_s",
                    models.PositiveBigIntegerField(help_text="Unix time, a multiple of width_s."),
                ),
                ("requests", models.PositiveIntegerField()),
                ("tokens", models.PositiveBigIntegerField()),
                ("finished", models.PositiveIntegerField()),
                ("queue_us", models.BigIntegerField()),
                ("prefill_us", models.BigIntegerField()),
                ("decode_us", models.BigIntegerField()),
                ("recovery_us", models.BigIntegerField()),
                ("delivered", models.PositiveIntegerField()),
                ("delivery_us", models.BigIntegerField()),
                ("ttft_us", models.BigIntegerField()),
                ("tpot_us", models.FloatField()),
                ("ttft_max_us", models.PositiveBigIntegerField()),
                ("tpot_max_us", models.FloatField()),
                ("latency_max_us", models.PositiveBigIntegerField()),
                ("ttft_sketch", models.BinaryField()),
                ("tpot_sketch", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="RollUpProgress",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("until_s", models.PositiveBigIntegerField()),
                ("changed_until", models.DateTimeField()),
                ("minutes_from_s", models.PositiveBigIntegerField()),
                (
                    "written",
                    models.JSONField(
                        default=dict,
                        help_text="By width the run, in µs of Unix time, that last wrote such ones.",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.RemoveIndex(
            model_name="generation",
            name="generation_board",
        ),
        migrations.AddField(
            model_name="generation",
            name="changed_at",
            # Long ago: the first roll-up reads all rows anyway, and none has changed since.
            field=models.DateTimeField(
                default=dt.datetime(2000, 1, 1, tzinfo=dt.UTC), db_index=True
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="generation",
            name="changed_at",
            field=models.DateTimeField(
                auto_now=True, db_index=True, help_text="When this row was last written."
            ),
        ),
        migrations.AddField(
            model_name="generation",
            name="is_paint_refused",
            field=models.BooleanField(
                default=False, help_text="A browser reported stamps that can't be."
            ),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                condition=models.Q(("is_paint_refused", True)),
                fields=["received_at"],
                name="generation_paint_refused",
            ),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(
                fields=[
                    "received_at",
                    "model_slug",
                    "preset_slug",
                    "source",
                    "state",
                    "error_code",
                    "worker",
                    "api_key",
                    "queue_us",
                    "ttft_us",
                    "decode_us",
                    "latency_us",
                    "tpot_us",
                    "user_latency_us",
                    "completion_tokens",
                    "request_id",
                ],
                name="generation_board",
            ),
        ),
        migrations.AddConstraint(
            model_name="labelset",
            constraint=models.UniqueConstraint(
                fields=(
                    "model_slug",
                    "preset_slug",
                    "worker",
                    "source",
                    "state",
                    "api_key",
                    "error_code",
                ),
                name="one_row_per_label_set",
            ),
        ),
        migrations.AddField(
            model_name="rollup",
            name="labels",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, to="metrics.labelset"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollup",
            constraint=models.UniqueConstraint(
                fields=("width_s", "start_s", "labels"), name="one_rollup_per_time_and_labels"
            ),
        ),
    ]
