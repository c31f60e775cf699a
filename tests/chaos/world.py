"""The servers and workers of a run, all of them its own, and how to reach behind them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from celery import Celery
from kombu import Exchange, Queue

from core.embedded.postgresql import PostgreSQL
from core.embedded.valkey import Valkey
from payroll.bank.process import BankProcess
from tests.chaos.aftermath import see_to
from tests.chaos.disk import SmallDisk
from tests.chaos.proxy import Proxy
from tests.chaos.servers import PgBouncer, RabbitMQ
from tests.workers import ROOT, Worker, launch

VISIBILITY_SECONDS = 3


@dataclass(frozen=True)
class Setting:
    """Where an episode takes place."""

    broker: str
    """``rabbitmq`` or ``valkey``."""
    pool: str
    """``prefork`` or ``threads``."""
    route: str
    """``direct`` or ``pgbouncer``."""

    def __str__(self) -> str:
        return f"{self.broker}, {self.pool}, {self.route}"


class World:
    """Started once; workers are started anew for each setting."""

    queue = "chaos"
    """As in ``settings``; the brokers are the run's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.postgres = PostgreSQL(self.folder)
        self.valkey = Valkey(self.folder)
        self.rabbitmq = RabbitMQ(self.folder)
        self.bank = BankProcess(self.folder / "bank.jsonl")
        self.disk = SmallDisk(self.folder)
        self.database_proxy = Proxy(self.postgres.socket_path)
        self.broker_proxies = {
            "rabbitmq": Proxy(("127.0.0.1", self.rabbitmq.port)),
            "valkey": Proxy(self.valkey.socket_path),
        }
        self.workers: list[Worker] = []
        self.started = 0
        self.setting: Setting | None = None
        self._pgbouncer: PgBouncer | None = None
        self._admin: psycopg.Connection[Any] | None = None
        self._apps: dict[str, Celery] = {}
        self._aftermath: subprocess.Popen[bytes] | None = None

    # --- servers ---

    @contextmanager
    def running(self) -> Iterator["World"]:
        try:
            self._start()
            yield self
        finally:
            self._stop()

    def _start(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "workers").mkdir()
        os.environ.pop("CELERY_BROKER_URL", None)  # Celery prefers it to an app's own
        self._aftermath = see_to(self.folder)
        self.disk.mount()
        self.postgres.start()
        self.valkey.start()
        self.bank.start()
        for proxy in (self.database_proxy, *self.broker_proxies.values()):
            proxy.start()
        self._make_database()

    def _stop(self) -> None:
        self.end_workers()
        if self._pgbouncer:
            self._pgbouncer.stop()
        if self._admin:
            self._admin.close()
        self.bank.kill()
        self.disk.free()
        for proxy in (self.database_proxy, *self.broker_proxies.values()):
            proxy.stop()
        self.postgres.stop()
        self.valkey.stop()
        self.rabbitmq.stop()
        self.disk.unmount()
        if self._aftermath:
            self._aftermath.communicate()  # closes its input, and waits until all is cleared away

    def _make_database(self) -> None:
        with self._connect("postgres") as connection:
            connection.execute("create database chaos")
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--run-syncdb", "--skip-checks", "-v0"],
            cwd=ROOT,
            env={**os.environ, **self.environment(Setting("valkey", "prefork", "direct"))},
            check=True,
        )
        if self.disk.mounted:
            self.sql(f"create tablespace small location '{self.disk.folder}'")
            self.sql("alter table testapp_effect set tablespace small")
            self.sql("alter table testapp_effect set (fillfactor = 10)")  # it soon needs a page

    def restart_postgres(self, *, kill_postmaster: bool) -> None:
        """Down without any farewell, and up again."""
        pid = int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        postmaster.send_signal(signal.SIGKILL if kill_postmaster else signal.SIGQUIT)
        self._admin = None
        postmaster.wait(30)
        self.postgres.start()

    def restart_broker(self) -> None:
        """SIGKILL the broker in use, and start it again."""
        assert self.setting is not None
        if self.setting.broker == "rabbitmq":
            self.rabbitmq.kill()
            self.rabbitmq.start()
        else:
            valkey = psutil.Process(int((self.valkey.folder / "pid").read_text()))
            valkey.kill()
            valkey.wait(30)
            self.valkey.start()

    # --- looking behind ---

    def sql(self, query: str, parameters: Any = None) -> list[Any]:
        """Straight to the server, past every proxy."""
        if self._admin is None or self._admin.closed:
            self._admin = self._connect("chaos")
        cursor = self._admin.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def _connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.postgres.socket_folder),
            user="postgres",
            dbname=database,
            autocommit=True,
            application_name="chaos-admin",
        )

    def app(self, broker: str) -> Celery:
        """A publisher, straight to the broker, past the proxy."""
        if broker not in self._apps:
            app = self._apps[broker] = Celery("chaos", set_as_current=False, fixups=[])
            is_rabbitmq = broker == "rabbitmq"
            app.conf.update(
                broker_url=self.rabbitmq.url if is_rabbitmq else self.valkey.url(0),
                broker_transport_options=(
                    {"confirm_publish": True} if is_rabbitmq else {"global_keyprefix": "chaos:"}
                ),
                task_default_queue=self.queue,
                task_queues=[Queue(self.queue, Exchange(self.queue), routing_key=self.queue)],
                task_ignore_result=True,
            )
        return self._apps[broker]

    def waiting(self) -> set[str]:
        """The ids of the messages that Valkey has, those included that are with a worker."""
        client = redis.Redis(unix_socket_path=str(self.valkey.socket_path))
        try:
            kept: Any = client.lrange(f"chaos:{self.queue}", 0, -1)
            kept += client.hvals("chaos:unacked")
        finally:
            client.close()
        ids = (found for text in kept for found in re.findall(rb'"id": "([^"]*)"', text))
        return {task_id.decode() for task_id in ids}

    def messages(self, broker: str) -> int:
        """How many messages are left on a broker."""
        return self.rabbitmq.messages() if broker == "rabbitmq" else len(self.waiting())

    def has_received(self, task_id: str) -> bool:
        """Whether any worker says that it was given this message."""
        said = f"[{task_id}] received".encode()
        return any(said in log.read_bytes() for log in (self.folder / "workers").iterdir())

    # --- workers ---

    def environment(self, setting: Setting) -> dict[str, str]:
        if setting.route == "pgbouncer":
            assert self._pgbouncer is not None
            database_port = self._pgbouncer.port
        else:
            database_port = self.database_proxy.port
        broker_port = self.broker_proxies[setting.broker].port
        return {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{database_port}/chaos",
            "CELERY_BROKER_URL": (
                RabbitMQ.url_at(broker_port)
                if setting.broker == "rabbitmq"
                else f"redis://127.0.0.1:{broker_port}/0"
            ),
            "CELERY_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
            "CHAOS_BANK_URL": self.bank.url,
            "LOG_LEVEL": "INFO",
        }

    def use(self, setting: Setting, workers: int = 2) -> None:
        """Have so many workers in this setting, and none in another."""
        if setting != self.setting:
            self.end_workers()
            self.setting = setting
            if setting.broker == "rabbitmq":
                self.rabbitmq.start()
            if setting.route == "pgbouncer" and self._pgbouncer is None:
                self._pgbouncer = PgBouncer(self.folder, self.database_proxy.port)
                self._pgbouncer.start()
        self.replace_dead_workers(workers)

    def replace_dead_workers(self, workers: int = 2) -> None:
        self.workers = [worker for worker in self.workers if worker.alive]
        started = [self._start_worker() for _ in range(workers - len(self.workers))]
        for worker in started:
            worker.wait_for_log(" ready.", 60)

    def _start_worker(self) -> Worker:
        assert self.setting is not None
        self.started += 1
        worker = launch(
            f"chaos{self.started}",
            self.folder / "workers",
            self.setting.pool,
            3,
            ("--loglevel", "INFO"),
            self.environment(self.setting),
        )
        self.workers.append(worker)
        return worker

    def end_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
