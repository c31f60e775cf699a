"""The servers and workers of a run, all of them its own, and how to reach behind them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery

from core.embedded.postgresql import PostgreSQL, program
from core.embedded.valkey import Valkey
from payroll.bank.process import BankProcess
from tests.chaos.proxy import Proxy
from tests.workers import ROOT, Worker

RABBITMQ = ("127.0.0.1", 5672)
VISIBILITY_SECONDS = 4


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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = PostgreSQL(folder)
        self.valkey = Valkey(folder)
        self.bank = BankProcess(folder / "bank.jsonl")
        self.database_proxy = Proxy(self.postgres.socket_path)
        self.broker_proxies = {
            "rabbitmq": Proxy(RABBITMQ),
            "valkey": Proxy(self.valkey.socket_path),
        }
        self.pgbouncer: subprocess.Popen[bytes] | None = None
        self.pgbouncer_port = 0
        self.workers: list[Worker] = []
        self.number = 0
        self.setting: Setting | None = None
        self._admin: psycopg.Connection[Any] | None = None
        self._apps: dict[str, Celery] = {}

    # --- servers ---

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        self.valkey.start()
        self.bank.start()
        for proxy in (self.database_proxy, *self.broker_proxies.values()):
            proxy.start()
        self._migrate()

    def stop(self) -> None:
        self.end_workers()
        if self.pgbouncer:
            self.pgbouncer.kill()
            self.pgbouncer.wait()
        if self._admin:
            self._admin.close()
        self.bank.kill()
        for proxy in (self.database_proxy, *self.broker_proxies.values()):
            proxy.stop()
        self.postgres.stop()
        self.valkey.stop()
        for data in (self.postgres.folder, self.valkey.folder):
            shutil.rmtree(data, ignore_errors=True)
        self._forget_queue()

    def _forget_queue(self) -> None:
        """Leave nothing on a broker that is not the run's own."""
        if app := self._apps.get("rabbitmq"):
            with app.connection() as broker:
                channel: Any = broker.default_channel
                channel.queue_delete(self.queue)
                channel.exchange_delete(self.queue)

    def start_pgbouncer(self) -> None:
        """In transaction mode, between the workers and the proxy to the server."""
        if self.pgbouncer:
            return
        executable = find_pgbouncer()
        if executable is None:
            raise RuntimeError("PgBouncer is not installed: apt-get install pgbouncer")
        with __import__("socket").create_server(("127.0.0.1", 0)) as free:
            self.pgbouncer_port = free.getsockname()[1]
        folder = self.folder / "pgbouncer"
        folder.mkdir(exist_ok=True)
        (folder / "users.txt").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self.database_proxy.port} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.pgbouncer_port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users.txt\n"
            "pool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = 60\n"
            "ignore_startup_parameters = extra_float_digits,options\n"
            "server_login_retry = 1\nserver_check_delay = 0\n"
        )
        options: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses root, as PostgreSQL does
            import pwd

            account = pwd.getpwnam("embedded_postgres")
            options = {"user": account.pw_uid, "group": account.pw_gid}
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        with (folder / "log").open("wb") as log:
            self.pgbouncer = subprocess.Popen(
                [executable, folder / "pgbouncer.ini"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )

    def restart_postgres(self, *, kill_postmaster: bool) -> None:
        """Down without any farewell, and up again."""
        postmaster = int((self.postgres.data / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(postmaster, signal.SIGKILL if kill_postmaster else signal.SIGQUIT)
        self._admin = None
        until(lambda: not _alive(postmaster), 30, "the end of the postmaster")
        self.postgres.start()

    def restart_valkey(self) -> None:
        pid = int((self.valkey.folder / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _alive(pid), 30, "the end of Valkey")
        self.valkey.start()

    # --- looking behind ---

    @property
    def admin(self) -> psycopg.Connection[Any]:
        """Straight to the server, past every proxy."""
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(
                host=str(self.postgres.socket_folder),
                user="postgres",
                dbname="chaos",
                autocommit=True,
                application_name="chaos-admin",
            )
        return self._admin

    def sql(self, query: str, parameters: Any = None) -> list[Any]:
        cursor = self.admin.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def app(self, broker: str) -> Celery:
        """A publisher, straight to the broker, past the proxy."""
        if broker not in self._apps:
            url = (
                "amqp://guest:guest@127.0.0.1:5672//"
                if broker == "rabbitmq"
                else self.valkey.url(0)
            )
            os.environ.update(self.environment(broker, route="direct") | {"CELERY_BROKER_URL": url})
            app = Celery("chaos", set_as_current=False, fixups=[])
            app.conf.update(
                broker_url=url,
                task_default_queue=self.queue,
                task_ignore_result=True,
                task_queues=None,
                broker_transport_options=(
                    {"confirm_publish": True}
                    if broker == "rabbitmq"
                    else {"global_keyprefix": f"{self.queue}:", "visibility_timeout": 3600}
                ),
            )
            from kombu import Exchange, Queue

            app.conf.task_queues = [Queue(self.queue, Exchange(self.queue), routing_key=self.queue)]
            self._apps[broker] = app
        return self._apps[broker]

    @property
    def queue(self) -> str:
        return f"chaos-{os.getpid()}"

    # --- workers ---

    def environment(self, broker: str, route: str) -> dict[str, str]:
        port = self.pgbouncer_port if route == "pgbouncer" else self.database_proxy.port
        broker_port = self.broker_proxies[broker].port
        broker_url = (
            f"amqp://guest:guest@127.0.0.1:{broker_port}//"
            if broker == "rabbitmq"
            else f"redis://127.0.0.1:{broker_port}/0"
        )
        return {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "DATABASE_URL": f"postgres://postgres@127.0.0.1:{port}/chaos",
            "CELERY_BROKER_URL": broker_url,
            "CELERY_VISIBILITY_TIMEOUT": str(VISIBILITY_SECONDS),
            "CHAOS_QUEUE": self.queue,
            "CHAOS_BANK_URL": self.bank.url,
            "LOG_LEVEL": "WARNING",
        }

    def use(self, setting: Setting, workers: int = 2) -> None:
        """Have so many workers in this setting, and none in another."""
        if setting != self.setting:
            self.end_workers()
            self.setting = setting
            if setting.route == "pgbouncer":
                self.start_pgbouncer()
        self.workers = [worker for worker in self.workers if worker.alive]
        started = [self.start_worker() for _ in range(workers - len(self.workers))]
        for worker in started:
            worker.wait_for_log(" ready.", 60)

    def start_worker(self) -> Worker:
        assert self.setting is not None
        self.number += 1
        name = f"chaos{self.number}"
        log_path = self.folder / "workers" / f"{name}.log"
        log_path.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "celery", "-A", "core", "worker", "-n", f"{name}@%h"]
        command += ["--pool", self.setting.pool, "--concurrency", "3", "--loglevel", "INFO"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    **self.environment(self.setting.broker, self.setting.route),
                    "LOG_LEVEL": "INFO",
                },
            )
        worker = Worker(process, name, log_path)
        self.workers.append(worker)
        return worker

    def end_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    @contextmanager
    def running(self) -> Iterator["World"]:
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def _migrate(self) -> None:
        with psycopg.connect(
            host=str(self.postgres.socket_folder),
            user="postgres",
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute("drop database if exists chaos with (force)")
            connection.execute("create database chaos")
        environment = {**os.environ, **self.environment("valkey", "direct")}
        for command in (["migrate", "--run-syncdb", "-v0"],):
            subprocess.run(
                [sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True
            )


def find_pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def until(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


__all__ = ["Setting", "World", "find_pgbouncer", "program", "until"]
