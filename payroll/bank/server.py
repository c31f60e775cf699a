"""The bank's HTTP: a thread for each connection, on this machine's own address only."""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .book import Book, BookError, KeyReused
from .faults import Fault, Faults, InvalidFault, parse_fault
from .transfer import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_FORM, KEY_REUSED, InvalidTransfer, Transfer

LARGEST_BODY = 1 << 16


class Refusal(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConnectionDropped(Exception):
    """A fault: the connection ends without an answer."""


STATUSES: dict[type[Exception], HTTPStatus] = {
    InvalidFault: HTTPStatus.BAD_REQUEST,
    InvalidTransfer: HTTPStatus.UNPROCESSABLE_ENTITY,
    BookError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class BankServer(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, book: Book, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.book = book
        self.faults = Faults()

    @property
    def url(self) -> str:
        host, port = self.socket.getsockname()
        return f"http://{host}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that did not wait
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: BankServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def respond(self) -> None:
        try:
            self.body = self.read_body()
            answer = self.route()
        except ConnectionDropped:
            self.close_connection = True
            return
        except Refusal as refusal:
            answer = self.as_bytes(refusal.status, {"error": str(refusal)})
        except KeyReused as error:
            answer = self.as_bytes(
                HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error), "code": KEY_REUSED}
            )
        except tuple(STATUSES) as error:
            answer = self.as_bytes(STATUSES[type(error)], {"error": str(error)})
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = respond

    def route(self) -> bytes:
        url = urlsplit(self.path)
        match self.command, url.path:
            case "POST", "/transfers/idempotent":
                return self.transfer(self.idempotency_key())
            case "POST", "/transfers/plain":
                return self.transfer(None)
            case "GET", "/book":
                return self.show_book(parse_qs(url.query).get("reference", [None])[-1])
            case "PUT", "/faults":
                self.server.faults.replace(self.json())
                return self.as_bytes(HTTPStatus.OK, self.server.faults.as_json())
            case "GET", "/faults":
                return self.as_bytes(HTTPStatus.OK, self.server.faults.as_json())
        raise Refusal(
            HTTPStatus.NOT_FOUND,
            f"There is no {self.command} {url.path} here: POST /transfers/idempotent,"
            " POST /transfers/plain, GET /book, GET and PUT /faults.",
        )

    def idempotency_key(self) -> str:
        key = self.headers.get("Idempotency-Key", "")
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                f"The header Idempotency-Key must have {IDEMPOTENCY_KEY_FORM}, and be the same"
                " whenever this transfer is sent again.",
            )
        return key

    def transfer(self, key: str | None) -> bytes:
        transfer = Transfer.from_json(self.json())
        header = self.headers.get("Bank-Fault")
        fault = self.server.faults.draw() if header is None else parse_fault(header)
        strike(fault, "before")
        answer = self.book(transfer, key)
        if "book_twice" in fault:
            answer += self.book(transfer, key)
        if "reply_twice" in fault:
            answer += answer
        strike(fault, "after")
        return answer

    def book(self, transfer: Transfer, key: str | None) -> bytes:
        booking, before = self.server.book.book(transfer, key)
        replayed = {"Idempotency-Replayed": "true"} if before else {}
        return self.as_bytes(HTTPStatus.CREATED, booking.as_json(), replayed)

    def show_book(self, reference: str | None) -> bytes:
        bookings = self.server.book.bookings(reference)
        content = {
            "total": len(bookings),
            "counts": Counter(booking.transfer.reference for booking in bookings),
            "bookings": [booking.as_json() for booking in bookings],
        }
        return self.as_bytes(HTTPStatus.OK, content)

    def read_body(self) -> bytes:
        """Read it whatever becomes of the request: the next one follows it in the connection."""
        length = self.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in self.headers
        if chunked or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                f"Send the body whole, with a Content-Length of at most {LARGEST_BODY} bytes.",
            )
        return self.rfile.read(int(length))

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.") from error

    def as_bytes(
        self, status: HTTPStatus, content: object, headers: Mapping[str, str] | None = None
    ) -> bytes:
        body = json.dumps(content).encode()
        lines = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close" if self.close_connection else "keep-alive",
            **(headers or {}),
        }
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{head}\r\n".encode() + body

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the book is the record."""


def strike(fault: Fault, moment: str) -> None:
    """Let a fault happen that belongs before or after booking."""
    time.sleep(fault.get(f"delay_{moment}", 0))
    if f"drop_{moment}" in fault:
        raise ConnectionDropped
    if f"error_{moment}" in fault:
        raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong; ask the book.")
