"""``python -m benchmarks.scale``: pages and figures at ten million executions, with their plans."""

import argparse
import os

import django


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="executions in the database")
    parser.add_argument("--write", action="store_true", help="write the tables to performance.md")
    parser.add_argument("--rounds", type=int, default=15, help="of the comparison of first runs")
    options = parser.parse_args()
    if options.rows < 10_000:
        parser.error("--rows: the pages need some 10,000 to show anything")

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
    from core import embedded

    embedded.start_configured()
    django.setup()
    from . import build, claims, pages, report, sweeps, views

    histories = {0: "empty", options.rows // 10: "tenth", options.rows: "whole"}
    for rows, alias in histories.items():
        build.use(alias, rows)
    build.use("bare", 0, without=claims.FOR_READERS)
    named = {alias: f"{rows:,} executions" for rows, alias in histories.items()}
    report.show(
        options.rows,
        pages.measure("whole"),
        views.measure("whole"),
        sweeps.measure(named),
        claims.measure(named, options.rounds),
        write=options.write,
    )


if __name__ == "__main__":
    main()
