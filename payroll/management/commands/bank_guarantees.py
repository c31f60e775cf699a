import fcntl
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from core.embedded import LOCAL
from ledger.testing.worker import workers
from payroll.bank_guarantees import documents, table
from payroll.bank_guarantees.faults import FAULTS
from payroll.bank_guarantees.trial import run
from payroll.management.reporting import progress_bar, quiet_ledger

README = settings.BASE_DIR / "README.md"
GUIDE = settings.BASE_DIR / "docs" / "payments.md"


class Command(BaseCommand):
    help = (
        "Pay through a real bank with both guarantees and both endpoints while banks misbehave and"
        " workers are killed, in a database of its own, and show what came of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--write", action="store_true", help=f"put the tables into {README.name} and {GUIDE}"
        )

    def handle(self, *, write: bool, verbosity: int, **options: Any) -> None:
        verdicts = {}
        with (
            own_database(),
            tempfile.TemporaryDirectory() as folder,
            (LOCAL / "bank-guarantees.log").open("w") as log,
            quiet_ledger(verbosity),
            progress_bar(verbosity) as bar,
            redirect_stdout(log),  # where the workers' log goes in the end
            workers("core.celery:app", Path(folder)) as start,
        ):
            trials = run(start, Path(folder))
            for fault, outcome in bar.track(trials, total=len(FAULTS), description="Paying"):
                verdicts[fault.name] = outcome
        self.stdout.write(table.by_fault(verdicts))
        self.stdout.write(table.by_way(verdicts))
        if write:
            documents.put(README, "bank-table", table.by_way(verdicts))
            documents.put(GUIDE, "bank-faults", table.by_fault(verdicts))
        if any("lost" in outcome.values() for outcome in verdicts.values()):
            raise CommandError(f"Payments were lost: read {LOCAL / 'bank-guarantees.log'}.")


@contextmanager
def own_database() -> Iterator[None]:
    """A new database with all tables, dropped in the end; one at a time in each checkout."""
    checkout = sha256(str(settings.BASE_DIR).encode()).hexdigest()[:8]
    name = connection.settings_dict["NAME"]
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "bank-guarantees.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection.settings_dict["TEST"]["NAME"] = f"{name}_bank_{checkout}"
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)
