"""Replaces functions and views by those of ``sql/``; all of it is ``create or replace``."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parents[1] / "sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_reporting")]

    operations = [
        migrations.RunSQL((SQL / name).read_text(), migrations.RunSQL.noop)
        for name in ("functions.sql", "evidence.sql", "figures.sql", "views.sql")
    ]
