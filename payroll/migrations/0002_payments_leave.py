
import payroll.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('payroll', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='employee',
            name='email',
            field=models.EmailField(blank=True, help_text='Told of every payslip; empty for nobody.', max_length=254),
        ),
        migrations.AddField(
            model_name='employee',
            name='iban',
            field=models.CharField(blank=True, max_length=34, validators=[payroll.models.fields.validate_iban]),
        ),
        migrations.AddField(
            model_name='payment',
            name='bank_key',
            field=models.UUIDField(editable=False, help_text='The idempotency key it was first sent with, and is sent with ever after.', null=True),
        ),
        migrations.AddField(
            model_name='payment',
            name='bank_number',
            field=models.PositiveBigIntegerField(blank=True, help_text="The bank's number of the booking.", null=True),
        ),
    ]
