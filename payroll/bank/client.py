"""Send money to a bank, and know what is known of it afterwards.

    bank = BankClient("http://127.0.0.1:8090", timeout=10)
    receipt = bank.transfer("pay-17", Decimal("1250.00"), "EUR", iban, idempotency_key=key)

A transfer is one request on a connection of its own, and is never repeated here: whether it may be
is for the caller to decide. With its own connection nothing is left in it of an earlier answer, it
cannot have gone stale, and no fork shares it.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from http.client import HTTPException

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from .transfer import IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_FORM, KEY_REUSED, Transfer


class BankError(Exception):
    """A transfer has no receipt. Which of the classes below says whether money moved."""


class NotBooked(BankError):
    """This request has booked nothing, and never will: sending another cannot double it."""


class BankRefused(NotBooked):
    """The bank answered 4xx, and would do so again."""


class TransferInvalid(BankRefused):
    """It was 422: no bank books such a transfer, whatever the key, so it must be mended."""


class BankUnreachable(NotBooked):
    """No connection came about, so nothing was sent."""


class BankOutcomeUnknown(BankError):
    """It was sent, and no answer says what became of it: booked, not booked, or booked later."""


@dataclass(frozen=True)
class Receipt:
    """A booking as the bank confirmed it.

    ``number`` is the bank's, ``booked_at`` its clock in UTC. ``replayed`` is true where an earlier
    request with the same idempotency key had booked it.
    """

    number: int
    booked_at: datetime
    reference: str
    amount: Decimal
    currency: str
    iban: str
    replayed: bool


@dataclass(frozen=True)
class BankClient:
    """A bank at ``base_url``, http or https. May be used from any thread and after a fork.

    ``timeout`` is in seconds, for the connection and again for each part of the answer.
    """

    base_url: str
    timeout: float = 10

    def __post_init__(self) -> None:
        read_url(self.base_url)

    def transfer(
        self,
        reference: str,
        amount: Decimal,
        currency: str,
        iban: str,
        *,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Send a transfer once: with a key, the bank books it once however often it is sent.

        Args:
            reference: what both sides call it, 1 to 140 characters.
            amount: positive, with at most two decimal places.
            currency: ISO 4217.
            iban: the receiver's, without spaces.
            idempotency_key: of this transfer alone, the same each time it is sent.

        Raises:
            BankRefused: the bank answered 4xx; this request has booked nothing.
            BankUnreachable: there was no connection; nothing was booked.
            BankOutcomeUnknown: it timed out, the connection broke, the answer does not say, or the
                bank knows another transfer by this key.
            TypeError: the amount is no Decimal; nothing was sent.
            ValueError: the key cannot be sent; nothing was.
        """
        if not isinstance(amount, Decimal):
            raise TypeError(f"The amount of {reference} must be a Decimal, not {amount!r}.")
        if idempotency_key is not None and not IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise ValueError(
                f"The idempotency key of {reference} must have {IDEMPOTENCY_KEY_FORM},"
                f" not {idempotency_key!r}."
            )
        transfer = Transfer(reference, amount, currency, iban)
        answer = self._post(transfer, idempotency_key)
        if was_used_for_another(answer):
            raise BankOutcomeUnknown(
                f"The bank knows another transfer by the key of {reference}, perhaps this one to an"
                f" account of before: ask the bank for {reference}. {in_words(answer)}"
            )
        if 400 <= answer.status < 500:
            kind = TransferInvalid if answer.status == 422 else BankRefused
            raise kind(f"The bank refused {reference} and booked nothing: {in_words(answer)}")
        try:
            return read_receipt(answer, transfer)
        except (ValueError, LookupError, TypeError) as error:
            raise BankOutcomeUnknown(
                f"The bank's answer does not say whether {reference} was booked"
                f" ({error}): {in_words(answer)} {ADVICE}"
            ) from error

    def _post(self, transfer: Transfer, key: str | None) -> BaseHTTPResponse:
        path = "/transfers/plain" if key is None else "/transfers/idempotent"
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = read_url(self.base_url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        connection = kind((url.host or "").strip("[]"), url.port, timeout=self.timeout)
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            connection.close()
            raise BankUnreachable(
                f"The bank at {self.base_url} was not reached, so {transfer.reference} was not"
                f" sent ({error}). Send it again once the bank is back."
            ) from error
        try:
            body = json.dumps(transfer.as_json()).encode()
            connection.request("POST", (url.path or "").rstrip("/") + path, body, headers)
            return connection.getresponse()
        except (HTTPError, HTTPException, OSError) as error:
            raise BankOutcomeUnknown(
                f"{transfer.reference} was sent to the bank and not answered ({error!r}). {ADVICE}"
            ) from error
        finally:
            connection.close()


ADVICE = "Send it again with the same idempotency key, or, without one, ask the bank first."


def read_url(text: str) -> Url:
    try:
        url = parse_url(text)
    except LocationParseError:
        url = Url()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(
            f"{text!r} is not the URL of a bank: give one such as http://127.0.0.1:8090."
        )
    return url


def in_words(answer: BaseHTTPResponse) -> str:
    return f"{answer.status} {answer.data.decode(errors='replace')[:500]}"


def was_used_for_another(answer: BaseHTTPResponse) -> bool:
    """Whether the bank refuses the idempotency key, and not the transfer: both are a 422."""
    try:
        return answer.status == 422 and json.loads(answer.data).get("code") == KEY_REUSED
    except (ValueError, AttributeError):
        return False


def read_receipt(answer: BaseHTTPResponse, sent: Transfer) -> Receipt:
    """Read a 201. Raises ValueError, LookupError or TypeError where it does not confirm `sent`."""
    if answer.status != 201:
        raise ValueError("the status is not 201")
    booking = json.loads(answer.data)
    confirmed = Transfer.from_json({name: booking[name] for name in sent.as_json()})
    if confirmed != sent:
        raise ValueError("it confirms another transfer")
    return Receipt(
        number=int(booking["number"]),
        booked_at=datetime.fromisoformat(booking["booked_at"]),
        replayed=answer.headers.get("Idempotency-Replayed") == "true",
        **asdict(confirmed),
    )
