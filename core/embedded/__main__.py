"""``python -m core.embedded`` stops the servers of this checkout."""

from . import stop
from .server import say

stopped = stop()
say(f"Stopped {' and '.join(stopped)}." if stopped else "No embedded server was running.")
