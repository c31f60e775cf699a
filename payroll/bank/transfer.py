"""What is sent to a bank: the form in which client and server write a transfer."""

import re
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from string import ascii_uppercase
from typing import Self

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
IDEMPOTENCY_KEY_FORM = "1 to 255 visible ASCII characters"
KEY_REUSED = "idempotency_key_reused"


class InvalidTransfer(ValueError):
    """A field is missing, unknown or malformed; says which, and what it should be."""


@dataclass(frozen=True)
class Transfer:
    """Money for an account: a positive amount in units of an ISO 4217 currency."""

    reference: str
    amount: Decimal
    currency: str
    iban: str

    @classmethod
    def from_json(cls, given: object) -> Self:
        """Read a JSON object.

        Raises:
            InvalidTransfer: with everything that is wrong with it.
        """
        if not isinstance(given, dict):
            raise InvalidTransfer("A transfer is a JSON object.")
        names = [field.name for field in fields(cls)]
        problems = [f"{name}: is not a field of a transfer" for name in given if name not in names]
        for name in names:
            value = given.get(name)
            if not isinstance(value, str) or not FORMS[name].fullmatch(value):
                problems.append(f"{name}: must be {FORMS_IN_WORDS[name]}")
        if not problems and not Decimal(given["amount"]):
            problems.append("amount: must be more than 0")
        if not problems and not checks_out(given["iban"]):
            problems.append("iban: its check digits are wrong")
        if problems:
            raise InvalidTransfer("; ".join(problems) + ".")
        return cls(given["reference"], Decimal(given["amount"]), given["currency"], given["iban"])

    def as_json(self) -> dict[str, str]:
        return asdict(self) | {"amount": f"{self.amount:f}"}


FORMS = {
    "reference": re.compile(r"\S(.{0,138}\S)?"),
    "amount": re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?"),
    "currency": re.compile(r"[A-Z]{3}"),
    "iban": re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}"),
}
FORMS_IN_WORDS = {
    "reference": "a string of 1 to 140 characters on one line, without spaces at its ends",
    "amount": 'a decimal string with at most two decimal places, such as "1250.00"',
    "currency": "an ISO 4217 code such as EUR",
    "iban": "an IBAN without spaces, in capital letters",
}


LETTERS_AS_NUMBERS = {ord(letter): str(n) for n, letter in enumerate(ascii_uppercase, start=10)}


def checks_out(iban: str) -> bool:
    """The checksum of ISO 13616: letters count 10 to 35, and modulo 97 leaves 1."""
    return int((iban[4:] + iban[:4]).translate(LETTERS_AS_NUMBERS)) % 97 == 1
