"""For the tests of projects that use the ledger; also a pytest plugin, found by its entry point.

    from ledger.testing import assert_runs_once, crash_at, deliver_twice

    @pytest.mark.django_db
    def test_a_payslip_is_written_once():
        assert_runs_once(process_payroll, 7, 2026, 11, effects=Payslip.objects.count)

    @pytest.mark.django_db(transaction=True)
    def test_a_payslip_survives_its_worker(ledger_worker):
        ledger_worker()
        with crash_at("before_commit") as crash:
            result = process_payroll.delay(7, 2026, 11)
        crash.wait()
        assert result.get(timeout=30) == {"net": Decimal("2811.40")}
        assert Payslip.objects.count() == 1

    deliveries   ``deliver_twice`` and ``assert_runs_once``: one message, two deliveries, in this
                 process, through Celery's own request and tracer; no broker, no worker
    crashes      ``crash_at``: what is published in its block kills the process that runs it
    worker       the fixture ``ledger_worker``: real workers on the test's database and a queue of
                 their own; ``crashing`` is what they load to die where they were told to
    clock        the fixture ``ledger_clock``: the database's clock, the ledger's only one, moved
    plugin       these fixtures, and the end of the run locks' connections after each test, without
                 which Django could not drop the test database

Nothing here is imported by the ledger itself, and nothing but ``plugin`` needs pytest.
"""

from .clock import Clock
from .crashes import Crash, crash_at
from .deliveries import assert_runs_once, deliver_twice
from .worker import Worker

__all__ = ["Clock", "Crash", "Worker", "assert_runs_once", "crash_at", "deliver_twice"]
