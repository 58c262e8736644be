"""What an operator is told of a handover."""

from __future__ import annotations

import pytest

from bidplane_agents.moving import Moved, Stage, sentence

MOVED = Moved(node="n0", market="fast", assignment=7)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Stage(behind=("a", "b"), leases=2), "leaving: a, b must close a window first"),
        (Stage(leases=1), "draining: 1 lease left"),
        (Stage(leases=2, until_ms=5), "draining: 2 leases left, the last until 5"),
        (Stage(), "drained: waiting for the inventory source of fast"),
        (Stage(done=True), "handed over: fast offers n0"),
    ],
)
def test_every_stage_says_what_is_waited_for(now: Stage, said: str) -> None:
    """First the lanes, then the leases, then the source that takes the node."""
    assert sentence(MOVED, now, str) == said
