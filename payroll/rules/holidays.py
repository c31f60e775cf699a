from datetime import date
from functools import lru_cache

import holidays


@lru_cache(maxsize=512)
def public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    """The public holidays of a country (ISO 3166-1) and of its subdivision, which may be empty.

    Remembered per process: working out a country's year takes longer than a payslip.
    Raises NotImplementedError for a place the holidays package does not know.
    """
    return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))
