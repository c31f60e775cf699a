"""The chain of seals, its functions from ``sql/evidence.sql``, and the last guards."""

from pathlib import Path

import django.contrib.postgres.fields
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

FUNCTIONS = Path(__file__).parents[1] / "sql" / "evidence.sql"


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0003_figures'),
    ]

    operations = [
        migrations.CreateModel(
            name='Seal',
            fields=[
                ('id', models.BigIntegerField(help_text='1, 2, 3, … without a gap', primary_key=True, serialize=False)),
                ('sealed_at', models.DateTimeField()),
                ('kind', models.CharField(choices=[('execution', 'executions'), ('event', 'events'), ('step', 'steps')], max_length=20)),
                ('act', models.CharField(choices=[('sealed', 'sealed'), ('purged', 'purged')], max_length=20)),
                ('upto', models.BigIntegerField(help_text='every id up to here is sealed, opened or not there')),
                ('ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='the rows', size=None)),
                ('digests', models.BinaryField(help_text='their SHA-256, 32 bytes each, in the order of ids')),
                ('opened', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='executions left for a later seal', size=None)),
                ('digest', models.BinaryField(help_text='SHA-256 of the seal before this one and of this one')),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='UnsealedExecution',
            fields=[
                ('execution_id', models.BigIntegerField(primary_key=True, serialize=False)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='executionevent',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF coalesce(current_setting('ledger.truncating', true),\n                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)\n            IS DISTINCT FROM 'on'\n        THEN\n            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',\n                TG_TABLE_NAME\n                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';\n        END IF;\n        RETURN NULL;\n    ", hash='dc448fb29085e7346cc0d9ce58721d0a9729473e', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_8e509', table='ledger_executionevent', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='executionstep',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF coalesce(current_setting('ledger.truncating', true),\n                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)\n            IS DISTINCT FROM 'on'\n        THEN\n            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',\n                TG_TABLE_NAME\n                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';\n        END IF;\n        RETURN NULL;\n    ", hash='9f9bb7bb00bdf482e504db15128468fa25093a1f', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_e9c2d', table='ledger_executionstep', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='outboxmessage',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF coalesce(current_setting('ledger.truncating', true),\n                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)\n            IS DISTINCT FROM 'on'\n        THEN\n            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',\n                TG_TABLE_NAME\n                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';\n        END IF;\n        RETURN NULL;\n    ", hash='7e0858e92596d16593166033e029d9dcbec1efee', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_ebfff', table='ledger_outboxmessage', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='seal',
            trigger=pgtrigger.compiler.Trigger(name='kept_for_ever', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION '% % is evidence and is kept as it is', TG_TABLE_NAME, OLD.id;", hash='ee4c1db8767d0c28aa2f2ce23bc21466b82d27c3', operation='UPDATE OR DELETE', pgid='pgtrigger_kept_for_ever_668e7', table='ledger_seal', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='seal',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF coalesce(current_setting('ledger.truncating', true),\n                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)\n            IS DISTINCT FROM 'on'\n        THEN\n            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',\n                TG_TABLE_NAME\n                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';\n        END IF;\n        RETURN NULL;\n    ", hash='097c976646c7f238ca614a29bc69821031fecca4', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_c05e2', table='ledger_seal', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='taskexecution',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF coalesce(current_setting('ledger.truncating', true),\n                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)\n            IS DISTINCT FROM 'on'\n        THEN\n            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',\n                TG_TABLE_NAME\n                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';\n        END IF;\n        RETURN NULL;\n    ", hash='9071cddde2857d2d0a2a84f66f2df052d97b0b6e', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_87adc', table='ledger_taskexecution', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='taskexecution',
            trigger=pgtrigger.compiler.Trigger(name='origin_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF (NEW.id, NEW.key, NEW.task_name, NEW.period, NEW.guarantee, NEW.claimed_at)\n            IS DISTINCT FROM\n            (OLD.id, OLD.key, OLD.task_name, OLD.period, OLD.guarantee, OLD.claimed_at)\n        THEN\n            RAISE EXCEPTION 'execution % is % (attempt %) and cannot become another like that',\n                OLD.id, OLD.state, OLD.attempt;\n        END IF;\n        RETURN NEW;\n    ", hash='ea187984ea7aab3a0011e46f3308d976a35c4747', operation='UPDATE OF "id", "key", "task_name", "period", "guarantee", "claimed_at"', pgid='pgtrigger_origin_kept_bbc3a', table='ledger_taskexecution', when='BEFORE')),
        ),
        migrations.RunSQL(FUNCTIONS.read_text(), migrations.RunSQL.noop),
    ]
