"""Keeps a follow-up as it was committed; lets a person give it up."""

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0009_task_id_by_hash'),
    ]

    operations = [
        migrations.AlterField(
            model_name='executionevent',
            name='kind',
            field=models.CharField(choices=[('skipped', 'duplicate answered'), ('failed', 'failed'), ('abandoned', 'worker lost'), ('taken_over', 'taken over'), ('held', 'held'), ('released', 'released'), ('retired', 'retired'), ('lost_claim', 'claim lost'), ('unprotected', 'ran unprotected'), ('recovered', 'recovered by hand'), ('published', 'published again by hand'), ('imported', 'imported from a cache'), ('discarded', 'follow-up given up')], max_length=20),
        ),
        migrations.AlterField(
            model_name='outboxmessage',
            name='published_at',
            field=models.DateTimeField(blank=True, help_text='or given up, where there is an error as well', null=True),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='outboxmessage',
            trigger=pgtrigger.compiler.Trigger(name='origin_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n        IF (NEW.id, NEW.execution_id, NEW.task_name, NEW.task_id, NEW.created_at, NEW.message::text)\n            IS DISTINCT FROM\n           (OLD.id, OLD.execution_id, OLD.task_name, OLD.task_id, OLD.created_at, OLD.message::text)\n        THEN\n            RAISE EXCEPTION 'follow-up % of execution % is sent as it was committed, or not at all',\n                OLD.id, OLD.execution_id;\n        END IF;\n        RETURN NEW;\n    ", hash='be075b81d70377a67655e9bf510b8c085ada1fe2', operation='UPDATE OF "id", "execution_id", "task_name", "task_id", "message", "created_at"', pgid='pgtrigger_origin_kept_4be16', table='ledger_outboxmessage', when='BEFORE')),
        ),
    ]
