"""What the embedded servers have in common: one server on one folder, whoever starts it.

Who runs is decided by the kernel, not by process ids in files. A starter takes an exclusive
``flock`` and hands the open file on to the server and all that it forks. While any of them lives
the lock is held, so nobody can start a second server on the folder; once the last is gone, however
it died, what it left behind is known to be stale.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

START_SECONDS = 120
STOP_SECONDS = 60
SOCKET_PATH_BYTES = 103  # what macOS allows; Linux allows 107


class EmbeddedServerError(RuntimeError):
    """A server could not be started, reached or stopped; says which, where, and what to do."""


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class EmbeddedServer(ABC):
    """One server on one folder. It holds no state: any number of processes may make their own."""

    name: ClassVar[str]
    socket_name: ClassVar[str]

    def __init__(self, local: Path) -> None:
        self.folder = local.resolve() / self.name
        self.lock_path = self.folder.with_suffix(".lock")
        self.log = self.folder / "log"

    @property
    def socket_folder(self) -> Path:
        """The server's own folder, or, where its path is too long for a socket, a short one."""
        if len(os.fsencode(self.folder / self.socket_name)) <= SOCKET_PATH_BYTES:
            return self.folder
        # Known from the path alone. Not in TMPDIR: two commands of one checkout may differ in it.
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path("/tmp") / f"embedded-{self.name}-{digest}"  # noqa: S108

    @property
    def socket_path(self) -> Path:
        return self.socket_folder / self.socket_name

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes commands now; costs milliseconds."""

    @abstractmethod
    def _launch(self, lock: int) -> None:
        """Start the server, detached and holding ``lock``, and return once it answers."""

    @abstractmethod
    def _halt(self) -> None:
        """Ask the answering server to shut down cleanly."""

    def start(self) -> None:
        """Make the server answer: start it, or wait for whoever is starting it.

        Raises:
            EmbeddedServerError: it does not start, or what holds the folder does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            with self._try_lock() as lock:
                if lock is not None:
                    if not self.answers():
                        self._launch(lock)
                    continue
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded {self.name} in {self.folder} is running but has not answered "
                    f"for {START_SECONDS} s. Read {self.log}; the processes that hold "
                    f"{self.lock_path} (`fuser -v` names them) must end before it can start again."
                )
            time.sleep(0.05)

    def stop(self) -> bool:
        """Shut the server down and wait until nothing of it is left. False where none was running.

        Raises:
            EmbeddedServerError: it did not end within 60 s.
        """
        if not self.lock_path.exists():
            return False
        deadline = time.monotonic() + STOP_SECONDS
        asked = False
        while True:
            with self._try_lock() as lock:
                if lock is not None:
                    return asked
            if not asked and self.answers():
                self._halt()
                asked = True
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded {self.name} in {self.folder} did not stop within "
                    f"{STOP_SECONDS} s. Read {self.log}; `fuser -v {self.lock_path}` shows what "
                    "is left of it."
                )
            time.sleep(0.05)

    @contextlib.contextmanager
    def _try_lock(self) -> Iterator[int | None]:
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield lock
        finally:
            os.close(lock)  # never LOCK_UN: that would take it from the server too

    def _own(self, folder: Path, uid: int, gid: int) -> None:
        """Make ``folder`` private to ``uid``; one that somebody else prepared is refused."""
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), uid}:
            raise EmbeddedServerError(
                f"{folder} belongs to somebody else (uid {found.st_uid}), so the embedded "
                f"{self.name} cannot use it. Remove it, or run as its owner."
            )
        folder.chmod(0o700)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.chown(folder, uid, gid)

    def _run(
        self,
        command: Sequence[str | Path],
        lock: int,
        *,
        given: str = "",
        user: int | None = None,
        group: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a short-lived command of the server, in a session of its own: Ctrl-C passes it by."""
        try:
            subprocess.run(
                command,
                input=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                pass_fds=(lock,),
                start_new_session=True,
                timeout=START_SECONDS,
                check=True,
                user=user,
                group=group,
                env=env,
            )
            return
        except subprocess.TimeoutExpired:
            problem = f"did not finish within {START_SECONDS} s"
        except subprocess.CalledProcessError as error:
            problem = f"ended with status {error.returncode}:\n{error.stderr.strip()}"
        logged = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        raise EmbeddedServerError(
            f"The embedded {self.name} in {self.folder} did not start: "
            f"{Path(command[0]).name} {problem}\n"
            + "\n".join([f"The end of {self.log}:", *logged[-15:]])
        )
