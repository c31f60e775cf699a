"""Log files in a folder: how they are written, and when they go."""

import datetime as dt
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class DailyLogFile(logging.FileHandler):
    """Appends to a file named after the day, such as ``2026-11-30.log``. None is ever renamed, so
    that any number of processes may write to one folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).absolute()
        super().__init__(self._todays(), encoding="utf-8", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        if self.baseFilename != (todays := self._todays()):
            self.baseFilename = todays
            if self.stream:
                self.stream.close()
                self.stream = None
        super().emit(record)

    def _open(self) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def _todays(self) -> str:
        return str(self.folder / f"{dt.date.today()}.log")


def delete_old(folder: Path, unchanged_since: dt.datetime) -> int:
    """Delete the log files, ``*.log`` and ``*.log.*``, of which nothing was written since then, and
    return how many. Subfolders are left alone.

    Raises OSError if some cannot be deleted, when all others are.
    """
    deleted = 0
    kept: list[str] = []
    for path in sorted({*folder.glob("*.log"), *folder.glob("*.log.*")}):
        try:
            if path.is_file() and path.lstat().st_mtime < unchanged_since.timestamp():
                path.unlink()
                deleted += 1
        except FileNotFoundError:
            continue  # another run was faster
        except OSError as error:
            kept.append(f"{path}: {error.strerror}")
    if kept:
        raise OSError(f"{len(kept)} old log files cannot be deleted: {'; '.join(kept)}")
    return deleted
