"""The rounds of every market, from the first that is kept.

Decides from where on rounds can be recomputed. Refuses to know how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bidplane_agents.audit.books import Books
from bidplane_agents.audit.closing import Closing
from bidplane_agents.audit.contents import Contents
from bidplane_agents.audit.expected import Expected
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.replay import GENESIS, TOPICS_IN_ORDER, Replay
from bidplane_topics import registry
from bidplane_topics.markets import NodeAssigned
from bidplane_topics.rounds import RoundClosed
from bidplane_topics.supply import NodeOffered

# A market whose rounds no longer agree is not followed for ever: what follows is noise.
BREACHES_FOLLOWED: Final = 50


def audit_rounds(
    books: Books, partition: int, findings: Findings, progress: Callable[[str], None]
) -> Replay | None:
    """Recompute the rounds of one partition.

    Returns what the market should be after the last one, or None where it cannot be known.
    """
    contents = books.contents
    rounds = contents.of(registry.ROUNDS, partition)
    _chain(books, partition, findings)
    expected = Expected(books, partition, findings)
    replay = Replay(partition, expected)
    if not rounds:
        return replay
    first: RoundClosed = rounds[0].event
    gone = gone_topics(contents, partition)
    if gone:
        findings.note(
            f"market {first.market}: the beginning of {', '.join(gone)} is gone; its rounds are "
            f"checked for their chain from window {first.window}, not recomputed"
        )
        return None
    if _assignment_gone(books):
        findings.note(
            f"market {first.market}: a node's earlier assignment was compacted away; its rounds "
            "are checked for their chain, not recomputed"
        )
        return None
    before: dict[str, int] = {}
    broken = sum(findings.broken_count.values())
    for seen in rounds:
        if contents.late(seen):  # explains outputs that were read, but owes none: judge nothing
            expected.findings = Findings()
        if not Closing(replay, seen, contents, expected).check(before):
            findings.note(
                f"market {first.market}: its first declaration was compacted away; its rounds "
                "are not recomputed"
            )
            return None
        before = seen.event.inputs
        progress(f"round {seen.event.window} of {first.market}")
        if sum(findings.broken_count.values()) > broken + BREACHES_FOLLOWED:
            findings.note(f"market {first.market}: not followed beyond window {seen.event.window}")
            return None
    _left_open(books, partition, before, replay, findings)
    return replay


def gone_topics(contents: Contents, partition: int) -> list[str]:
    """What a market is replayed from and is no longer kept from its beginning."""
    return [
        topic.name for topic in (*TOPICS_IN_ORDER, registry.ROUNDS)
        if contents.log.begins(topic.name, 0 if topic.partitioned_by == "one" else partition)
    ]  # fmt: skip


def _chain(books: Books, partition: int, findings: Findings) -> None:
    """Each round names the one before; numbers, times and vectors only grow."""
    before: RoundClosed | None = None
    for seen in books.contents.of(registry.ROUNDS, partition):
        event: RoundClosed = seen.event
        if before is None:
            whole = not books.contents.log.begins(registry.ROUNDS.name, partition)
            if whole:
                findings.same(
                    6, GENESIS, event.previous_root, seen.record, "the first previous_root"
                )
        else:
            findings.same(6, before.root, event.previous_root, seen.record, "previous_root")
            grows = event.window > before.window and event.closed_at_ms > before.closed_at_ms
            findings.check(
                6, grows, seen.record, "a round after another",
                f"after window {before.window} at {before.closed_at_ms}",
                f"window {event.window} at {event.closed_at_ms}",
            )  # fmt: skip
        before = event


def _assignment_gone(books: Books) -> bool:
    """Whether an offer names an assignment that the log does not hold any more."""
    kept = {
        one.record.offset + 1 for one in books.contents.of(registry.MARKETS, 0)
        if isinstance(one.event, NodeAssigned)
    }  # fmt: skip
    return any(
        isinstance(one.event, NodeOffered) and one.event.assignment not in {0, *kept}
        for one in books.contents.all(registry.SUPPLY)
    )


def _left_open(
    books: Books, partition: int, before: dict[str, int], replay: Replay, findings: Findings
) -> None:
    """What the end of the log leaves undecided is said, not judged."""
    unread = [
        one for one in books.contents.of(registry.ORDERS, partition)
        if one.record.offset >= before.get(registry.ORDERS.name, 0)
    ]  # fmt: skip
    for what, count in (
        ("orders not closed yet", len(unread)),
        ("orders resting in a book", len(replay.book)),
        ("leases running", len(replay.leases)),
    ):
        if count:
            findings.left_open(what, count)
