"""Which time the overview shows, and in steps of what length."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils import timezone

DAY = dt.timedelta(days=1)
QUARTER = 15 * 60
"""Seconds in the shortest span that is rolled up. Every time zone's hours consist of them."""

OLDEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
PRESETS = {"24h": ("24 hours", DAY), "7d": ("7 days", 7 * DAY), "30d": ("30 days", 30 * DAY)}
DEFAULT = "24h"


@dataclass(frozen=True, slots=True)
class Range:
    """From ``since`` up to, not including, ``until``: both aware, in the current time zone, and on
    a quarter of an hour, unless it reaches to now."""

    since: dt.datetime
    until: dt.datetime
    preset: str = ""

    @property
    def step(self) -> str:
        """What one bar of a chart covers: ``hour``, ``day``, ``week`` or ``month``, so that there
        are some six dozen of them at the most."""
        length = self.until - self.since
        if length <= 3 * DAY:
            return "hour"
        if length <= 75 * DAY:
            return "day"
        return "week" if length <= 75 * 7 * DAY else "month"

    def whole_days(self) -> tuple[dt.datetime, dt.datetime]:
        """From where to where whole days of UTC are in it; twice its end where there are none."""
        begin, end = (
            moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            for moment in (self.since, self.until)
        )
        first = begin if begin == self.since else begin + DAY
        return (first, end) if first < end else (self.until, self.until)

    @classmethod
    def of_preset(cls, name: str, now: dt.datetime) -> Range:
        """At least the preset's length up to now, from the beginning of an hour or a day on."""
        now = timezone.localtime(now)
        length = PRESETS[name][1]
        since = (now - length).replace(minute=0, second=0, microsecond=0)
        if length > 3 * DAY:
            since = since.replace(hour=0)
        return cls(since, now, name)


class RangeForm(forms.Form):
    """``range=7d``, or ``since`` and ``until``, to the quarters of an hour around them; an empty
    ``until`` is now."""

    range = forms.ChoiceField(
        choices=[(name, label) for name, (label, _) in PRESETS.items()], required=False
    )
    since = forms.DateTimeField(required=False, widget=forms.DateTimeInput)
    until = forms.DateTimeField(required=False, widget=forms.DateTimeInput)

    def __init__(self, *args: Any, now: dt.datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now
        for name in ("since", "until"):
            self.fields[name].widget = forms.DateTimeInput(
                attrs={"type": "datetime-local", "step": QUARTER}, format="%Y-%m-%dT%H:%M"
            )

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        since, until = given.get("since"), given.get("until") or self.now
        if given.get("until") and not since and "since" not in self.errors:
            self.add_error("since", "Say since when, or choose one of the ranges.")
        if since and since < OLDEST:
            self.add_error("since", "Choose a year from 2000 on.")
        elif since and "until" not in self.errors and since >= until:
            self.add_error(
                "until", "Choose an end after the beginning, and a beginning that is past."
            )
        return given

    def chosen(self) -> Range:
        """What the form asks for; the default where it asks for nothing that can be meant."""
        if not self.is_valid():
            return Range.of_preset(DEFAULT, self.now)
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        if since:
            end = min(_quarter(until, math.ceil), self.now) if until else self.now
            return Range(_quarter(since, math.floor), timezone.localtime(end))
        return Range.of_preset(self.cleaned_data["range"] or DEFAULT, self.now)


def _quarter(moment: dt.datetime, rounded: Callable[[float], int]) -> dt.datetime:
    seconds = rounded(moment.timestamp() / QUARTER) * QUARTER
    return timezone.localtime(dt.datetime.fromtimestamp(seconds, dt.UTC))
