"""Chains, groups and chords go on with stored results, whichever of their messages come twice."""

from __future__ import annotations

from typing import Any

from celery import chain, chord, group

from tests.ledger.workers.site import Gate, Site, effects, events
from tests.testapp.protected import add, total
from tests.workers import wait_until


def test_a_chain_goes_on_after_a_link_that_had_to_wait(
    each_site: Site, key: str, gate: Gate
) -> None:
    worker = each_site.worker()
    other = each_site.publish(add, 1, 2, key, faults=[gate.fault()])
    gate.wait_until_reached()

    links = chain(add.s(1, 2, key), add.s(4, key), add.s(10, key))
    last = links.apply_async(connection=each_site.connection)
    worker.wait_for_log(f"[{last.parent.parent.id}] retry")
    gate.open()

    assert other.get(timeout=30) == 3
    assert last.get(timeout=30) == 17
    assert effects(key) == ["1 + 2", "3 + 4", "7 + 10"]


def test_a_duplicate_of_a_completed_link_hands_its_stored_result_on(
    each_site: Site, key: str
) -> None:
    each_site.worker()
    assert each_site.publish(add, 1, 2, key).get(timeout=30) == 3

    links = chain(add.s(1, 2, key), add.s(10, key), add.s(100, key))

    assert links.apply_async(connection=each_site.connection).get(timeout=30) == 113
    assert effects(key) == ["1 + 2", "3 + 10", "13 + 100"]
    assert events(add, 1, 2, key) == [("skipped", 1)]


def test_a_whole_chain_published_twice_has_the_effects_of_one(site: Site, key: str) -> None:
    site.worker()
    links = chain(add.s(1, 2, key), add.s(10, key), add.s(100, key))

    results = [links.apply_async() for _ in range(3)]

    assert [result.get(timeout=30) for result in results] == [113] * 3
    assert effects(key) == ["1 + 2", "3 + 10", "13 + 100"]


def test_a_chord_completes_with_members_that_are_duplicates_or_had_to_wait(
    site: Site, key: str, gate: Gate
) -> None:
    """One member was completed before, one is running elsewhere, two are the same call."""
    worker = site.worker()
    assert site.publish(add, 0, 1, key).get(timeout=30) == 1
    other = site.publish(add, 0, 2, key, faults=[gate.fault()])
    gate.wait_until_reached()

    members = [add.s(0, 1, key), add.s(0, 2, key), add.s(0, 3, key), add.s(0, 3, key)]
    whole = chord(members, total.s(key)).apply_async()
    worker.wait_for_log(f"[{whole.parent.results[1].id}] retry")
    gate.open()

    assert whole.get(timeout=30) == 9
    assert other.get(timeout=30) == 2
    assert sorted(effects(key)) == ["0 + 1", "0 + 2", "0 + 3", "sum of [1, 2, 3, 3]"]


def test_a_group_published_twice_answers_both(site: Site, key: str) -> None:
    site.worker()
    members = group(add.s(n, n, key) for n in range(5))

    first, second = members.apply_async(), members.apply_async()

    assert first.get(timeout=30) == second.get(timeout=30) == [0, 2, 4, 6, 8]
    assert sorted(effects(key)) == [f"{n} + {n}" for n in range(5)]


def test_a_chord_with_a_member_killed_in_its_body_completes_once(site: Site, key: str) -> None:
    site.worker()
    asking: dict[str, Any] = {"faults": [{"at": "body", "do": "kill_child"}]}
    dying = add.s(0, 2, key).set(headers=asking)

    whole = chord([add.s(0, 1, key), dying], total.s(key)).apply_async()

    assert whole.get(timeout=30) == 3
    wait_until(lambda: len(effects(key)) == 3)
    assert sorted(effects(key)) == ["0 + 1", "0 + 2", "sum of [1, 2]"]
    assert events(add, 0, 2, key) == [("abandoned", 1), ("taken_over", 2)]
