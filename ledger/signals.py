"""Django signals at the turns of an execution. Receivers get ``call`` (``.key``, ``.delivery``) and
``attempt``; the sender is the decorated function.

``execution_started`` is sent in the run's transaction, just before the body;
``execution_completed`` after the commit (joined to an open transaction: before it); the others when
it has happened. What a receiver raises is logged by Django and changes nothing.
"""

from django.dispatch import Signal

execution_started = Signal()
execution_completed = Signal()
execution_skipped = Signal()
execution_failed = Signal()
execution_taken_over = Signal()
