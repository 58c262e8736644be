"""Who sent what: every record on bids, checked against the keys that the log registers.

Decides which records are somebody's word. Refuses to know money: what a verified command may do is
judged elsewhere. What is nobody's word must lie in the dead letters and have no effect.
"""

from __future__ import annotations

import base64
import binascii
import sys
from typing import Final, NamedTuple

from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_topics import agents, codec, envelope, ids, registry
from bidplane_topics.bids import Envelope
from bidplane_topics.errors import MalformedRecord
from bidplane_topics.rejections import Rejection

# Reasons to set a record aside that depend on what the lane had read by then.
_MATTER_OF_TIME: Final = frozenset({Rejection.UNKNOWN_KEY, Rejection.UNKNOWN_AGENT})


class Signed(NamedTuple):
    """An envelope that its agent signed."""

    record: Record
    envelope: Envelope
    key_id: str

    @property
    def agent_id(self) -> str:
        """Who signed."""
        return ids.agent_id(self.envelope.tenant, self.envelope.agent)

    @property
    def whose(self) -> tuple[str, str]:
        """Tenant and agent."""
        return self.envelope.tenant, self.envelope.agent

    @property
    def is_late(self) -> bool:
        """Whether it arrived after its expiry, by the broker's append time."""
        return self.record.timestamp_ms > self.envelope.expires_at_ms

    def bid_id(self, index: int) -> str:
        """The id of the command at ``index``."""
        one = self.envelope
        return ids.bid_id(one.tenant, one.agent, self.key_id, one.sequence, index)


class Keys:
    """Every key that a partition's agents ever registered, with its owner and validity."""

    def __init__(self, contents: Contents, partition: int) -> None:
        """Read all registrations that were not set aside."""
        self.public: dict[str, bytes] = {}
        self.owner: dict[str, str] = {}
        self._registrations: dict[str, list[tuple[Seen, frozenset[str]]]] = {}
        self._valid: dict[str, list[tuple[int, int]]] = {}
        self._known_from_ms: dict[str, int] = {}
        told = {
            one.event.outcome_id: one.record.timestamp_ms
            for one in contents.of(registry.OUTCOMES, partition)
            if one.event.kind == "registered"
        }
        for one in contents.of(registry.AGENTS, partition):
            sound = one.record.origin not in contents.dead
            if sound and isinstance(one.event, agents.AgentRegistered):
                self._take(one, told)

    def _take(self, one: Seen, told: dict[str, int]) -> None:
        event: agents.AgentRegistered = one.event
        owner = ids.agent_id(event.tenant, event.agent)
        told_ms = told.get(ids.joined("registered", ids.joined(*one.record.origin)))
        for key in event.keys:
            try:
                raw = base64.b64decode(key.public_key, validate=True)
            except (binascii.Error, ValueError):
                continue
            if ids.key_id(raw) != key.key_id or self.owner.get(key.key_id, owner) != owner:
                continue
            self.public[key.key_id], self.owner[key.key_id] = raw, owner
            self._valid.setdefault(key.key_id, []).append((key.not_before_ms, key.not_after_ms))
            if told_ms is not None:
                self._known_from_ms.setdefault(key.key_id, told_ms)
        wanted = frozenset(key.key_id for key in event.keys)
        self._registrations.setdefault(owner, []).append((one, wanted))

    def may_sign(self, key_id: str, at_ms: int) -> bool:
        """Whether some registration lets the key sign at that time."""
        return any(start <= at_ms < end for start, end in self._valid.get(key_id, ()))

    def surely_known(self, key_id: str, at_ms: int) -> bool:
        """Whether the lane had told of the key before that time, and nobody revoked it."""
        known_ms = self._known_from_ms.get(key_id)
        kept = all(key_id in wanted for _, wanted in self._registrations[self.owner[key_id]])
        always = all(start <= at_ms < end for start, end in self._valid[key_id])
        return known_ms is not None and known_ms < at_ms and kept and always


def verified(
    contents: Contents, keys: Keys, partition: int, reach: int, findings: Findings
) -> list[Signed]:
    """The signed envelopes of a partition. ``reach``: how far the accounts lane has read.

    Whatever is no valid envelope and was read must lie in the dead letters.
    """
    found = []
    for record in contents.log.of(registry.BIDS.name, partition):
        signed, problem = _read(record, keys)
        dead = contents.dead.get(record.origin)
        if signed is None:
            if dead is None and record.offset > reach:
                findings.left_open("records on bids not read yet")
                continue
            if problem == Rejection.UNKNOWN_KEY and not contents.log.is_whole(
                registry.AGENTS.name, partition
            ):
                findings.note(
                    "registrations were compacted away: bids of their keys are not checked"
                )
                continue
            findings.check(
                1, dead is not None, record, f"a record that is nobody's word ({problem})",
                "a dead letter", "none",
            )  # fmt: skip
        elif dead is None:
            found.append(signed)
        else:
            findings.check(
                1, _excused(dead.reason, signed, keys), record, "a sound record was set aside",
                "its outcomes", dead.reason,
            )  # fmt: skip
    return found


def _excused(reason: str, signed: Signed, keys: Keys) -> bool:
    known = keys.surely_known(signed.key_id, signed.record.timestamp_ms)
    return reason in _MATTER_OF_TIME and not known


def _read(record: Record, keys: Keys) -> tuple[Signed | None, str]:
    """The envelope, or why it is none."""
    value = record.value or b""
    try:
        key_id = envelope.verify(registry.BIDS.name, value, record.headers, keys.public)
        found: Envelope = codec.decode(registry.BIDS, value)
    except envelope.Refused as refused:
        return None, refused.reason
    except MalformedRecord:
        return None, Rejection.MALFORMED
    signed = Signed(record._replace(value=None), found, sys.intern(key_id))
    if keys.owner[key_id] != signed.agent_id:
        return None, Rejection.UNKNOWN_KEY
    if not keys.may_sign(key_id, record.timestamp_ms):
        return None, Rejection.UNKNOWN_KEY
    return signed, ""
