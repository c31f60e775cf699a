"""A command that must not be run twice: not by two hosts' cron, not by a second pair of hands.

Killed in the middle it has changed nothing, and may simply be started again.
"""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F

from examples.models import Employee
from ledger import PayloadMismatch, idempotent_task


@idempotent_task(ttl_hours=None, key="year")
def raise_pay(year: int, percent: Decimal) -> int:
    return Employee.objects.update(salary=F("salary") * (1 + percent / 100))


class Command(BaseCommand):
    help = "Raise everybody's pay, once a year."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("year", type=int)
        parser.add_argument("percent", type=Decimal)

    def handle(self, *, year: int, percent: Decimal, **options: Any) -> None:
        try:
            raised = raise_pay(year, percent)
        except PayloadMismatch as error:
            raise CommandError(f"{year} had another raise already: {error}") from error
        self.stdout.write(f"{year}: the pay of {raised} was raised.")
