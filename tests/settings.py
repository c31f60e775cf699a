"""The project's settings with the tasks that the tests run on real workers."""

from core.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp"]  # noqa: F405
