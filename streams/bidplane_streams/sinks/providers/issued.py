"""What a plane's certificates are to a provider: asked for by address, given as files.

Decides the shape between the provider and whoever makes certificates, which a sink does not import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Wanted(NamedTuple):
    """A plane's name, and the URLs at which the agent and the nodes sink reach it."""

    name: str
    agent_server: str
    sync_server: str


class Issued(NamedTuple):
    """Files by name: what pods mount, what no pod sees, kubeconfigs; and when one is due."""

    mounted: Mapping[str, bytes]
    unseen: Mapping[str, bytes]
    kubeconfigs: Mapping[str, bytes]
    renew_at_ms: int


# Makes what is missing or due, keeps the rest of the files it is given.
Issue = Callable[[Mapping[str, bytes], Wanted], Issued]
