from collections.abc import Sequence

from django.core.exceptions import ValidationError

from payroll.models import PayPolicy

from . import cells as cell
from .csv_file import BadRow
from .run import Outcome


class PayPolicyImport:
    """Pay policies. One that is there is not changed by a file: that would reprice old months."""

    model = PayPolicy
    columns = (
        "code",
        "name",
        "week_start",
        "daily_after",
        "daily_multiplier",
        "double_after",
        "double_multiplier",
        "weekly_after",
        "weekly_multiplier",
        "night_start",
        "night_end",
        "night_premium",
        "holiday_country",
        "holiday_subdivision",
        "holiday_multiplier",
        "minute_step",
        "money_step",
        "withholding_rate",
    )

    def write(self, rows: Sequence[dict[str, str]]) -> list[Outcome | BadRow]:
        return [self._import(row) for row in rows]

    def _import(self, row: dict[str, str]) -> Outcome | BadRow:
        try:
            said = self._parse(row)
            there = PayPolicy.objects.filter(code=said.code).first()
            if there is None:
                said.full_clean()
                said.save()
                return "added"
            differing = [
                name for name in self.columns if getattr(there, name) != getattr(said, name)
            ]
            if differing:
                raise BadRow(
                    f"policy {said.code!r} is there with another {', '.join(differing)}:"
                    " give the new policy a code of its own"
                )
        except ValidationError as error:
            return BadRow(cell.reasons(error))
        except BadRow as reason:
            return reason
        return "unchanged"

    def _parse(self, row: dict[str, str]) -> PayPolicy:
        return PayPolicy(
            code=cell.text(row, "code"),
            name=cell.text(row, "name"),
            week_start=cell.integer(row, "week_start"),
            daily_after=cell.optional_integer(row, "daily_after"),
            daily_multiplier=cell.decimal(row, "daily_multiplier"),
            double_after=cell.optional_integer(row, "double_after"),
            double_multiplier=cell.decimal(row, "double_multiplier"),
            weekly_after=cell.optional_integer(row, "weekly_after"),
            weekly_multiplier=cell.decimal(row, "weekly_multiplier"),
            night_start=cell.optional_clock(row, "night_start"),
            night_end=cell.optional_clock(row, "night_end"),
            night_premium=cell.decimal(row, "night_premium"),
            holiday_country=cell.optional_text(row, "holiday_country"),
            holiday_subdivision=cell.optional_text(row, "holiday_subdivision"),
            holiday_multiplier=cell.decimal(row, "holiday_multiplier"),
            minute_step=cell.integer(row, "minute_step"),
            money_step=cell.decimal(row, "money_step"),
            withholding_rate=cell.decimal(row, "withholding_rate"),
        )
