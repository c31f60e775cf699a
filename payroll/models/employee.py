from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import F, Q

from payroll.months import Month

from .fields import currency_field, iban_field, time_zone_field
from .pay_policy import PayPolicy


class EmployeeQuerySet(models.QuerySet["Employee"]):
    def employed_in(self, month: Month) -> "EmployeeQuerySet":
        """Those employed on at least one day of the month."""
        return self.filter(
            Q(left_on=None) | Q(left_on__gte=month.first_day), hired_on__lte=month.last_day
        )


class Employee(models.Model):
    """Somebody paid by the hour. Days, weeks, nights and holidays are those of their time zone."""

    number = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    currency = currency_field()
    time_zone = time_zone_field()
    pay_policy = models.ForeignKey(PayPolicy, models.PROTECT, related_name="employees")
    hired_on = models.DateField()
    left_on = models.DateField(null=True, blank=True, help_text="The last day of employment.")
    email = models.EmailField(blank=True, help_text="Told of every payslip; empty for nobody.")
    iban = iban_field()

    objects = EmployeeQuerySet.as_manager()

    class Meta:
        ordering = ("number",)
        constraints = (
            models.CheckConstraint(
                name="employee_leaves_after_being_hired",
                condition=Q(left_on=None) | Q(left_on__gte=F("hired_on")),
                violation_error_message="Nobody leaves before being hired.",
            ),
        )

    def __str__(self) -> str:
        return f"Employee {self.number}"

    def is_employed_in(self, month: Month) -> bool:
        return self.hired_on <= month.last_day and (
            self.left_on is None or self.left_on >= month.first_day
        )

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


class HourlyRate(models.Model):
    """What an hour is worth from a day on, in the employee's currency, until the next rate."""

    employee = models.ForeignKey(Employee, models.CASCADE, related_name="hourly_rates")
    valid_from = models.DateField()
    amount = models.DecimalField(max_digits=10, decimal_places=4)

    class Meta:
        ordering = ("valid_from",)
        constraints = (
            models.UniqueConstraint(
                fields=("employee", "valid_from"), name="hourly_rate_one_per_day"
            ),
            models.CheckConstraint(
                name="hourly_rate_is_positive",
                condition=Q(amount__gt=0),
                violation_error_message="An hourly rate is more than nothing.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} from {self.valid_from}"
