"""A real SMTP server that does what mail servers do on a bad day."""

import asyncio
import socket
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """Keeps what it takes. ``bad_days`` says what becomes of the next messages, one each:

    ``refuse``  not taken, with a passing error
    ``drop``    taken, and the connection ends without an answer
    ``delay``   taken, and answered later than anybody waits

    ``unknown`` are addresses that it does not know; each one takes it ``pause`` seconds.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.bad_days: list[str] = []
        self.unknown: set[str] = set()
        self.pause = 0.0

    @property
    def subjects(self) -> list[str]:
        """Of different messages; one taken twice is the same by its Message-ID."""
        return list(
            {message["Message-ID"]: message["Subject"] for message in self.messages}.values()
        )

    def clear(self) -> None:
        self.messages.clear()
        self.bad_days.clear()
        self.unknown.clear()
        self.pause = 0.0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.pause)
        if address in self.unknown:
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        bad = self.bad_days.pop(0) if self.bad_days else ""
        if bad == "refuse":
            return "451 4.3.0 not now"
        self.messages.append(message_from_bytes(envelope.original_content or b""))
        if bad == "drop":
            transport: Any = server.transport
            transport.abort()
        if bad == "delay":
            await asyncio.sleep(5)
        return "250 OK"


def controller(mailbox: Mailbox) -> Controller:
    """A server for it on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Controller(mailbox, hostname="127.0.0.1", port=port)
