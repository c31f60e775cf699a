"""What ran when, rolled up. Everything is counted anew."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0007_functions_and_views'),
    ]

    operations = [
        migrations.CreateModel(
            name='Rollup',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('minutes', models.SmallIntegerField(help_text="the span's length: 15, or 1440, a day of UTC")),
                ('began', models.DateTimeField()),
                ('task_name', models.CharField(max_length=200)),
                ('outcome', models.CharField(help_text='the state it ended in, or skipped', max_length=20)),
                ('total', models.BigIntegerField()),
                ('bins', django.contrib.postgres.fields.ArrayField(base_field=models.SmallIntegerField(null=True), help_text='ledger_bin of their durations, or null', size=None)),
                ('numbers', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), help_text='how many are in each bin', size=None)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='rollup',
            index=models.Index(fields=['minutes', 'began'], include=('task_name', 'outcome', 'total'), name='ledger_rollup_began'),
        ),
        migrations.AlterField(
            model_name='tallymark',
            name='execution',
            field=models.BigIntegerField(help_text='executions up to this id are counted'),
        ),
        migrations.AddIndex(
            model_name='seal',
            index=models.Index(condition=models.Q(('act', 'sealed')), fields=['kind', 'id'], name='ledger_sealed'),
        ),
        migrations.RunSQL(
            "drop function if exists ledger_tally_purged(bigint[]);"
            "delete from ledger_tally; delete from ledger_tallymark",
            migrations.RunSQL.noop,
        ),
    ]
