"""The chain of seals held against itself, then against the tables.

Digests are the server's, made by functions whose text is compared with this release's; the chain is
computed here. Everything is read in one snapshot: sweeps may go on meanwhile.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from .. import installed
from .ids import Ids
from .models import Seal

TABLES = {
    Seal.Kind.EXECUTION: "ledger_taskexecution",
    Seal.Kind.EVENT: "ledger_executionevent",
    Seal.Kind.STEP: "ledger_executionstep",
}
SHA256_BYTES = 32
SEALS_AT_ONCE = 50


class Broken(NamedTuple):
    """Something that is not as it was sealed. ``what`` names it, ``how`` says in which way."""

    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what} {self.how}"


class Link(NamedTuple):
    """A seal as it stands in the table. ``text`` is what its digest covers besides the digests of
    its rows and of the seal before it."""

    id: int
    sealed_at: dt.datetime
    kind: str
    act: str
    upto: int
    ids: list[int]
    opened: list[int]
    digests: bytes
    digest: bytes
    text: str

    def __str__(self) -> str:
        return f"seal {self.id} ({self.sealed_at:%Y-%m-%d %H:%M:%S} UTC)"


_LINKS = """
    select id, sealed_at, kind, act, upto, ids, opened, digests, digest,
        format('%%s %%s %%s %%s %%s %%s %%s ', id, extract(epoch from sealed_at), kind, act, upto,
            ids::text, opened::text)
    from ledger_seal where id > %s order by id limit %s
"""

# A completed row may be retired, but only as the sealed rows tell: it had expired, or somebody's
# decision is among the events. And what a person cleared is not live again.
_RETIRED_WITHOUT_A_RECORD = """
    select id from ledger_taskexecution e
    where state = 'completed' and retired_at is not null
        and (retired_reason = 'expired' and expires_at <= retired_at) is not true
        and not exists (select from ledger_executionevent v
            where v.execution_id = e.id and v.kind in ('retired', 'released'))
    order by id
"""
_LIVE_AGAIN = """
    select distinct e.id from ledger_executionevent v join ledger_taskexecution e
        on e.id = v.execution_id
    where v.kind = 'retired' and e.retired_at is null order by e.id
