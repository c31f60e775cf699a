"""A company to test with: a plain policy, 20.00 EUR an hour, Berlin time."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import factory

from payroll.models import Employee, HourlyRate, PayPolicy, WorkLog


class PayPolicyFactory(factory.django.DjangoModelFactory[PayPolicy]):
    class Meta:
        model = PayPolicy

    code = factory.Sequence(lambda n: f"P{n}")
    name = "Forty hours a week"
    withholding_rate = Decimal("0.25")


class EmployeeFactory(factory.django.DjangoModelFactory[Employee]):
    class Meta:
        model = Employee
        skip_postgeneration_save = True

    number = factory.Sequence(lambda n: f"E{n:05}")
    name = "Dana Weber"
    currency = "EUR"
    time_zone = "Europe/Berlin"
    pay_policy = factory.SubFactory(PayPolicyFactory)
    hired_on = date(2020, 1, 1)

    rate = factory.RelatedFactory(
        "tests.payroll.factories.HourlyRateFactory", factory_related_name="employee"
    )


class HourlyRateFactory(factory.django.DjangoModelFactory[HourlyRate]):
    class Meta:
        model = HourlyRate

    employee = factory.SubFactory(EmployeeFactory, rate=None)
    valid_from = date(2020, 1, 1)
    amount = Decimal("20")


class WorkLogFactory(factory.django.DjangoModelFactory[WorkLog]):
    """A shift of `hours` from eight in the morning of `day`; `hours=None` leaves it open."""

    class Meta:
        model = WorkLog

    class Params:
        day = date(2025, 10, 6)
        hours = 8

    employee = factory.SubFactory(EmployeeFactory)
    time_zone = "Europe/Berlin"
    check_in = factory.LazyAttribute(
        lambda log: datetime(
            log.day.year, log.day.month, log.day.day, 8, tzinfo=ZoneInfo(log.time_zone)
        )
    )
    check_out = factory.LazyAttribute(
        lambda log: None if log.hours is None else log.check_in + timedelta(hours=log.hours)
    )
