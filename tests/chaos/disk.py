"""A small disk for the table of the effects, to be filled to the last byte."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

from core.embedded.postgresql import system_user

NEW_MOUNT_NAMESPACE = 0x00020000
SIZE = 64 << 20


class SmallDisk:
    """A tmpfs in a mount namespace of the run's own: it is gone when the run's processes are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.mounted = False

    def mount(self) -> None:
        """Mount it where that is permitted; whoever is started from now on sees it. To be called
        from the main thread."""
        self.folder.mkdir(exist_ok=True)
        if os.geteuid() != 0 or ctypes.CDLL(None).unshare(NEW_MOUNT_NAMESPACE) != 0:
            return
        user = system_user("embedded_postgres").pw_uid
        options = f"size={SIZE},mode=0700,uid={user}"
        private = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True)
        self.mounted = private.returncode == 0 and (
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "chaos", self.folder],
                capture_output=True,
            ).returncode
            == 0
        )

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "full").open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        (self.folder / "full").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.folder], check=True)
