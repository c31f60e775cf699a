"""What came of it: the checks, and one table."""

from .checks import Check
from .run import Outcome
from .screen import Screen
from .site import Site

COLUMNS = ("", "with the ledger", "without it")
NOTE = (
    "{published} messages were published. A delivery counts when a worker's process begins with it:"
    " with the ledger {again} were made again, {put_back} after being put back because the payslip"
    " was just being posted elsewhere, the others after a kill. An execution is a run that was"
    " committed. Killed were a process of a worker's pool, and later a whole worker."
)
LOST = (
    " What the broker lost went with the killed worker: Redis hands a message over before it notes"
    " who holds it. Another message about the same employee did its work."
)


def tell(
    screen: Screen, site: Site, checks: list[Check], ledger: Outcome, control: Outcome
) -> None:
    screen.say()
    for check in checks:
        screen.say(str(check), style="" if check.holds else "bold red")
    screen.say()
    with_it, without = ledger.numbers, control.numbers
    rows = [
        ("messages delivered", with_it.delivered, without.delivered),
        ("executions", with_it.executions, without.payslips),
        ("duplicates answered", with_it.answered, without.answered),
        ("workers killed", with_it.killed, without.killed),
        ("take-overs", with_it.taken_over, without.taken_over),
        ("payslips", with_it.payslips, without.payslips),
        ("employees posted twice", with_it.posted_twice, without.posted_twice),
        ("employees lost", with_it.lost, without.lost),
        ("messages lost by the broker", with_it.missing, without.missing),
        ("seconds", f"{ledger.seconds:.1f}", f"{control.seconds:.1f}"),
    ]
    again = with_it.delivered - with_it.published
    note = NOTE.format(published=with_it.published, again=again, put_back=with_it.put_back)
    if with_it.missing or without.missing:
        note += LOST
    screen.table(COLUMNS, rows, note)
    screen.say(f"To look closer: the databases {site.database} and {site.control} stay until the")
    screen.say(f"next demo, and the workers' logs are in {site.folder}.")
