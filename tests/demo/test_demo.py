"""The demo itself, with twelve employees: to its end, and ended in the middle."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from psycopg import sql

from core.celery import app
from payroll.demo import databases
from tests.workers import ROOT, process_environment, wait_until

SECONDS = 240  # on a machine that does much else at the same time

pytestmark = pytest.mark.timeout(2 * SECONDS)


class Demo:
    """A running ``manage.py demo``, beside this test's database and on the configured broker."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        self.known: list[psutil.Process] = []
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--employees", "12", "--seed", "1"],
                cwd=ROOT,
                env=process_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_until_said(self, text: str) -> None:
        def said() -> bool:
            assert text in self.said or self.process.poll() is None, self.said
            return text in self.said

        wait_until(said, SECONDS, f"{text!r} in {self.output}")

    @property
    def databases(self) -> list[str]:
        return re.findall(r"\S+_demo\S*", self.said.split("Databases")[1].split(",")[0])

    @property
    def queue(self) -> str:
        [queue] = re.findall(r"Queue (\S+)", self.said)
        return queue

    def family(self) -> list[psutil.Process]:
        """Every process that it has started, directly or not."""
        self.known = psutil.Process(self.process.pid).children(recursive=True)
        return self.known


@pytest.fixture
def demo(transactional_db: None, tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            os.killpg(demo.process.pid, signal.SIGKILL)
            demo.process.wait()
        for process in demo.known:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        print(demo.said)
        with databases.server() as server:
            for name in demo.databases if "Databases" in demo.said else ():
                server.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
                )


def left_on_broker(queue: str) -> list[str]:
    """What a queue of that name has left behind."""
    with app.connection() as broker:
        channel: Any = broker.default_channel
        if broker.transport.driver_type == "redis":
            client = redis.Redis(connection_pool=channel.client.connection_pool)
            return [key.decode() for key in client.scan_iter(f"*{queue}*", count=1000)]
        try:
            channel.queue_declare(queue, passive=True)
        except broker.channel_errors:
            return []
        return [queue]


def test_a_month_is_paid_once_and_every_check_holds(demo: Demo) -> None:
    assert demo.process.wait(SECONDS) == 0

    assert "✗" not in demo.said
    assert "Every check holds." in demo.said
    table = dict(re.findall(r"│ (.+?) +│ +([\d.]+ │ +[\d.]+) │", demo.said))
    numbers = {name: cells.split(" │") for name, cells in table.items()}
    assert [int(n) for n in numbers["employees posted twice"]] == [0, 12]
    assert [int(n) for n in numbers["employees lost"]] == [0, 0]
    assert [int(n) for n in numbers["workers killed"]] == [2, 2]
    assert int(numbers["payslips"][0]) == int(numbers["executions"][0]) == 12
    assert int(numbers["payslips"][1]) > 12
    assert int(numbers["take-overs"][0]) >= 2
    assert int(numbers["messages delivered"][0]) > 24
    assert left_on_broker(demo.queue) == []


def test_ctrl_c_ends_all_that_it_started_and_empties_its_queue(demo: Demo) -> None:
    demo.wait_until_said("Killed pool process")
    family = demo.family()
    assert len(family) >= 4

    demo.process.send_signal(signal.SIGINT)

    assert demo.process.wait(SECONDS) == 130
    assert "Stopped. Its workers have ended and its queue is empty." in demo.said
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert left_on_broker(demo.queue) == []


def test_its_workers_die_with_it_and_the_next_one_cleans_up(demo: Demo, tmp_path: Path) -> None:
    demo.wait_until_said("Killed pool process")
    family = demo.family()

    demo.process.kill()

    demo.process.wait()
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert left_on_broker(demo.queue)
    (tmp_path / "next").mkdir()
    following = Demo(tmp_path / "next")
    try:
        following.wait_until_said("Making the tables")
        assert following.queue == demo.queue
        assert following.databases == demo.databases
    finally:
        following.process.terminate()
        assert following.process.wait(SECONDS) == 130
    assert left_on_broker(demo.queue) == []
