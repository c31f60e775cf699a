"""``python -m benchmarks``: the ledger measured against plain Django and a cache decorator."""

import argparse
import json
import logging
import os
from pathlib import Path

import django
from rich.console import Console
from rich.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=200, help="calls of each case in a round")
    parser.add_argument("--json", type=Path, default=Path(".local/benchmarks.json"))
    options = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
    from core import embedded

    embedded.start_configured()
    django.setup()
    logging.getLogger().handlers = [logging.NullHandler()]  # everybody logs, nobody prints
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        _run(options)
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def _run(options: argparse.Namespace) -> None:
    from django.db import connection

    from . import cases
    from .measure import measure

    with connection.schema_editor() as schema:
        schema.create_model(cases.Effect)
    comparisons = []
    for group, calls in ((cases.one_insert, options.calls), (cases.payslip, options.calls // 4)):
        compared = group()
        distinct = {c.name: c for x in compared for c in (x.case, x.baseline)}
        measure(list(distinct.values()), options.rounds, calls, cases.forget)
        comparisons += compared

    table = Table(title=f"{options.rounds} interleaved rounds of {options.calls} calls, medians")
    for heading in ("", "ratio", "target", "µs", "µs of the other"):
        table.add_column(heading, justify="left" if not heading else "right")
    report = []
    for x in comparisons:
        met = x.ratio <= x.target
        target = "" if x.target == float("inf") else f"≤ {x.target:.2f} {'✓' if met else '✗'}"
        table.add_row(
            x.title, f"{x.ratio:.2f}", target, f"{x.case.median:.0f}", f"{x.baseline.median:.0f}"
        )
        report.append({"title": x.title, "ratio": x.ratio, "target": target, "met": met})
    Console().print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"comparisons": report}, indent=2))
    Console().print(f"Written to {options.json}")


if __name__ == "__main__":
    main()
