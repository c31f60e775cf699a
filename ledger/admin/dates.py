"""From years to months to days, by the calendar: nothing is counted.

What is asked of a range of times is asked of its range of ids: see ``moments``.
"""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db import connections
from django.utils import formats, timezone

from ..models import TaskExecution
from .moments import DISORDER, first_id

FIELD = "claimed_at"
YEAR, MONTH, DAY = f"{FIELD}__year", f"{FIELD}__month", f"{FIELD}__day"


def is_date_lookup(lookup: str, value: str) -> bool:
    """Whether this is one of the drill-down's parameters, with a number that a date may have."""
    most = {YEAR: 9998, MONTH: 12, DAY: 31}.get(lookup, 0)
    return value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= most


def drill_down(changelist: ChangeList) -> dict[str, Any]:
    """The context of Django's own ``admin/date_hierarchy.html``: a link back, and the choices."""
    year, month, day = (int(changelist.params.get(part) or 0) for part in (YEAR, MONTH, DAY))

    def link(**chosen: int) -> str:
        new = {f"{FIELD}__{part}": value for part, value in chosen.items()}
        return changelist.get_query_string(new, [f"{FIELD}__"])

    if not year:
        return {"show": True, "back": None, "choices": [
            {"link": link(year=y), "title": str(y)} for y in _years()
        ]}  # fmt: skip
    if not month:
        return {
            "show": True,
            "back": {"link": link(), "title": "All dates"},
            "choices": [
                {"link": link(year=year, month=m), "title": _title(year, m, 1, "YEAR_MONTH_FORMAT")}
                for m in range(1, 13)
            ],
        }
    if not day:
        days = range(1, calendar.monthrange(year, month)[1] + 1)
        return {
            "show": True,
            "back": {"link": link(year=year), "title": str(year)},
            "choices": [
                {
                    "link": link(year=year, month=month, day=d),
                    "title": _title(year, month, d, "MONTH_DAY_FORMAT"),
                }
                for d in days
            ],
        }
    back = {
        "link": link(year=year, month=month),
        "title": _title(year, month, 1, "YEAR_MONTH_FORMAT"),
    }
    here = {"title": _title(year, month, day, "MONTH_DAY_FORMAT")}
    return {"show": True, "back": back, "choices": [here]}


def by_id(lookups: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The lookups, and where they ask for a range of times, the range of ids that it lies in."""
    bounds = {"id__gte": f"{FIELD}__gte", "id__lt": f"{FIELD}__lt"}
    for bound, time in bounds.items():
        if (moments := lookups.get(time)) is None:
            continue
        slack = DISORDER if bound == "id__lt" else -DISORDER
        lookups = {**lookups, bound: [_first_id(moments[-1] + slack)]}
    return lookups


def _first_id(moment: dt.datetime) -> int:
    """The first execution that was claimed at that moment, or later."""
    with connections[TaskExecution.objects.db].cursor() as cursor:
        return first_id(cursor, TaskExecution._meta.db_table, FIELD, moment)


def _years() -> range:
    """Those from the first execution to the last."""
    times = TaskExecution.objects.values_list(FIELD, flat=True)
    ends = [times.order_by(order).first() for order in ("id", "-id")]
    years = [timezone.localtime(end).year for end in ends if end is not None]
    return range(years[0], years[-1] + 1) if years else range(0)


def _title(year: int, month: int, day: int, style: str) -> str:
    return formats.date_format(dt.date(year, month, day), style)
