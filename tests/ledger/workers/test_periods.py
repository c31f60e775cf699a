"""A run belongs to the day or hour it was published for, whenever it really runs."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Task, chain, chord, group
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from core.celery import app
from ledger.models import TaskExecution
from ledger.periods import current
from tests.ledger.workers.site import Gate, Site, effects
from tests.testapp.protected import bound, daily, daily_retried, daily_total, hourly
from tests.workers import wait_until

LONG_AGO = "2024-02-29"
FOR_LONG_AGO = {"ledger_period": LONG_AGO}


def today() -> str:
    return current("day").label


def test_a_message_is_pinned_to_the_day_it_is_published(each_site: Site, key: str) -> None:
    each_site.worker()

    answer = each_site.publish(daily, key).get(timeout=30)

    assert answer["period"] == today()
    assert periods(daily, key) == [today()]


def test_an_explicit_header_backfills_another_day(each_site: Site, key: str) -> None:
    each_site.worker()
    each_site.publish(daily, key).get(timeout=30)

    backfilled = each_site.publish(daily, key, headers=FOR_LONG_AGO).get(timeout=30)

    assert (backfilled["attempt"], backfilled["period"]) == (1, "2024-02-29")
    assert each_site.publish(daily, key, headers=FOR_LONG_AGO).get(timeout=30) == backfilled
    assert periods(daily, key) == [LONG_AGO, today()]
    assert effects(key) == ["attempt 1", "attempt 1"]


def test_a_retry_stays_the_run_of_its_day(each_site: Site, key: str) -> None:
    each_site.worker()
    failures = [{"at": "body", "do": "fail", "attempts": [1, 2]}]

    answer = each_site.publish(daily_retried, key, faults=failures, headers=FOR_LONG_AGO).get(
        timeout=30
    )

    assert (answer["attempt"], answer["retries"], answer["period"]) == (3, 2, "2024-02-29")
    assert periods(daily_retried, key) == [LONG_AGO]


def test_a_copy_that_was_put_back_stays_the_run_of_its_day(
    each_site: Site, key: str, gate: Gate
) -> None:
    worker = each_site.worker()
    failing = [gate.fault(), {"at": "body", "do": "fail"}]
    each_site.publish(daily, key, faults=failing, headers=FOR_LONG_AGO)
    gate.wait_until_reached()
    duplicate = each_site.publish(daily, key, headers=FOR_LONG_AGO)
    worker.wait_for_log(f"[{duplicate.id}] retry")
    gate.open()

    answer = duplicate.get(timeout=30)
    assert (answer["attempt"], answer["period"]) == (2, "2024-02-29")
    assert answer["copies"] >= 1
    assert periods(daily, key) == [LONG_AGO]


def test_a_redelivery_stays_the_run_of_its_day(site: Site, key: str) -> None:
    site.worker()
    dying = [{"at": "body", "do": "kill_child"}]

    answer = site.publish(daily, key, faults=dying, headers=FOR_LONG_AGO).get(timeout=30)

    assert (answer["attempt"], answer["period"]) == (2, "2024-02-29")
    assert periods(daily, key) == [LONG_AGO]


def test_a_run_belongs_to_its_hour_though_its_worker_dies(site: Site, key: str) -> None:
    dying = [{"at": "body", "do": "kill_child"}]
    before = current("hour").label
    waiting = site.publish(hourly, key, faults=dying)
    after = current("hour").label
    site.worker()

    answer = waiting.get(timeout=30)
    header = {"ledger_period": "2024-10-27T02+01:00"}
    backfilled = site.publish(hourly, key, headers=header).get(timeout=30)

    assert answer["attempt"] == 2
    assert periods(hourly, key)[0] == "2024-10-27T02+01:00"
    assert periods(hourly, key)[1] in (before, after)
    assert backfilled["period"] == "2024-10-27T02:00:00+01:00"


def test_a_message_sent_by_name_is_pinned(each_site: Site, key: str) -> None:
    each_site.worker()

    app.send_task(daily.name, [key], connection=each_site.connection)

    wait_until(lambda: effects(key))
    assert periods(daily, key) == [today()]


def test_a_message_of_beat_is_pinned(site: Site, key: str) -> None:
    site.worker()
    scheduler = Scheduler(app, lazy=True)
    entry = ScheduleEntry("daily", daily.name, args=(key,), schedule=schedule(1), app=app)

    scheduler.apply_async(entry, advance=False).get(timeout=30)

    assert periods(daily, key) == [today()]


def test_the_links_of_a_chain_belong_to_the_day_of_the_chain(each_site: Site, key: str) -> None:
    """They are published by workers, one after the other: perhaps on the next day."""
    each_site.worker()
    links = chain(daily.si(f"{key} 1"), bound.si(key), daily.si(f"{key} 2"), daily.si(f"{key} 3"))

    links.apply_async(connection=each_site.connection, headers=FOR_LONG_AGO).get(timeout=30)

    for number in (1, 2, 3):
        assert periods(daily, f"{key} {number}") == [LONG_AGO]


def test_a_canvas_published_again_belongs_to_the_day_of_each_time(site: Site, key: str) -> None:
    site.worker()
    links = chain(daily.si(f"{key} 1"), daily.si(f"{key} 2"))
    callback = daily.si(f"{key} 3")

    links.apply_async(headers=FOR_LONG_AGO, link=callback)
    links.apply_async(link=callback)

    wait_until(lambda: len(effects(f"{key} 3")) == 2)
    for number in (1, 2, 3):
        assert periods(daily, f"{key} {number}") == [LONG_AGO, today()]


def test_the_members_and_the_body_of_a_chord_belong_to_the_day_of_the_chord(
    site: Site, key: str
) -> None:
    site.worker()
    whole = chord([daily.si(f"{key} {number}") for number in (1, 2)], daily_total.s(key))

    whole.apply_async(headers=FOR_LONG_AGO).get(timeout=30)

    assert periods(daily, f"{key} 1") == periods(daily, f"{key} 2") == [LONG_AGO]
    assert periods(daily_total, key) == [LONG_AGO]


def test_a_group_within_a_chain_belongs_to_the_day_of_the_chain(site: Site, key: str) -> None:
    site.worker()
    members = group(daily.si(f"{key} {number}") for number in (2, 3))
    links = chain(daily.si(f"{key} 1"), members, daily_total.s(key), daily.si(f"{key} 4"))

    links.apply_async(headers=FOR_LONG_AGO).get(timeout=30)

    for number in (1, 2, 3, 4):
        assert periods(daily, f"{key} {number}") == [LONG_AGO]
    assert periods(daily_total, key) == [LONG_AGO]


def test_callbacks_belong_to_the_day_of_their_task(site: Site, key: str) -> None:
    site.worker()
    links: dict[str, Any] = {
        "link": daily.si(f"{key} done"),
        "link_error": daily.si(f"{key} failed"),
    }

    site.publish(daily, key, headers=FOR_LONG_AGO, **links)
    failing = [{"at": "body", "do": "fail"}]
    site.publish(daily, f"{key} failing", faults=failing, headers=FOR_LONG_AGO, **links)

    wait_until(lambda: effects(f"{key} done") and effects(f"{key} failed"))
    assert periods(daily, f"{key} done") == periods(daily, f"{key} failed") == [LONG_AGO]


def test_a_malformed_period_is_a_clear_error(site: Site, key: str) -> None:
    site.worker()

    result = site.publish(daily, key, headers={"ledger_period": "29.02.2024"})

    with pytest.raises(
        Exception, match=r"message header 'ledger_period' is '29\.02\.2024'"
    ) as error:
        result.get(timeout=30)
    assert type(error.value).__name__ == "UnusableArgument"
    assert effects(key) == []


def periods(task: Task, key: str) -> list[str | None]:
    """The periods of all executions with this argument, oldest first."""
    found = TaskExecution.objects.filter(task_name=task.name, arguments__key=key)
    return list(found.order_by("period").values_list("period", flat=True))
