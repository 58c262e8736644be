"""The read models of a worker, wired to what they read.

Decides which topics are followed how far back, and at which address each model answers. Refuses to
know their shapes: each model documents its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bidplane_streams.lanes import follower
from bidplane_streams.lanes.conf import LaneConf
from bidplane_streams.lanes.lane import Lane
from bidplane_streams.processors import (
    budgets,
    buried,
    live_leases,
    market_board,
    pages,
    recent,
    usage_windows,
)
from bidplane_topics import registry

# A tail's offsets count transaction markers too.
_USAGE_BACK: Final = 2 * usage_windows.KEPT


class ReadModels(NamedTuple):
    """Who reads, who answers at which address, the last rounds, and whose a lease is that lives."""

    follower: follower.Follower
    pages: Mapping[str, pages.Model]
    rounds: recent.Recent
    owner_of: Callable[[str], str | None]


def build(conf: LaneConf, lanes: Mapping[str, Any]) -> ReadModels:
    """The models of a process with these lanes; ``conf`` names the reader and its access."""

    def states(name: str) -> dict[int, Any]:
        """The tables of a lane's open partitions."""
        lane = lanes.get(name)
        slots = lane.slots.values() if isinstance(lane, Lane) else ()
        return {slot.partition: slot.state for slot in slots if slot.open}

    def resting() -> dict[str, int]:
        """Orders in the books of this process."""
        found: dict[str, int] = {}
        for state in states("markets").values():
            if (market := state.only()) is not None:
                found[market.declared.market] = len(state.book)
        return found

    leases, used, rounds = live_leases.Leases(), usage_windows.Usage(), recent.Recent()
    letters, board = buried.DeadLetters(), market_board.Board(rounds.view, resting)
    wanted = [
        follower.Wanted(registry.ROUNDS, recent.BACK, rounds.take, rounds.forget),
        follower.Wanted(registry.LEASES, follower.EVERYTHING, leases.take, leases.forget),
        follower.Wanted(registry.MARKETS, follower.EVERYTHING, board.take, board.forget),
        follower.Wanted(registry.USAGE, _USAGE_BACK, used.take, used.forget),
        *(
            follower.Wanted(
                registry.dead_letters(topic), buried.COUNTED, letters.take, letters.forget
            )
            for topic in registry.DEAD_LETTERED
        ),
    ]
    answers: dict[str, pages.Model] = {
        "/markets": board, "/leases": leases, "/usage": used, "/dead-letters": letters,
        "/budgets": budgets.Budgets(lambda: states("accounts")),
    }  # fmt: skip
    return ReadModels(follower.Follower(conf, wanted), answers, rounds, leases.owner)
