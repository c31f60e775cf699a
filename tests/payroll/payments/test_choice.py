"""The settings choose how payments leave, and say so where they make no sense."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from payroll import paying


@pytest.mark.parametrize(
    ("url", "honours_keys", "guarantee"),
    [
        ("", True, "exactly_once"),
        ("", False, "exactly_once"),
        ("http://127.0.0.1:8090", True, "at_least_once"),
        ("http://127.0.0.1:8090", False, "at_most_once"),
    ],
)
def test_the_guarantee_is_the_one_that_the_bank_can_keep(
    settings: Settings, url: str, honours_keys: bool, guarantee: str
) -> None:
    settings.BANK_URL, settings.BANK_HONOURS_KEYS = url, honours_keys

    assert paying.configured()[0].options["guarantee"] == guarantee


@pytest.mark.parametrize(
    ("url", "timeout", "complaint"),
    [
        ("bank.example.com", 10, "BANK_URL: 'bank.example.com' is not the URL of a bank"),
        ("http://127.0.0.1:8090", 0, "BANK_TIMEOUT is 0: give seconds, more than 0"),
        ("http://127.0.0.1:8090", -1, "BANK_TIMEOUT is -1"),
    ],
)
def test_a_bank_that_cannot_be_meant_is_refused_before_anything_is_sent(
    settings: Settings, url: str, timeout: float, complaint: str
) -> None:
    settings.BANK_URL, settings.BANK_TIMEOUT = url, timeout

    with pytest.raises(ImproperlyConfigured, match=complaint):
        paying.configured()
