"""The tally that the figures stand on, and the functions that read it, from ``sql/figures.sql``."""

from pathlib import Path

import django.contrib.postgres.fields
from django.db import migrations, models

FIGURES = Path(__file__).parents[1] / "sql" / "figures.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_functions")]

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task_name", models.CharField(max_length=200)),
                ("outcome", models.CharField(help_text="completed, or the kind of an event", max_length=20)),
                ("total", models.BigIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="TallyMark",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("execution", models.BigIntegerField(help_text="executions up to this id are in the tally")),
                ("event", models.BigIntegerField(help_text="events up to this id are")),
                (
                    "unfinished",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(),
                        help_text="executions among them that are not",
                        size=None,
                    ),
                ),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunSQL(FIGURES.read_text(), migrations.RunSQL.noop),
    ]
