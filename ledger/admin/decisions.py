"""What a person may decide about an execution: one class for each decision.

A decision is about what the person saw: an execution's attempt and state. It is carried out in one
transaction that has locked the row and found it still so; otherwise somebody or something else was
first, and ``LedgerError`` says what is the case now. Nothing is ever deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.db import OperationalError, connections, transaction
from django.http import HttpRequest
from kombu.utils import json

from .. import lookup, readable, store
from ..exceptions import LedgerError
from ..models import ExecutionEvent, State, TaskExecution
from . import again, primary, workers

_SEEN = re.compile(r"(\d{1,18})\.(\d{1,9})\.([a-z ]{1,30})", re.ASCII)


def state_of(execution: TaskExecution) -> str:
    """``held``, or ``held retired``."""
    return execution.state if execution.retired_at is None else f"{execution.state} retired"


@dataclass(frozen=True)
class Seen:
    """An execution as a person saw it."""

    id: int
    attempt: int
    state: str

    @classmethod
    def of(cls, execution: TaskExecution) -> Self:
        return cls(execution.pk, execution.attempt, state_of(execution))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = _SEEN.fullmatch(text)
        return found and cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.id}.{self.attempt}.{self.state}"


class Reason(forms.Form):
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Why. It is kept with your name, and is what an auditor reads.",
    )

    def choices(self) -> dict[str, Any]:
        """What was chosen besides the reason."""
        return {}


class Outcome(Reason):
    outcome = forms.ChoiceField(
        widget=forms.RadioSelect,
        choices=[
            ("completed", "It took effect. Duplicates are answered with the result below."),
            ("failed", "It took no effect. The next delivery runs it, behind its finished steps."),
            ("retired", "Let it run again from the beginning, as a new execution."),
        ],
    )
    result = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="Of an execution that took effect: what its task would have returned, as JSON. "
        "Empty: null.",
    )
    field_order = ("outcome", "result", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        text = cleaned.get("result", "").strip()
        if text and cleaned.get("outcome") not in (None, "completed"):
            self.add_error("result", "Only what took effect has a result. Leave this empty.")
        try:
            cleaned["result"] = json.loads(text) if text else None
        except Exception as error:  # of kombu's types as well, which raise what they like
            self.add_error("result", f"This is no JSON: {error}")
        return cleaned

    def choices(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("outcome", "result")}


class Decision:
    """``verb``: its name in addresses. ``label``: on its button. ``done``: in "3 released"."""

    verb: str
    label: str
    done: str
    form: type[Reason] = Reason

    @property
    def permission(self) -> str:
        return f"ledger.can_{self.verb}"

    def refusal(self, execution: TaskExecution) -> str:
        """Why this cannot be decided about the execution as it is; empty where it can."""
        raise NotImplementedError

    def effect(self, execution: TaskExecution) -> str:
        """What will happen to it."""
        raise NotImplementedError

    def carry_out(
        self, execution: TaskExecution, *, actor: str, reason: str, **choices: Any
    ) -> None:
        """Within the transaction that holds the execution's row."""
        raise NotImplementedError


class Release(Decision):
    verb, label, done = "release", "Release", "released"
    form = Outcome

    def refusal(self, execution: TaskExecution) -> str:
        return _unless(
            state_of(execution) == State.HELD, "only what is held is released", execution
        )

    def effect(self, execution: TaskExecution) -> str:
        return "It is released as you choose below."

    def carry_out(
        self, execution: TaskExecution, *, actor: str, reason: str, **choices: Any
    ) -> None:
        outcome, result = choices["outcome"], choices["result"]
        using = primary.alias(execution)
        lookup.release(
            execution.key, outcome, result=result, reason=reason, actor=actor, using=using
        )


class Clear(Decision):
    verb, label, done = "clear", "Clear", "cleared"

    def refusal(self, execution: TaskExecution) -> str:
        state = state_of(execution)
        if state == State.HELD:
            return "It is held: release it instead."
        settled = state in (State.COMPLETED, State.FAILED)
        return _unless(settled, "only what is completed or failed is cleared", execution)

    def effect(self, execution: TaskExecution) -> str:
        if execution.state == State.FAILED:
            return "It is retired. The next delivery runs it from the beginning, its steps as well."
        return (
            "It is retired. The next delivery runs it AGAIN: what it did stays done, and will be "
            "done once more."
        )

    def carry_out(
        self, execution: TaskExecution, *, actor: str, reason: str, **choices: Any
    ) -> None:
        lookup.clear(execution.key, primary.alias(execution), reason=reason, actor=actor)


