import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from payroll.months import Month

from .employee import Employee
from .fields import currency_field, money_field


class Payslip(models.Model):
    """What an employee earned in a month. Never changed: a correction is a further payslip.

    The payslips of a month are numbered by `sequence`, and what they say adds up to the month. The
    first is the regular one and all others are corrections, so that no month has two regular ones
    however long ago the ledger has forgotten the first.
    """

    class Kind(models.TextChoices):
        REGULAR = "regular"
        CORRECTION = "correction"

    employee = models.ForeignKey(Employee, models.PROTECT, related_name="payslips", db_index=False)
    year = models.PositiveSmallIntegerField()
    month = models.PositiveSmallIntegerField()
    sequence = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=Kind)
    currency = currency_field()
    minutes = models.IntegerField(help_text="Minutes worked; of a correction, the difference.")
    gross = money_field()
    withholding = money_field()
    net = money_field()
    issues = models.JSONField(
        default=list, help_text="Work logs that were not paid in full, for somebody to look at."
    )
    posted_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("year", "month", "employee_id", "sequence")
        constraints = (
            models.UniqueConstraint(
                fields=("employee", "year", "month", "sequence"), name="payslip_one_per_sequence"
            ),
            models.CheckConstraint(
                name="payslip_regular_is_the_first",
                condition=Q(kind="regular", sequence=1) | Q(kind="correction", sequence__gt=1),
            ),
            models.CheckConstraint(
                name="payslip_net_is_gross_less_withholding",
                condition=Q(net=F("gross") - F("withholding")),
            ),
            models.CheckConstraint(
                name="payslip_month_exists",
                condition=Q(month__gte=1, month__lte=12, sequence__gte=1),
            ),
        )
        indexes = (models.Index(fields=("year", "month"), name="payslip_month"),)
        triggers = (
            pgtrigger.Protect(
                name="payslip_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            ),
        )

    def __str__(self) -> str:
        period = Month(self.year, self.month)
        return f"Payslip {self.employee_id}/{period}/{self.sequence}"


class PayslipLine(models.Model):
    """minutes / 60 x rate x multiplier, rounded once. See payroll.rules.pay for the kinds."""

    payslip = models.ForeignKey(Payslip, models.PROTECT, related_name="lines")
    kind = models.CharField(max_length=20)
    workweek = models.DateField(
        null=True, blank=True, help_text="First day of the week an overtime premium is for."
    )
    minutes = models.IntegerField()
    rate = models.DecimalField(max_digits=14, decimal_places=4)
    multiplier = models.DecimalField(max_digits=6, decimal_places=4)
    amount = money_field()

    class Meta:
        ordering = ("id",)
        triggers = (
            pgtrigger.Protect(
                name="payslip_line_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"
