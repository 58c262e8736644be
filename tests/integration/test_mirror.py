"""A mirror of real objects is whole again as soon as its API server is, whatever changes there."""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Callable

import patience
from bidplane_streams.embedded import controlplane
from bidplane_streams.sinks import kube, mirror
from bidplane_streams.sinks import patience as patient


async def _until(what: str, holds: Callable[[], bool], timeout_s: float) -> None:
    until_s = patience.deadline(timeout_s)
    while not holds():
        assert time.monotonic() < until_s, f"not in time: {what}"
        await asyncio.sleep(0.1)


async def test_a_mirror_of_what_never_changes_outlives_a_crash_of_the_server(
    tmp_path: pathlib.Path,
) -> None:
    """It says that the server is gone, and that it is back without waiting for a change."""
    plane = controlplane.ControlPlane(tmp_path, "a", controlplane.Flavour.AGENT, restart=True)
    await plane.start()
    api = await kube.connect(str(plane.kubeconfig()))
    wake = asyncio.Event()
    slices = mirror.Mirror(api, kube.SLICES, wake)
    running = asyncio.create_task(slices.run())
    try:
        await _until("a whole list", lambda: slices.synced, 20)
        await plane.child("kube-apiserver").kill9()
        await _until("the server is missed", lambda: slices.broken, 20)
        wake.clear()
        await patient.until_answered("the API server", lambda: api.call("GET", "/version"))
        # Its next bookmark, which tells the same, would come a minute later.
        await _until("the mirror is whole", lambda: not slices.broken, 12)
        assert wake.is_set()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.close()
        await plane.stop()
