"""Errors of sinks. Decides only one thing: is trying again worth it?

SinkError
├── Retriable            the same call may succeed later: back off and try again
│   ├── Unreachable      no answer, or a server that says it cannot now (5xx, 429, time-outs)
│   ├── Conflict         somebody wrote first, or a tested value differs: read again, plan again
│   └── Gone             the watched version is too old: list again
└── Permanent            the same call will fail until a person changes something
    ├── Refused          the API server understood and said no (4xx)
    └── BadSetting       a file or setting is wrong; the command line exits with code 2
"""

from __future__ import annotations


class SinkError(Exception):
    """Something in a sink or a source went wrong."""


class Retriable(SinkError):
    """The same call may succeed later."""


class Unreachable(Retriable):
    """No answer, or a server that cannot answer now."""


class Conflict(Retriable):
    """Somebody wrote first: read again and plan again."""


class Gone(Retriable):
    """The watched version is too old: list again."""


class Permanent(SinkError):
    """The same call will fail until a person changes something."""


class Refused(Permanent):
    """The API server understood and said no; ``status`` is its HTTP code."""

    def __init__(self, message: str, status: int) -> None:
        """``message`` is the server's sentence."""
        super().__init__(message)
        self.status = status


class BadSetting(Permanent):
    """A file or setting is wrong."""
