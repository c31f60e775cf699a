from datetime import date
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from payroll.rules import Policy, public_holidays

MINUTE_STEPS = (1, 5, 6, 10, 15, 30)


class PayPolicy(models.Model):
    """How a group of employees is paid.

    Thresholds are minutes, empty for a rule that does not apply. A multiplier is the cost of an
    hour in all, a premium what comes on top of it. A change applies to every month that is
    calculated or recalculated after it, so a new agreement is a new policy.
    """

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    week_start = models.PositiveSmallIntegerField(
        default=0,
        choices=list(enumerate(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])),
        help_text="The day the workweek begins on.",
    )
    daily_after = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Minutes a day after which work is overtime."
    )
    daily_multiplier = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal("1.5"))
    double_after = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Minutes a day after which work is double time."
    )
    double_multiplier = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal("2"))
    weekly_after = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        default=40 * 60,
        help_text="Minutes a week without other premium after which work is overtime.",
    )
    weekly_multiplier = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal("1.5"))
    night_start = models.TimeField(null=True, blank=True)
    night_end = models.TimeField(null=True, blank=True)
    night_premium = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal("0"))
    holiday_country = models.CharField(
        max_length=2, blank=True, help_text="ISO 3166-1 code, e.g. DE; empty for no holidays."
    )
    holiday_subdivision = models.CharField(
        max_length=10, blank=True, help_text="ISO 3166-2 part after the dash, e.g. BE."
    )
    holiday_multiplier = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal("1"))
    minute_step = models.PositiveSmallIntegerField(
        default=1,
        choices=[(step, str(step)) for step in MINUTE_STEPS],
        help_text="Punches are rounded to the nearest multiple, half up.",
    )
    money_step = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        default=Decimal("0.01"),
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="Amounts are rounded to the nearest multiple, half up.",
    )
    withholding_rate = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=Decimal("0"),
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="A flat share of gross pay that stands in for taxes and contributions.",
    )

    class Meta:
        verbose_name_plural = "pay policies"
        ordering = ("code",)
        constraints = (
            models.CheckConstraint(
                name="pay_policy_premiums_add",
                condition=Q(daily_multiplier__gte=1)
                & Q(double_multiplier__gte=F("daily_multiplier"))
                & Q(weekly_multiplier__gte=1)
                & Q(night_premium__gte=0),
                violation_error_message="Double time is worth at least overtime, and that an hour.",
            ),
            # A smaller premium could not be credited towards overtime: 29 CFR § 778.203.
            models.CheckConstraint(
                name="pay_policy_holiday_is_creditable",
                condition=Q(holiday_multiplier=1)
                | Q(holiday_multiplier__gte=F("weekly_multiplier")),
                violation_error_message="Holidays pay no premium (1) or at least weekly overtime.",
            ),
            models.CheckConstraint(
                name="pay_policy_double_time_comes_after_overtime",
                condition=Q(daily_after=None)
                | Q(double_after=None)
                | Q(double_after__gt=F("daily_after")),
                violation_error_message="Double time begins after daily overtime.",
            ),
            models.CheckConstraint(
                name="pay_policy_night_has_two_ends",
                condition=Q(night_start=None, night_end=None)
                | Q(night_start__isnull=False, night_end__isnull=False),
                violation_error_message="Give both ends of the night or none.",
            ),
            models.CheckConstraint(
                name="pay_policy_rounding_steps",
                condition=Q(minute_step__in=MINUTE_STEPS) & Q(money_step__gt=0),
                violation_error_message="Round to 1, 5, 6, 10, 15 or 30 minutes; money above 0.",
            ),
            models.CheckConstraint(
                name="pay_policy_withholding_is_a_share",
                condition=Q(withholding_rate__gte=0, withholding_rate__lte=1),
                violation_error_message="Withholding is a share from 0 to 1.",
            ),
        )

    def __str__(self) -> str:
        return self.code

    def clean(self) -> None:
        if not self.holiday_country:
            return
        try:
            public_holidays(self.holiday_country, self.holiday_subdivision, 2025)
        except NotImplementedError as error:
            raise ValidationError(
                {"holiday_country": f"No public holidays are known there: {error}"}
            ) from None

    def as_rules(self) -> Policy:
        return Policy(
            week_start=self.week_start,
            daily_after=self.daily_after,
            daily_multiplier=self.daily_multiplier,
            double_after=self.double_after,
            double_multiplier=self.double_multiplier,
            weekly_after=self.weekly_after,
            weekly_multiplier=self.weekly_multiplier,
            night_start=self.night_start,
            night_end=self.night_end,
            night_premium=self.night_premium,
            holiday_multiplier=self.holiday_multiplier,
            minute_step=self.minute_step,
            money_step=self.money_step,
            withholding_rate=self.withholding_rate,
        )

    def holidays(self, first_day: date, last_day: date) -> frozenset[date]:
        """The public holidays of those days' years; none without a country or a premium."""
        if not self.holiday_country or self.holiday_multiplier == 1:
            return frozenset()
        years = range(first_day.year, last_day.year + 1)
        return frozenset().union(
            *(public_holidays(self.holiday_country, self.holiday_subdivision, y) for y in years)
        )
