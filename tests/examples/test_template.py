"""The template's own tests, run here so that what people copy is true."""

import pytest

pytest.register_assert_rewrite("examples.template.test_tasks")

from examples.template.test_tasks import *  # noqa: E402, F403
