"""Replaces the views for reporting by those of ``sql/views.sql``."""

from pathlib import Path

from django.db import migrations

VIEWS = Path(__file__).parents[1] / "sql" / "views.sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_reporting")]

    operations = [migrations.RunSQL(VIEWS.read_text(), migrations.RunSQL.noop)]
