"""Print what docs/reporting.md should say; ``--write`` puts it there."""

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from core import embedded

    embedded.start_configured()
    django.setup()
    from django.db import connection

    from tests.reporting.document import DOCUMENT, with_answers
    from tests.reporting.month import november

    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"test_{name}_reporting"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        with november():
            text = with_answers(DOCUMENT.read_text())
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(text)
    else:
        print(text)
