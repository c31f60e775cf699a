"""The views for reporting, from ``sql/views.sql``, and the indexes that they need."""

from pathlib import Path

import django.contrib.postgres.indexes
from django.db import migrations, models

VIEWS = Path(__file__).parents[1] / "sql" / "views.sql"
DROP = """
    drop view if exists ledger_task_health;
    drop function if exists ledger_task_health_between;
    drop view if exists ledger_run_history, ledger_attempts, ledger_duplicates, ledger_decisions,
        ledger_daily_summary, ledger_open_items, ledger_run_details;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0005_admin'),
    ]

    operations = [
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('pk', models.CompositePrimaryKey('execution_id', 'attempt', blank=True, editable=False, primary_key=True, serialize=False)),
                ('execution_id', models.BigIntegerField()),
                ('attempt', models.IntegerField()),
                ('task_name', models.TextField()),
                ('key', models.TextField()),
                ('started_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('outcome', models.TextField()),
                ('worker', models.TextField(null=True)),
                ('task_id', models.TextField(null=True)),
                ('error_type', models.TextField(null=True)),
            ],
            options={
                'db_table': 'ledger_attempts',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='DailySummary',
            fields=[
                ('pk', models.CompositePrimaryKey('day', 'task_name', blank=True, editable=False, primary_key=True, serialize=False)),
                ('day', models.DateField()),
                ('task_name', models.TextField()),
                ('executions', models.BigIntegerField()),
                ('completed', models.BigIntegerField()),
                ('failed', models.BigIntegerField()),
                ('held', models.BigIntegerField()),
                ('running', models.BigIntegerField()),
                ('retried', models.BigIntegerField()),
                ('duplicates', models.BigIntegerField()),
                ('failures', models.BigIntegerField()),
                ('workers_lost', models.BigIntegerField()),
                ('p50_seconds', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
            ],
            options={
                'db_table': 'ledger_daily_summary',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Decision',
            fields=[
                ('event_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('decision', models.TextField()),
                ('actor', models.TextField()),
                ('reason', models.TextField()),
                ('execution_id', models.BigIntegerField()),
                ('task_name', models.TextField()),
                ('key', models.TextField()),
            ],
            options={
                'db_table': 'ledger_decisions',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Duplicate',
            fields=[
                ('event_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('execution_id', models.BigIntegerField()),
                ('task_name', models.TextField()),
                ('key', models.TextField()),
                ('period', models.TextField(null=True)),
                ('task_id', models.TextField()),
                ('same_message', models.BooleanField()),
                ('worker', models.TextField()),
                ('seconds_after', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
            ],
            options={
                'db_table': 'ledger_duplicates',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='OpenItem',
            fields=[
                ('pk', models.CompositePrimaryKey('item', 'execution_id', 'task_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('item', models.TextField()),
                ('execution_id', models.BigIntegerField()),
                ('follow_up_id', models.BigIntegerField(null=True)),
                ('task_name', models.TextField()),
                ('key', models.TextField()),
                ('tries', models.IntegerField()),
                ('since', models.DateTimeField()),
                ('seconds', models.DecimalField(decimal_places=3, max_digits=20)),
                ('worker', models.TextField()),
                ('task_id', models.TextField()),
                ('detail', models.TextField(null=True)),
            ],
            options={
                'db_table': 'ledger_open_items',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='RunDetails',
            fields=[
                ('execution_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('arguments', models.JSONField()),
                ('result', models.JSONField(null=True)),
                ('error', models.TextField()),
            ],
            options={
                'db_table': 'ledger_run_details',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='RunHistory',
            fields=[
                ('execution_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('key', models.TextField()),
                ('task_name', models.TextField()),
                ('period', models.TextField(null=True)),
                ('guarantee', models.TextField()),
                ('state', models.TextField()),
                ('attempts', models.IntegerField()),
                ('task_id', models.TextField()),
                ('root_id', models.TextField()),
                ('worker', models.TextField()),
                ('claimed_at', models.DateTimeField()),
                ('started_at', models.DateTimeField()),
                ('completed_at', models.DateTimeField(null=True)),
                ('seconds', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('retired_at', models.DateTimeField(null=True)),
                ('retired_reason', models.TextField()),
                ('error_type', models.TextField(null=True)),
                ('duplicates', models.BigIntegerField()),
            ],
            options={
                'db_table': 'ledger_run_history',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='TaskHealth',
            fields=[
                ('pk', models.CompositePrimaryKey('days', 'task_name', blank=True, editable=False, primary_key=True, serialize=False)),
                ('days', models.IntegerField()),
                ('task_name', models.TextField()),
                ('executions', models.BigIntegerField()),
                ('completed', models.BigIntegerField()),
                ('failed', models.BigIntegerField()),
                ('held', models.BigIntegerField()),
                ('running', models.BigIntegerField()),
                ('attempts', models.BigIntegerField()),
                ('success_rate', models.DecimalField(decimal_places=4, max_digits=5, null=True)),
                ('duplicates', models.BigIntegerField()),
                ('duplicate_rate', models.DecimalField(decimal_places=4, max_digits=5)),
                ('p50_seconds', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
                ('p95_seconds', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
                ('p99_seconds', models.DecimalField(decimal_places=3, max_digits=20, null=True)),
            ],
            options={
                'db_table': 'ledger_task_health',
                'abstract': False,
                'managed': False,
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='executionevent',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='ledger_event_at', pages_per_range=16),
        ),
        migrations.AddIndex(
            model_name='taskexecution',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['claimed_at'], name='ledger_claimed', pages_per_range=16),
        ),
        migrations.RunSQL(VIEWS.read_text(), DROP),
    ]
