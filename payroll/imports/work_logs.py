from collections.abc import Sequence
from datetime import datetime

from payroll.models import Employee, WorkLog
from payroll.models.work_log import LONGEST_LOG

from . import cells as cell
from .csv_file import BadRow
from .run import Outcome

Key = tuple[int, datetime]


class WorkLogImport:
    model = WorkLog
    columns = ("employee_number", "check_in", "check_out", "time_zone")

    def __init__(self) -> None:
        self.employees = dict(Employee.objects.values_list("number", "id"))

    def write(self, rows: Sequence[dict[str, str]]) -> list[Outcome | BadRow]:
        parsed = [self._parse(row) for row in rows]
        logs = [log for log in parsed if isinstance(log, WorkLog)]
        known = self._known(logs)
        outcomes = [log if isinstance(log, BadRow) else self._place(log, known) for log in parsed]
        WorkLog.objects.bulk_create(log for log in known.values() if log.pk is None)
        completed = [
            known[log.employee_id, log.check_in]
            for log, outcome in zip(parsed, outcomes, strict=True)
            if isinstance(log, WorkLog) and outcome == "changed"
        ]
        WorkLog.objects.bulk_update(completed, ["check_out"])
        return outcomes

    def _parse(self, row: dict[str, str]) -> WorkLog | BadRow:
        try:
            number = cell.text(row, "employee_number")
            if number not in self.employees:
                raise BadRow(f"employee_number {number!r} is not known: import the employee first")
            zone = cell.zone(row, "time_zone")
            check_in = cell.moment(row, "check_in", zone)
            check_out = cell.optional_moment(row, "check_out", zone)
            if check_out is not None and check_out <= check_in:
                raise BadRow(
                    f"check_out {row['check_out']} is not after check_in {row['check_in']}"
                )
            if check_out is not None and check_out - check_in > LONGEST_LOG:
                raise BadRow(
                    f"check_out {row['check_out']} is more than 24 hours after check_in"
                    f" {row['check_in']}: a check-out was probably forgotten"
                )
        except BadRow as reason:
            return reason
        return WorkLog(
            employee_id=self.employees[number],
            check_in=check_in,
            check_out=check_out,
            time_zone=zone.key,
        )

    def _known(self, logs: Sequence[WorkLog]) -> dict[Key, WorkLog]:
        stored = WorkLog.objects.filter(
            employee_id__in={log.employee_id for log in logs},
            check_in__in={log.check_in for log in logs},
        )
        return {(log.employee_id, log.check_in): log for log in stored}

    def _place(self, log: WorkLog, known: dict[Key, WorkLog]) -> Outcome | BadRow:
        """Add the log to what is known, or complete the one that is."""
        there = known.setdefault((log.employee_id, log.check_in), log)
        if there is log:
            return "added"
        if there.check_out == log.check_out or log.check_out is None:
            return "unchanged"
        if there.check_out is None:
            there.check_out = log.check_out
            return "changed"
        return BadRow(
            f"a log from {log.check_in:%Y-%m-%dT%H:%M%z} is there and ends at"
            f" {there.check_out:%Y-%m-%dT%H:%M%z}, not at {log.check_out:%Y-%m-%dT%H:%M%z}:"
            " correct the log in the admin"
        )