class RunAgain(Decision):
    verb, label, done = "run_again", "Run again now", "published again"

    def refusal(self, execution: TaskExecution) -> str:
        state = state_of(execution)
        if state == State.COMPLETED:
            return "It is completed: a delivery would only be answered from it. Clear it first."
        if state == State.HELD:
            return "It is held: release it first."
        if state == State.RUNNING:
            return "It is running. If its worker is gone, recover it first."
        if execution.retired_at is not None and _has_successor(execution):
            return "Its key has a newer execution, which is the one to decide about."
        try:
            again.message(execution)
        except LedgerError as error:
            return str(error)
        return ""

    def effect(self, execution: TaskExecution) -> str:
        if execution.retired_at is not None:
            return "Its task is published with the same arguments. A worker runs it from the start."
        return (
            f"Its task is published with the same arguments, for attempt {execution.attempt + 1}."
        )

    def carry_out(
        self, execution: TaskExecution, *, actor: str, reason: str, **choices: Any
    ) -> None:
        task_id = again.publish(execution, again.message(execution))
        _note(execution, ExecutionEvent.Kind.PUBLISHED, actor, f"as {task_id}: {reason}")


class Recover(Decision):
    verb, label, done = "recover", "Recover", "recovered"

    def refusal(self, execution: TaskExecution) -> str:
        return _unless(
            _is_lost(execution), "only what runs without a worker is recovered", execution
        )

    def effect(self, execution: TaskExecution) -> str:
        if execution.guarantee == "at_most_once":
            return "It is held, because it may have taken effect; then it can be released."
        return "It is recorded as failed. The next delivery runs it; if none comes, run it again."

    def carry_out(
        self, execution: TaskExecution, *, actor: str, reason: str, **choices: Any
    ) -> None:
        connection = connections[primary.alias(execution)]
        if not store.abandon(connection, execution.key, execution.pk, execution.attempt, actor):
            raise LedgerError(f"{execution.key} has a worker after all. Look again.")
        _note(execution, ExecutionEvent.Kind.RECOVERED, actor, reason)


DECISIONS: dict[str, Decision] = {
    decision.verb: decision for decision in (Release(), Clear(), RunAgain(), Recover())
}


def allowed(request: HttpRequest) -> list[Decision]:
    """Those that this person may take at all."""
    return [known for known in DECISIONS.values() if request.user.has_perm(known.permission)]


def offered(request: HttpRequest, execution: TaskExecution) -> list[Decision]:
    """Those that this person may take, and that the execution is open to."""
    return [known for known in allowed(request) if not known.refusal(execution)]


def decide(decision: Decision, seen: Seen, *, actor: str, reason: str, **choices: Any) -> None:
    """Carry out a decision about an execution as it was seen. ``LedgerError`` where it is no longer
    so, or cannot be done; then nothing has changed."""
    actor, reason = readable.text(actor, 255), readable.text(reason)
    database = primary.alias()
    try:
        with transaction.atomic(using=database):
            execution = _locked(seen, database)
            if why := decision.refusal(execution):
                raise LedgerError(f"{execution.key}: {why}")
            decision.carry_out(execution, actor=actor, reason=reason, **choices)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != "55P03":  # the row is locked
            raise
        raise LedgerError(
            f"Execution {seen.id} is being worked on, or decided about, at this moment. Look again."
        ) from error


def _locked(seen: Seen, database: str) -> TaskExecution:
    rows = TaskExecution.objects.using(database).select_for_update(nowait=True)
    execution = rows.filter(pk=seen.id).first()
    if execution is None:
        raise LedgerError(f"Execution {seen.id} is gone: its retention has passed.")
    now = Seen.of(execution)
    if now != seen:
        raise LedgerError(
            f"{execution.key} has changed since you looked: it was {seen.state} in attempt "
            f"{seen.attempt}, and is {now.state} in attempt {now.attempt}. Nothing was done to it."
        )
    return execution


def _is_lost(execution: TaskExecution) -> bool:
    """As a page has found out for all its rows, or asked now."""
    known: bool | None = getattr(execution, "is_lost", None)
    return bool(workers.lost([execution])) if known is None else known


def _has_successor(execution: TaskExecution) -> bool:
    executions = TaskExecution.objects.using(primary.alias(execution))
    return executions.filter(key=execution.key, retired_at=None).exists()


def _note(execution: TaskExecution, kind: str, actor: str, reason: str) -> None:
    connection = connections[primary.alias(execution)]
    store.note(connection, execution.pk, kind, execution.attempt, actor, reason)


def _unless(possible: bool, rule: str, execution: TaskExecution) -> str:
    return "" if possible else f"It is {state_of(execution)}, and {rule}."
