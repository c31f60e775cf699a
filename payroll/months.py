from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

from .errors import BadMonth


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A calendar month, which is what a payslip is for. Raises BadMonth if there is none such."""

    year: int
    month: int

    def __post_init__(self) -> None:
        numbers = type(self.year) is int and type(self.month) is int
        if not (numbers and 1970 <= self.year <= 9998 and 1 <= self.month <= 12):
            raise BadMonth(self.year, self.month)

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        return date(self.year, self.month, monthrange(self.year, self.month)[1])

    @property
    def over_on(self) -> date:
        return self.last_day + timedelta(days=1)
