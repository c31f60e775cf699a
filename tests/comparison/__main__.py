"""``python -m tests.comparison``, in a database of its own."""

import argparse
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.comparison")
    parser.add_argument("--write", action="store_true", help="put the table into its document")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from core import embedded

    embedded.start_configured()
    django.setup()
    from django.db import connection

    from core.embedded import LOCAL
    from ledger.testing.worker import workers
    from tests.comparison import table, trials

    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"{name}_comparison"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            (LOCAL / "comparison.log").open("w") as log,
            redirect_stdout(log),  # where the workers' logs go in the end
            workers("tests.comparison.app:app", Path(folder)) as start,
        ):
            found = table.markdown(trials.run(start, Path(folder)))
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    print(found, end="")
    if options.write:
        table.write(found)


if __name__ == "__main__":
    main()
