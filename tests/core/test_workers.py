"""The worker fixture does what the tests that stand on it believe."""

import pytest

from tests.testapp.models import Effect
from tests.testapp.tasks import block_once, write_effect
from tests.workers import Workers, wait_until


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_runs_in_another_process_on_the_tests_database(workers: Workers, pool: str) -> None:
    worker = workers.start(concurrency=2, pool=pool)

    write_effect.delay("written").get(timeout=20)

    pid = int(Effect.objects.get(key="written").note)
    assert pid in (worker.children if pool == "prefork" else [worker.pid])


def test_a_killed_pool_process_gives_its_message_back(workers: Workers) -> None:
    worker = workers.start()
    result = block_once.delay("child")
    wait_until(Effect.objects.filter(key="child", note="started").exists)

    killed = worker.kill_child()

    assert result.get(timeout=20) == "finished"
    assert killed not in worker.children
    assert worker.alive


def test_a_killed_worker_gives_its_message_to_another(workers: Workers) -> None:
    first = workers.start(visibility_timeout=1)
    result = block_once.delay("whole")
    wait_until(Effect.objects.filter(key="whole", note="started").exists)

    first.kill()

    assert first.group == []
    workers.start(visibility_timeout=1)
    assert result.get(timeout=20) == "finished"


def test_a_warm_shutdown_ends_a_worker_cleanly(workers: Workers) -> None:
    assert workers.start().terminate() == 0


def test_the_next_test_finds_no_process_no_session_and_no_message(workers: Workers) -> None:
    worker = workers.start(concurrency=2)
    block_once.delay("left behind")
    wait_until(Effect.objects.filter(key="left behind").exists)
    worker.kill_main()
    write_effect.delay("never taken")

    workers.end()

    assert worker.group == []
    workers.start(visibility_timeout=1)
    write_effect.delay("later").get(timeout=20)
    assert list(Effect.objects.values_list("key", flat=True)) == ["left behind", "later"]
