"""What goes into and comes out of the core: an input with its origin, and records to emit.

Decides which topic and partition an emitted event belongs to. Refuses to know how records are sent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from bidplane_topics import registry
from bidplane_topics.bids import Envelope
from bidplane_topics.ledger import Origin
from bidplane_topics.rejections import Rejection


class SequenceGap(AssertionError):
    """The other lane's numbers do not continue: records were lost, so the process must stop."""


class Input(msgspec.Struct, frozen=True):
    """A decoded record, where it stood, and the broker's append time."""

    event: Any
    origin: Origin
    at_ms: int


class SignedCommands(msgspec.Struct, frozen=True):
    """An envelope whose signature was checked against the public key that ``key_id`` names.

    ``seal`` is the signature's hex SHA-256: a secret of the bidder's that a replay finds again, as
    the core may not draw one.
    """

    envelope: Envelope
    key_id: str
    seal: str = ""


class CloseWindow(msgspec.Struct, frozen=True):
    """The decision to clear: when, and up to which offset of every input topic."""

    closed_at_ms: int
    inputs: dict[str, int]


class Emit(NamedTuple):
    """A record to write."""

    topic: registry.Topic
    partition: int
    key: str
    event: msgspec.Struct


class DeadLetter(NamedTuple):
    """The input cannot be believed: its bytes go to the dead letters of its topic."""

    reason: Rejection
    detail: str


Effect = Emit | DeadLetter
