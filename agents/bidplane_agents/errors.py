"""What may go wrong for a caller, as facts; each knows the exit code of the command line.

BidplaneError                   one sentence: what, where, what to do
├── BadInput          (exit 2)  what was typed or configured cannot be used
│   └── ProfileUnusable         no agent profile, or a broken one
├── Refusal           (exit 3)  the market said no; carries the outcome with reason and sentence
│   ├── BidRefused              not admitted: money, market, shape, replay
│   ├── BidLost                 admitted, but lost, expired or cancelled
│   ├── CommandDeclined         a cancel, release or other command that is no bid
│   └── LeaseVoided             won, but the devices could not be bound; refunded
├── Overtaken         (exit 3)  somebody else's later word counts
├── Unreachable       (exit 4)  a server does not answer
│   └── NoAnswer                Kafka took the record, but no outcome came in time
└── PromiseBroken     (exit 5)  the log contradicts itself
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rejections import Rejection


def meant(name: str, known: Iterable[str]) -> str:
    """``did you mean 'pool-a'? ``, where a known name is near an unknown one; else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


class BidplaneError(Exception):
    """Anything that this package refuses or fails to do."""

    exit_code: ClassVar[int] = 2


class BadInput(BidplaneError):
    """What was typed or configured cannot be used."""

    exit_code = 2


def no_market(name: str, declared: Iterable[str]) -> BadInput:
    """There is no such market; names the one that is near."""
    return BadInput(f"no market {name!r}: {meant(name, declared)}see `bidplane market list`")


class ProfileUnusable(BadInput):
    """There is no agent profile to sign with, or it is broken."""


class Refusal(BidplaneError):
    """The market said no. ``outcome`` is what it said."""

    exit_code = 3

    def __init__(self, outcome: OutcomeReported) -> None:
        """The message is the outcome's kind and sentence."""
        why = outcome.sentence or f"the bid ended as {outcome.kind}"
        about = outcome.bid_id or outcome.lease_id
        super().__init__(f"{outcome.kind}: {why}" + (f" ({about})" if about else ""))
        self.outcome = outcome

    @property
    def reason(self) -> Rejection | None:
        """The reason's name, as the registry of rejections has it."""
        return self.outcome.reason


class BidRefused(Refusal):
    """The bid never entered a market."""


class BidLost(Refusal):
    """The bid entered a market and did not win."""


class CommandDeclined(Refusal):
    """A command that is no bid was refused."""


class LeaseVoided(Refusal):
    """The bid won, but the lease ended before its devices were bound."""


class GrantRefused(BidplaneError):
    """An account does not hold, or may not give, what an operator asked it to give."""

    exit_code = 3


class Overtaken(BidplaneError):
    """What was asked for was done, and then a later word took its place."""

    exit_code = 3


class Unreachable(BidplaneError):
    """A server does not answer."""

    exit_code = 4


class NoAnswer(Unreachable):
    """Kafka took the record, but no outcome came in time."""


class PromiseBroken(BidplaneError):
    """The log contradicts a promise."""

    exit_code = 5
