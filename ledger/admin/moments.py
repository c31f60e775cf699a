"""From times to ids.

Ids are drawn in the order of time, so a range of times is a range of ids, found by bisection of the
primary key. A full index on the time of a claim or an event would cost every run.
"""

from __future__ import annotations

import datetime as dt

from django.db.backends.utils import CursorWrapper

DISORDER = dt.timedelta(minutes=1)
"""How much later than its neighbour's a row's id may be drawn for the time that it carries."""

# Half of the ids are left after each round; a gap in them is stepped over by "order by id limit 1".
_FIRST_ID = """
with recursive search(low, high) as (
    select coalesce(min(id), 0), coalesce(max(id) + 1, 0) from {table}
  union all
    select case when middle.{time} < %(moment)s then middle.id + 1 else low end,
           case when middle.{time} < %(moment)s then high else (low + high) / 2 end
    from search, lateral (
        select id, {time} from {table} where id >= (low + high) / 2 order by id limit 1
    ) middle
    where low < high
)
select max(low) from search
"""


def first_id(cursor: CursorWrapper, table: str, time: str, moment: dt.datetime) -> int:
    """The first id of the table whose row carries, in the column ``time``, that moment or later."""
    cursor.execute(_FIRST_ID.format(table=table, time=time), {"moment": moment})
    return int(cursor.fetchone()[0])
