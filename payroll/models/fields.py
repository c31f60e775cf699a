from functools import cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from payroll.bank.transfer import FORMS, FORMS_IN_WORDS, checks_out

time_zones = cache(available_timezones)
"""Remembered, because looking them up reads the whole directory of them each time."""


def validate_time_zone(name: str) -> None:
    if name not in time_zones():
        raise ValidationError(
            "%(name)s is not a time zone: give an IANA name such as Europe/Berlin.",
            params={"name": name},
        )


def validate_iban(iban: str) -> None:
    if not FORMS["iban"].fullmatch(iban) or not checks_out(iban):
        raise ValidationError(
            "%(iban)s is not an account: give %(form)s, with its check digits.",
            params={"iban": iban, "form": FORMS_IN_WORDS["iban"]},
        )


def money_field() -> models.DecimalField:
    """An amount in the currency that stands beside it."""
    return models.DecimalField(max_digits=14, decimal_places=2)


def currency_field() -> models.CharField:
    return models.CharField(
        max_length=3,
        validators=[RegexValidator(r"^[A-Z]{3}$", "Give an ISO 4217 code such as EUR.")],
    )


def iban_field() -> models.CharField:
    return models.CharField(max_length=34, blank=True, validators=[validate_iban])


def time_zone_field() -> models.CharField:
    return models.CharField(max_length=64, validators=[validate_time_zone])
