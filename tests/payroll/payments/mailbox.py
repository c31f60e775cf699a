"""A mail server that says little and keeps what it is sent."""

from email import message_from_bytes
from email.message import Message
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Self


class Mailbox(ThreadingTCPServer):
    """Takes SMTP on a port of its own while the block lasts. ``drops`` is how many of the next
    messages it takes without an answer; ``refuses`` how many connections it turns away."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.messages: list[Message] = []
        self.drops = self.refuses = 0
        self.recipients_refused: set[str] = set()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"

    def to(self, address: str) -> list[Message]:
        return [message for message in self.messages if message["To"] == address]

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()


class Session(StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        if self.server.refuses:
            self.server.refuses -= 1
            self.say("421 not now")
            return
        self.say("220 here")
        while command := self.rfile.readline().decode().strip():
            verb = command[:4].upper()
            if verb == "QUIT":
                self.say("221 bye")
                return
            if verb == "RCPT" and any(a in command for a in self.server.recipients_refused):
                self.say("550 nobody here")
            elif verb != "DATA":
                self.say("250 ok")
            elif not self.take():
                return

    def take(self) -> bool:
        """Take one message; False where it is not acknowledged."""
        self.say("354 go on")
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        self.server.messages.append(message_from_bytes(b"".join(lines)))
        if self.server.drops:
            self.server.drops -= 1
            return False
        self.say("250 taken")
        return True

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())
