from typing import Any

from celery import Task, shared_task
from django.utils import timezone

from core import dead_letters
from core.models import DeadLetter
from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_once, non_idempotent


@shared_task(bind=True, max_retries=3, name="core.tasks.process_dead_letter", **WITH_BACKOFF)
@idempotent_once(ttl_hours=None)
def process_dead_letter(self: Task, letter_id: int) -> dict[str, Any]:
    """Send the message of a dead letter again, once: failed again, it is another letter.

    Returns the new task's id, or None for one that was dismissed. Raises LookupError where there is
    no such letter.
    """
    letter = DeadLetter.objects.select_for_update().filter(pk=letter_id).first()
    if letter is None:
        raise LookupError(f"There is no dead letter {letter_id}.")
    if letter.state != DeadLetter.State.OPEN:
        return {"dead_letter": letter_id, "task_id": letter.requeued_as or None}
    sent = current_execution().enqueue(dead_letters.requeued(letter))
    letter.state = DeadLetter.State.REQUEUED
    letter.requeued_as = str(sent.id)
    letter.decided_at = timezone.now()
    letter.save(update_fields=["state", "requeued_as", "decided_at"])
    return {"dead_letter": letter_id, "task_id": letter.requeued_as}


@shared_task(name="core.tasks.process_dead_letters")
@non_idempotent("asks for each letter's own task, which is under the ledger")
def process_dead_letters() -> int:
    """Ask for the letters that another try may deliver by now, see `core.dead_letters.due`; how
    many."""
    letters = dead_letters.due()
    for letter in letters:
        process_dead_letter.delay(letter.pk)
    return len(letters)
