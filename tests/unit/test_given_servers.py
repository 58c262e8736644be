"""Servers of the user's own: what is wrong with them is said before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bidplane_agents import errors
from bidplane_streams import given_servers

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:%d"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("text", ["a: [", "hello", "", "kind: Config"])
async def test_a_file_that_is_no_kubeconfig_is_bad_input(tmp_path: Path, text: str) -> None:
    """Exit code 2 and a sentence that names the file."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(errors.BadInput, match=str(path)):
        await given_servers.check(None, path)


async def test_a_cluster_that_does_not_answer_is_unreachable(
    tmp_path: Path, closed_port: int
) -> None:
    """Exit code 4, before anything was started."""
    path = tmp_path / "config"
    path.write_text(KUBECONFIG % closed_port)
    with pytest.raises(errors.Unreachable, match=str(closed_port)):
        await given_servers.check(None, path)


async def test_a_kafka_that_does_not_answer_is_unreachable(closed_port: int) -> None:
    """Exit code 4, before anything was started."""
    with pytest.raises(errors.Unreachable, match=str(closed_port)):
        await given_servers.check(f"127.0.0.1:{closed_port}", None)


@pytest.mark.parametrize("address", ["nonsense", ":9092", "host:", "a:1,b", "::1:9092"])
async def test_an_address_that_is_none_is_bad_input(address: str) -> None:
    """Exit code 2 and the form that is wanted."""
    with pytest.raises(errors.BadInput, match="HOST:PORT"):
        await given_servers.check(address, None)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "host:0"])
async def test_a_port_that_cannot_be_is_bad_input(address: str) -> None:
    """Exit code 2 and the range, before a client stumbles over it."""
    with pytest.raises(errors.BadInput, match="1 to 65535"):
        await given_servers.check(address, None)
