from datetime import timedelta

from django.db import models
from django.db.models import F, Q

from .employee import Employee
from .fields import time_zone_field

LONGEST_LOG = timedelta(hours=24)


class WorkLog(models.Model):
    """One stretch of work as it was punched.

    Overlaps and missing check-outs are facts of life and are stored; the payslip pays covered time
    once, an open log not at all, and says so. The time zone is that of the clock that was punched.
    """

    employee = models.ForeignKey(Employee, models.PROTECT, related_name="work_logs", db_index=False)
    check_in = models.DateTimeField()
    check_out = models.DateTimeField(null=True, blank=True)
    time_zone = time_zone_field()

    class Meta:
        ordering = ("check_in",)
        constraints = (
            models.UniqueConstraint(
                fields=("employee", "check_in"), name="work_log_one_per_check_in"
            ),
            models.CheckConstraint(
                name="work_log_ends_after_it_begins",
                condition=Q(check_out=None) | Q(check_out__gt=F("check_in")),
                violation_error_message="The check-out comes after the check-in.",
            ),
            # Nobody works longer without a break: such a log is a forgotten check-out. It also
            # bounds how far back a month has to look for work that reaches into it.
            models.CheckConstraint(
                name="work_log_is_no_longer_than_a_day",
                condition=Q(check_out=None) | Q(check_out__lte=F("check_in") + LONGEST_LOG),
                violation_error_message="The check-out comes within 24 hours of the check-in.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.employee_id}: {self.check_in:%Y-%m-%d %H:%M}"
