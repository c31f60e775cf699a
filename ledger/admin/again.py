"""Publishing an execution's task again, from what the ledger keeps of it.

The stored arguments are for people: redacted, cut, dates as text. So a call is rebuilt from them,
named as a worker would name it, and sent only where that gives the very same key and hash.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from celery import Signature, current_app
from django.db import connections, transaction
from kombu.utils import json

from .. import keys, outbox, store
from ..exceptions import LedgerError
from ..models import TaskExecution
from ..periods import PERIOD_HEADER
from ..protection import find
from . import primary


def message(execution: TaskExecution) -> Signature[Any]:
    """The task's signature, with its arguments and period. ``LedgerError`` says why there is none,
    and what to do instead."""
    name = execution.task_name
    known = find(name)
    if known is None or name not in current_app.tasks:
        raise LedgerError(
            f"{name} is no Celery task that this process knows. Call it where it is called from."
        )
    protected, bound = known
    parameters = protected.parameters(bound=bound)
    try:
        args, kwargs = _by_position(execution.arguments, parameters.signature)
        identity = protected.identity(args, kwargs, bound=bound)
        key = keys.compose(name, identity.key_hash, execution.period)
        same = (key, identity.args_hash) == (execution.key, execution.args_hash)
        same = same and protected.database(args, kwargs) == primary.alias(execution)
    except Exception:  # of a key= or using= of the project's, given what it did not expect
        same = False
    if not same:
        raise LedgerError(
            f"The arguments of {name} cannot be had back from what is kept for people to read: "
            "something in them is redacted, cut, or not plain JSON (a date, a Decimal). Publish it "
            "from where it came from; a call with the same arguments is this execution again."
        )
    signature = current_app.tasks[name].signature(tuple(args), kwargs)
    if execution.period is not None:
        signature.set(headers={PERIOD_HEADER: execution.period})
    return signature


def publish(execution: TaskExecution, signature: Signature[Any]) -> str:
    """Send it, within the transaction that is open: as a follow-up of the execution, published
    right after the commit, or by the relay. Returns its Celery task id."""
    task_id = str(signature.freeze().id)
    database = primary.alias(execution)
    text = json.dumps(signature)
    row = store.enqueue(connections[database], execution.pk, execution.task_name, task_id, text)
    transaction.on_commit(lambda: outbox.publish(database, [row]), using=database, robust=True)
    return task_id


def _by_position(
    arguments: Mapping[str, Any], signature: inspect.Signature
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by name as a call gives them."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name not in arguments:
            continue
        value = arguments[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.extend(value)
        elif parameter.kind is parameter.VAR_KEYWORD:
            kwargs.update(value)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[name] = value
        else:
            args.append(value)
    if set(arguments) - set(signature.parameters):
        raise ValueError("the function has other parameters by now")
    return args, kwargs
