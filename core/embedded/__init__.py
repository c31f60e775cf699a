"""Real PostgreSQL and Valkey servers inside the checkout: nothing to install, nothing to start.

Each lives in its own folder under ``.local/``, listens on a Unix socket only, and belongs to
nobody: the first command that needs it starts it, every other shares it, and it outlives whoever
started it. How that is safe stands in ``server.py``.
"""

from collections.abc import Iterable
from pathlib import Path

from .postgresql import PostgreSQL
from .server import EmbeddedServer, EmbeddedServerError
from .valkey import Valkey

__all__ = ["LOCAL", "EmbeddedServer", "EmbeddedServerError", "PostgreSQL", "Valkey"]

LOCAL = Path(__file__).resolve().parents[2] / ".local"
SERVERS: dict[str, type[EmbeddedServer]] = {PostgreSQL.name: PostgreSQL, Valkey.name: Valkey}


def start_configured() -> None:
    """Start the servers that the settings leave to this project.

    Entry points call it (``manage.py``, WSGI, Celery, the tests); importing settings never does.
    """
    from django.conf import settings

    start(settings.EMBEDDED_SERVERS)


def start(names: Iterable[str], local: Path = LOCAL) -> None:
    """Make the named servers answer. Where they do already, that is found out in milliseconds.

    Raises:
        EmbeddedServerError: one could not be started; says which, why, and what to do.
    """
    for name in names:
        SERVERS[name](local).start()


def stop(local: Path = LOCAL) -> list[str]:
    """Stop every embedded server of the checkout; returns the names of those that ran.

    Raises:
        EmbeddedServerError: one did not end in time.
    """
    return [name for name, server in SERVERS.items() if server(local).stop()]
