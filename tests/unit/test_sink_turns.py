"""Whose turn it is among planned actions: room, order, owners, and what may come later."""

from __future__ import annotations

import dataclasses
from collections import Counter

from bidplane_streams.sinks import turns


@dataclasses.dataclass(frozen=True)
class Step:
    """An action that says whose it is, and whether it may wait."""

    key: str
    owner: str = ""
    later: bool = False
    aside: bool = False


def steps(count: int, word: str, **more: object) -> list[Step]:
    """So many of a kind."""
    return [Step(f"{word}{number}", **more) for number in range(count)]  # type: ignore[arg-type]


def started(line: turns.Turns) -> list[Step]:
    """Everything that there is room for now."""
    found = []
    while (one := line.take()) is not None:
        assert isinstance(one, Step)
        found.append(one)
    return found


def test_actions_start_in_the_order_of_the_plan_while_there_is_room() -> None:
    """So many at once, then one for each that is done."""
    line = turns.Turns()
    line.put(steps(turns.AT_ONCE + 2, "a"))
    first = started(line)
    assert [one.key for one in first] == [f"a{number}" for number in range(turns.AT_ONCE)]
    line.done(first[3])
    assert [one.key for one in started(line)] == [f"a{turns.AT_ONCE}"]


def test_a_new_plan_replaces_what_waits_and_nothing_that_runs() -> None:
    """What the newest plan does not want never starts, and what runs keeps its room."""
    line = turns.Turns()
    line.put(steps(turns.AT_ONCE + 5, "old"))
    running = started(line)
    line.put(steps(1, "new"))
    assert not started(line)
    line.done(running[0])
    assert [one.key for one in started(line)] == ["new0"]


def test_an_owner_with_much_work_waits_behind_itself() -> None:
    """Each owner has a few at once, whoever came first."""
    line = turns.Turns()
    line.put([*steps(1000, "much", owner="hostile"), *steps(2, "little", owner="quiet")])
    found = Counter(one.owner for one in started(line))
    assert found == {"hostile": turns.AT_ONCE_EACH, "quiet": 2}


def test_endings_and_bindings_leave_each_other_room() -> None:
    """Bindings come first, but some room is kept for endings, and all of it where one is alone."""
    line = turns.Turns()
    both = [*steps(100, "end", later=True), *steps(100, "bind")]
    line.put(both)
    found = started(line)
    assert sum(one.later for one in found) == turns.AT_ONCE_LATER
    assert len(found) == turns.AT_ONCE
    for one in found:
        line.done(one)
    line.put(steps(100, "end", later=True))
    endings = started(line)
    assert len(endings) == turns.AT_ONCE
    line.put(both)
    for one in endings[: turns.AT_ONCE - turns.AT_ONCE_LATER]:
        line.done(one)
    assert not any(one.later for one in started(line))


def test_what_costs_the_server_nothing_takes_nobodys_room() -> None:
    """Reports go out while every other place is taken."""
    line = turns.Turns()
    line.put(steps(turns.AT_ONCE, "bind"))
    started(line)
    line.put(steps(3, "report", aside=True))
    assert len(started(line)) == 3
