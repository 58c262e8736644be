"""Errors of the running system. One root, so that a caller can tell our refusals from bugs.

StreamsError
├── SettingsRefused            a setting cannot be used: says which one, and the mend; exit code 2
├── Unreachable                a server does not answer: exit code 4, or another try
└── LaneError                  an invariant of a lane does not hold: the process ends
    ├── OffsetsConflict        the changelog's vector and the group's offsets differ
    ├── RecordsMissing         records were skipped, or the log begins after what was applied
    ├── MarkersLost            the broker does not end a transaction
    └── AssignmentTorn         partition p of every input is not on one member
"""

from __future__ import annotations


class StreamsError(Exception):
    """A refusal of ours."""


class SettingsRefused(StreamsError):
    """A setting cannot be used."""


class Unreachable(StreamsError):
    """A server does not answer."""


class LaneError(StreamsError):
    """An invariant of a lane does not hold; going on could lose or double money."""


class OffsetsConflict(LaneError):
    """What the state has applied is not what the group has committed."""


class RecordsMissing(LaneError):
    """Records were skipped, or are no longer there to be read."""


class MarkersLost(LaneError):
    """The broker does not end a transaction that was committed or aborted."""


class AssignmentTorn(LaneError):
    """The inputs of one partition are spread over several members."""