"""


@dataclass
class Verification:
    """Run by iterating, once: yields what is broken, the earliest seal's first. Counts as it goes.

    ``since``: a head that was kept elsewhere (``heads.parse``); the chain must contain it.
    """

    database: str
    since: tuple[int, bytes] | None = None
    seals: int = 0
    rows: int = 0
    unsealed: int = 0
    """Executions that are not final, or were not at the last sweep."""
    purged: int = 0
    """Executions that were sealed and have been purged since."""
    purged_after: dt.timedelta = dt.timedelta.max
    """The shortest time between the two: far below the retention where somebody purged by hand."""
    head: str = ""
    _covered: dict[str, int] = field(default_factory=dict)
    _opened: set[int] = field(default_factory=set)
    _reached: list[tuple[int, dt.datetime]] = field(default_factory=list)
    _sealed_late: dict[int, dt.datetime] = field(default_factory=dict)
    _purged: dict[str, Ids] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Broken]:
        with (
            transaction.atomic(using=self.database, durable=True),
            connections[self.database].cursor() as cursor,
        ):
            cursor.execute("set transaction isolation level repeatable read, read only")
            yield from self._functions(cursor)
            self._purged = _purged(cursor)
            previous = b""
            for link in _links(cursor):
                yield from self._chain(link, previous)
                if link.act == Seal.Act.SEALED and link.kind in TABLES:
                    yield from self._rows(cursor, link)
                elif link.kind == Seal.Kind.EXECUTION:
                    self._count_purged(link)
                previous = link.digest
            yield from self._end(cursor)

    def _functions(self, cursor: CursorWrapper) -> Iterator[Broken]:
        """Who can replace the functions could make them find what they should."""
        for name in installed.differing(cursor, "evidence.sql"):
            yield Broken(
                f"function {name}()",
                "is not this release's: it was changed, or 'manage.py migrate' was not run",
            )

    def _chain(self, link: Link, previous: bytes) -> Iterator[Broken]:
        for missing in range(self.seals + 1, link.id):
            yield Broken(f"seal {missing}", "was removed from the chain")
        if sha256(previous + link.text.encode() + link.digests).digest() != link.digest:
            yield Broken(str(link), "was altered, or a seal before it was removed or inserted")
        if self.since is not None and self.since == (link.id, link.digest):
            self.since = None
        self.seals = link.id
        self.head = f"{link.id}:{link.digest.hex()}"

    def _rows(self, cursor: CursorWrapper, link: Link) -> Iterator[Broken]:
        """The rows that it sealed, and that nothing else stands between them."""
        behind = self._covered.get(link.kind, 0)
        there = _digests(cursor, link, behind)
        for position, id in enumerate(link.ids):
            start = position * SHA256_BYTES
            if id in there:
                if there.pop(id) != link.digests[start : start + SHA256_BYTES]:
                    yield _row(link, id, "was altered")
            elif id not in self._purged[link.kind]:
                yield _row(link, id, "was removed")
            if not behind < id <= link.upto:
                if link.kind == Seal.Kind.EXECUTION and id in self._opened:
                    self._opened.remove(id)
                    self._sealed_late[id] = link.sealed_at
                else:
                    yield _row(link, id, "was inserted behind an earlier seal")
        for id in sorted(there.keys() - set(link.opened)):
            yield _row(link, id, "was inserted")
        self._opened.update(link.opened)
        if link.kind == Seal.Kind.EXECUTION:
            self._reached.append((link.upto, link.sealed_at))
        self._covered[link.kind] = max(behind, link.upto)
        self.rows += len(link.ids)

    def _count_purged(self, link: Link) -> None:
        for id in link.ids:
            at = bisect_left(self._reached, id, key=itemgetter(0))
            if at < len(self._reached):
                sealed_at = self._sealed_late.pop(id, self._reached[at][1])
                self.purged += 1
                self.purged_after = min(self.purged_after, link.sealed_at - sealed_at)

    def _end(self, cursor: CursorWrapper) -> Iterator[Broken]:
        if self.since is not None:
            number, digest = self.since
            yield Broken(
                f"the head that was kept, {number}:{digest.hex()},",
                "is not in the chain: the chain was made anew, or its end was cut off",
            )
        purged = self._purged[Seal.Kind.EXECUTION]
        opened = {id for id in self._opened if id not in purged}
        self.unsealed = len(opened)
        cursor.execute(
            "select id from ledger_taskexecution where id = any(%s::bigint[])", [list(opened)]
        )
        there = {id for (id,) in cursor}
        for id in sorted(opened - there):
            yield Broken(f"execution {id}", "was removed: an earlier seal left it open")
        cursor.execute("select execution_id from ledger_unsealedexecution")
        for id in sorted(opened ^ {id for (id,) in cursor}):
            yield Broken(
                f"execution {id}", "was added to, or removed from, those that are left to seal"
            )
        for sql, how in (
            (_RETIRED_WITHOUT_A_RECORD, "is retired, but had not expired, and nobody cleared it"),
            (_LIVE_AGAIN, "is live, although it was retired"),
        ):
            cursor.execute(sql)
            for (id,) in cursor.fetchall():
                yield Broken(f"execution {id}", how)


def _links(cursor: CursorWrapper) -> Iterator[Link]:
    last = 0
    while True:
        cursor.execute(_LINKS, [last, SEALS_AT_ONCE])
        rows = cursor.fetchall()
        if not rows:
            return
        for row in rows:
            link = Link(*row)
            yield link._replace(digests=bytes(link.digests), digest=bytes(link.digest))
        last = rows[-1][0]


def _purged(cursor: CursorWrapper) -> dict[str, Ids]:
    purged: dict[str, Ids] = {kind.value: Ids() for kind in Seal.Kind}
    cursor.execute("select kind, ids from ledger_seal where act = 'purged'")
    for kind, ids in cursor:
        if kind in purged:
            purged[kind].update(ids)
    return purged


def _digests(cursor: CursorWrapper, link: Link, behind: int) -> dict[int, bytes]:
    """Those of the rows that are there now, by id."""
    table = TABLES[Seal.Kind(link.kind)]
    sql = f"""
        select id, ledger_{link.kind}_digest(e) from {table} e where id > %s and id <= %s
        union
        select id, ledger_{link.kind}_digest(e) from {table} e where id = any(%s::bigint[])
    """  # noqa: S608
    cursor.execute(sql, [behind, link.upto, link.ids])
    return {id: bytes(digest) for id, digest in cursor}


def _row(link: Link, id: int, how: str) -> Broken:
    return Broken(f"{link.kind} {id}", f"{how}; see {link}")
