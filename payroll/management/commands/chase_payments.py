from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from payroll.chasing import chase_payments
from payroll.management.reporting import write_table
from payroll.tasks import financial_transaction

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Settle the payments that somebody released, send again those that failed, and list those"
        " that are held for somebody to ask the bank. Beat does the same every minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--unasked",
            action="store_true",
            help="also send the pending payments that nobody has asked for",
        )

    def handle(self, *, unasked: bool, **options: Any) -> None:
        found = chase_payments(financial_transaction, unasked=unasked)
        rows = [(outcome, len(payments)) for outcome, payments in found.items()]
        write_table(self.stdout, ("open payments", "number"), rows)
        for payment in found["held"][:SHOWN]:
            self.stdout.write(
                f"{payment}, {payment.amount} {payment.currency}, is held: ask the bank for the"
                f" reference payment-{payment.pk}, then release it as docs/payments.md says."
            )
        if len(found["held"]) > SHOWN:
            self.stdout.write(f"And {len(found['held']) - SHOWN} more are held.")
