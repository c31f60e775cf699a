"""Reading one cell. Each raises BadRow with the column, what it says and what it should say."""

from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models

from payroll.models.fields import validate_time_zone

from .csv_file import BadRow


def text(cells: dict[str, str], column: str) -> str:
    value = cells[column]
    if not value:
        raise BadRow(f"{column} is empty")
    if not value.isprintable():
        raise BadRow(f"{column} {value!r} has characters that cannot be printed")
    return value


def optional_text(cells: dict[str, str], column: str) -> str:
    return text(cells, column) if cells[column] else ""


def integer(cells: dict[str, str], column: str) -> int:
    value = text(cells, column)
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise BadRow(f"{column} {value!r} is not a whole number")
    return int(value)


def optional_integer(cells: dict[str, str], column: str) -> int | None:
    return integer(cells, column) if cells[column] else None


def decimal(cells: dict[str, str], column: str) -> Decimal:
    value = text(cells, column)
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise BadRow(f"{column} {value!r} is not a number: write it as 12.50")
    return number


def day(cells: dict[str, str], column: str) -> date:
    value = text(cells, column)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise BadRow(f"{column} {value!r} is not a day: write it as 2025-10-31") from None


def optional_day(cells: dict[str, str], column: str) -> date | None:
    return day(cells, column) if cells[column] else None


def optional_clock(cells: dict[str, str], column: str) -> time | None:
    if not cells[column]:
        return None
    value = text(cells, column)
    try:
        clock = time.fromisoformat(value)
    except ValueError:
        clock = None
    if clock is None or clock.tzinfo is not None:
        raise BadRow(f"{column} {value!r} is not a time of day: write it as 22:00")
    return clock


def zone(cells: dict[str, str], column: str) -> ZoneInfo:
    value = text(cells, column)
    try:
        validate_time_zone(value)
    except ValidationError as error:
        raise BadRow(f"{column}: {error.messages[0]}") from None
    return ZoneInfo(value)


def moment(cells: dict[str, str], column: str, clock_in: ZoneInfo) -> datetime:
    """An instant, in UTC. Without an offset it is what the clock in that zone read, if clear."""
    value = text(cells, column)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        parsed = None
    if parsed is None or ":" not in value:
        raise BadRow(
            f"{column} {value!r} is not a time:"
            " write it as 2025-10-31T22:00+01:00 or 2025-10-31T22:00"
        )
    if not 1970 <= parsed.year <= 9998:
        raise BadRow(f"{column} {value!r} is not in a year from 1970 to 9998")
    if parsed.tzinfo is not None:
        return parsed.astimezone(UTC)

    local = parsed.replace(tzinfo=clock_in)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        exists = local.astimezone(UTC).astimezone(clock_in).replace(tzinfo=None) == parsed
        happens = "happens twice" if exists else "does not happen"
        raise BadRow(
            f"{column} {value!r} {happens} in {clock_in.key} because the clocks change:"
            " add the offset, as in +01:00"
        )
    return local.astimezone(UTC)


def optional_moment(cells: dict[str, str], column: str, clock_in: ZoneInfo) -> datetime | None:
    return moment(cells, column, clock_in) if cells[column] else None


def check_fields(instance: models.Model, exclude: set[str] | None = None) -> None:
    """What the model says of each of its fields."""
    try:
        instance.clean_fields(exclude=exclude)
    except ValidationError as error:
        raise BadRow(reasons(error)) from None


def reasons(error: ValidationError) -> str:
    """A validation error in one line."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return "; ".join(
        f"{field}: {' '.join(messages)}" if field != "__all__" else " ".join(messages)
        for field, messages in error.message_dict.items()
    )
