"""A task can be left out of the ledger on purpose; it says why, and stays as it was."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from celery import Celery, Task, current_app, shared_task

from ledger import ImproperTask, idempotent_task, non_idempotent
from ledger.exempt import reason_of


@shared_task(bind=True, autoretry_for=(OSError,))
@non_idempotent("only reads")
def marked_below(self: Task, employee: int, month: int = 11) -> int:
    return employee + month


@non_idempotent("only reads")
@shared_task
def marked_above(employee: int) -> int:
    return employee


@shared_task
def not_marked(employee: int) -> int:
    return employee


def registered(task: Any) -> Any:
    return current_app.tasks[task.name]


@pytest.mark.parametrize("task", [marked_below, marked_above])
def test_the_reason_is_found_again(task: Any) -> None:
    assert reason_of(registered(task)) == "only reads"
    assert reason_of(registered(not_marked)) is None


def test_a_class_of_its_own_is_marked() -> None:
    app = Celery("classes", set_as_current=False)

    @non_idempotent("only writes the same again")
    class Mirror(Task):
        name = "mirror"

        def run(self) -> None: ...

    app.register_task(Mirror())
    assert reason_of(app.tasks["mirror"]) == "only writes the same again"


def test_the_task_is_as_it_was() -> None:
    def body(employee: int, *, month: int = 11) -> int:
        return employee + month

    assert non_idempotent("only reads")(body) is body
    assert list(inspect.signature(body).parameters) == ["employee", "month"]
    assert marked_below.apply((7,)).get() == 18
    assert marked_above.apply((7,)).get() == 7
    with pytest.raises(TypeError):
        marked_below.apply_async(("one", "too", "many"))


@pytest.mark.parametrize("reason", ["", "  ", None, 7, lambda: None])
def test_without_a_reason_it_is_refused(reason: Any) -> None:
    with pytest.raises(ImproperTask, match=r'write @non_idempotent\("only reads"\)'):
        non_idempotent(reason)


def test_together_with_idempotent_task_it_is_refused() -> None:
    def pay() -> None: ...

    with pytest.raises(ImproperTask, match=r"pay: it is under the ledger.*Leave one"):
        non_idempotent("only reads")(idempotent_task()(pay))
    with pytest.raises(ImproperTask, match=r"pay: it is marked non_idempotent.*Leave one"):
        idempotent_task()(non_idempotent("only reads")(pay))


def test_marking_a_task_does_not_finalize_its_app() -> None:
    """Which would be too early: handlers of ``on_after_finalize`` may come after it."""
    script = """
        from celery import Celery, shared_task
        from ledger import non_idempotent

        app = Celery("early")

        @non_idempotent("only reads")
        @shared_task
        def shared(): ...

        @non_idempotent("only reads")
        @app.task
        def own(): ...

        assert not app.finalized
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
