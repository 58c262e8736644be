"""What the audit found: how often each promise was put to the test, and where it is broken.

Decides how a breach is named. Refuses to know how it was found.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bidplane_agents.audit.heap import Record

PROMISES: Final[dict[int, str]] = {
    1: "every bid ends in exactly one terminal outcome, and the agent is told why",
    2: "every entry balances, no balance is negative, holds are covered at every offset",
    3: "no device under two active epochs; no lease outlives its end plus grace",
    4: "gangs are all or nothing; the devices named exist, match and are disjoint",
    5: "no winner pays more than it bid, no loser pays; every round can be recomputed",
    6: "no crash, replay or duplicate changed any of it: nothing is lost or repeated",
}
KEPT_PER_PROMISE: Final = 100


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A broken promise, and the record that breaks it. An offset of -1: the record is missing."""

    promise: int
    topic: str
    partition: int
    offset: int
    at_ms: int
    what: str
    expected: str
    found: str

    def sentence(self) -> str:
        """One line for a person."""
        where = f"{self.topic}/{self.partition}/{self.offset}"
        return f"{where}: {self.what}: expected {self.expected}, found {self.found}"


class Findings:
    """Collects breaches, counts of what was checked, what is still open and what cannot be told."""

    def __init__(self) -> None:
        """Nothing is checked yet."""
        self.checked: dict[int, int] = dict.fromkeys(PROMISES, 0)
        self.broken: dict[int, list[Finding]] = {promise: [] for promise in PROMISES}
        self.broken_count: dict[int, int] = dict.fromkeys(PROMISES, 0)
        self.open: dict[str, int] = {}
        self.notes: list[str] = []

    def check(
        self, promise: int, holds: bool, record: Record, what: str,
        expected: Any = "", found: Any = "",
    ) -> bool:  # fmt: skip
        """Count one check; keep a finding where it does not hold. Returns ``holds``."""
        self.checked[promise] += 1
        if not holds:
            self.broken_count[promise] += 1
            if len(self.broken[promise]) < KEPT_PER_PROMISE:
                self.broken[promise].append(
                    Finding(
                        promise=promise, topic=record.topic, partition=record.partition,
                        offset=record.offset, at_ms=record.timestamp_ms, what=what,
                        expected=shown(expected), found=shown(found),
                    )
                )  # fmt: skip
        return holds

    def same(self, promise: int, expected: Any, found: Any, record: Record, what: str) -> bool:
        """Check that two values are equal; of two structs, name the first field that differs."""
        if isinstance(expected, msgspec.Struct) and type(expected) is type(found):
            for field in expected.__struct_fields__:
                wanted, given = getattr(expected, field), getattr(found, field)
                if wanted != given:
                    return self.same(promise, wanted, given, record, f"{what}, {field}")
        return self.check(promise, expected == found, record, what, expected, found)

    def left_open(self, what: str, count: int = 1) -> None:
        """Something that the end of the log leaves undecided."""
        self.open[what] = self.open.get(what, 0) + count

    def note(self, sentence: str) -> None:
        """Something that cannot be checked, said once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def first(self, promise: int) -> Finding | None:
        """The breach that stands earliest in the log."""
        return min(
            self.broken[promise],
            key=lambda one: (one.at_ms, one.topic, one.partition, one.offset),
            default=None,
        )

    @property
    def sound(self) -> bool:
        """Whether nothing is broken."""
        return not any(self.broken_count.values())


def shown(value: Any) -> str:
    """A value in a finding: short, on one line."""
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= 300 else text[:297] + "..."
