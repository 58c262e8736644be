"""Probes and metrics on one port, answered beside the event loop."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.error
import urllib.request

import pytest

from bidplane_streams import clock, probes
from bidplane_streams.errors import SettingsRefused

LOCAL = "127.0.0.1"


def ask(port: int, page: str) -> tuple[int, str]:
    """A page's status and text."""
    try:
        with urllib.request.urlopen(f"http://{LOCAL}:{port}/{page}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_readiness_says_what_is_missing() -> None:
    """503 and the reason until nothing is missing, then 200; and metrics and no other page."""
    missing = ["waits for leases"]
    with probes.port(LOCAL, 0, probes.Health(lambda: missing[0])) as port:
        assert ask(port, "readyz") == (503, "waits for leases\n")
        missing[0] = ""
        assert ask(port, "readyz?verbose") == (200, "ready\n")
        assert "python_info" in ask(port, "metrics")[1]
        assert ask(port, "favicon.ico")[0] == 404


async def test_a_loop_that_stands_still_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one callback holds the loop the port still answers, and says that nothing turns."""
    monkeypatch.setattr(probes, "LIVE_WITHIN_S", 0.2)
    monkeypatch.setattr(probes, "BEAT_S", 0.01)
    health = probes.Health(lambda: "")
    beating = asyncio.create_task(health.beat())
    with probes.port(LOCAL, 0, health) as port:
        assert (await asyncio.to_thread(ask, port, "livez"))[0] == 200
        time.sleep(0.5)  # noqa: ASYNC251 - this is what must be noticed
        status, said = ask(port, "livez")
        assert (status, said.startswith("the loop stands still")) == (503, True)
        began_s = clock.elapsed_s()
        while (await asyncio.to_thread(ask, port, "livez"))[0] != 200:
            assert clock.elapsed_s() - began_s < 30
    beating.cancel()


def test_a_port_in_use_is_one_line() -> None:
    """Whoever set the port reads its setting, the address and what to do."""
    with socket.create_server((LOCAL, 0)) as taken:
        number = taken.getsockname()[1]
        for say in (
            lambda: probes.port(LOCAL, number, probes.Health(lambda: "")).__enter__(),
            lambda: probes.check_free("BIDPLANE_METRICS_PORT", LOCAL, number),
        ):
            with pytest.raises(SettingsRefused, match=rf"^BIDPLANE_METRICS_PORT={number}: {LOCAL}"):
                say()
    probes.check_free("BIDPLANE_METRICS_PORT", LOCAL, number)
