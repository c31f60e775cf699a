"""Who is told what, in a demo."""

from collections import Counter

import pytest

from payroll.demo.messages import for_employees

NUMBERS = [f"E{n:04}" for n in range(1, 251)]


def test_a_seed_makes_the_same_messages_again_and_another_others() -> None:
    assert for_employees(NUMBERS, 7) == for_employees(NUMBERS, 7)
    assert for_employees(NUMBERS, 7).all != for_employees(NUMBERS, 8).all


def test_everybody_is_told_twice_or_more_in_random_order() -> None:
    messages = for_employees(NUMBERS, 7)

    told = Counter(message.number for message in messages.all)
    assert set(told) == set(NUMBERS)
    assert set(told.values()) == {2, 3}
    order = [message.number for message in messages.all]
    assert order != sorted(order)


def test_some_duplicates_are_the_same_message_and_some_are_others() -> None:
    messages = for_employees(NUMBERS, 7)

    published = Counter(message.task_id for message in messages.all)
    ids = {n: {m.task_id for m in messages.all if m.number == n} for n in NUMBERS}
    assert max(published.values()) > 1
    assert any(len(own) == 1 for own in ids.values())
    assert any(len(own) > 1 for own in ids.values())


@pytest.mark.parametrize("employees", [2, 3, 12, 250])
def test_the_second_trap_can_be_laid_in_time(employees: int) -> None:
    """Nothing about the second victim is published before the first one is caught."""
    for seed in range(50):
        messages = for_employees(NUMBERS[:employees], seed)

        before = [message.number for message in messages.all[: messages.split]]
        assert messages.first_victim in before
        assert messages.second_victim not in before
        assert messages.all[messages.split].number == messages.second_victim
