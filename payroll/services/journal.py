from collections.abc import Mapping
from decimal import Decimal

from payroll.models import Account, JournalEntry, JournalLine


def write_journal(entry: JournalEntry, amounts: Mapping[Account, Decimal]) -> None:
    """Write the entry and a line for each amount, debits positive, but nothing for a zero."""
    lines = [
        JournalLine(entry=entry, account=account, amount=amount)
        for account, amount in amounts.items()
        if amount
    ]
    if lines:
        entry.save()
        JournalLine.objects.bulk_create(lines)
