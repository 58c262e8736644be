"""What can go wrong with embedded servers, each as one line that a person can act on.

EmbeddedError                 carries the exit code that the command line gives it
├── PrerequisiteMissing       a tool that builds or runs a server is absent or too old: exit 2
├── AlreadyRunning            another process holds this directory: exit 2
├── BuildFailed               a build of the servers' programs failed: exit 4
├── ServerFailed              a server ended early, or was not ready in time: exit 4
└── Interrupted               SIGINT or SIGTERM while starting: exit 130
"""

from __future__ import annotations


class EmbeddedError(Exception):
    """A refusal of the embedded servers; ``exit_code`` is what a command ends with."""

    exit_code = 4


class PrerequisiteMissing(EmbeddedError):
    """A tool that builds or runs a server is absent or too old."""

    exit_code = 2


class AlreadyRunning(EmbeddedError):
    """Another process holds this directory."""

    exit_code = 2


class BuildFailed(EmbeddedError):
    """A build of the servers' programs failed."""


class ServerFailed(EmbeddedError):
    """A server ended early, or was not ready in time."""


class Interrupted(EmbeddedError):
    """SIGINT or SIGTERM came while the servers were starting."""

    exit_code = 130
