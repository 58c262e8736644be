"""The loop that runs a sink or a source: wake, observe, plan, apply; back off; stop cleanly.

Decides when a plan is made, how long a failing key waits, and when this process must doubt what it
knows (it was frozen). Refuses to know what is planned, and whose turn it is (``turns``). This is
the one place here that may catch Exception: a bug in one key's action must not stop the other keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from bidplane_streams import probes, stages
from bidplane_streams.errors import SettingsRefused
from bidplane_streams.sinks import base, errors, metrics, turns

log = logging.getLogger(__name__)

RESYNC_S: Final = 1.0
DEBOUNCE_S: Final = 0.02
# After a success the mirrors need a moment to show it; planning before would repeat the step.
SETTLE_S: Final = 0.03
# A plan costs time in which nothing is applied: after it comes a pause of so many times that time,
# while what it wants is worked off.
PAUSE_TIMES: Final = 4
PAUSE_MOST_S: Final = 0.5
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 15.0
PERMANENT_S: Final = 15.0
# Stopped longer than this, somebody else may have acted on newer knowledge meanwhile.
FROZEN_S: Final = 3.0
STOP_GRACE_S: Final = 5.0
LOCAL: Final = "127.0.0.1"
# What a sink's process is called in metrics and in the chart.
COMPONENTS: Final = {
    "claims": "sink-claims",
    "clusters": "sink-clusters",
    "nodes": "sink-nodes",
    "inventory": "source-inventory",
}

Clock = Callable[[], int]


def now_ms() -> int:
    """The wall clock in milliseconds: for what people and other machines read."""
    return time.time_ns() // 1_000_000


class Worker:
    """Runs one sink until stopped. ``wake`` is set by its mirrors and tables on every change."""

    def __init__(self, sink: base.Sink, wake: asyncio.Event, clock: Clock = now_ms) -> None:
        """``clock`` gives milliseconds to plans; back-off uses the monotonic clock."""
        self._sink = sink
        self._wake = wake
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._turns = turns.Turns()
        self._planned_at = 0.0
        self._planning_s = 0.0
        self._believes = False

    def missing(self) -> str:
        """What this worker waits for before it plans; empty where it plans."""
        return "" if self._believes else f"{self._sink.name} has not read all that it must know"

    async def run(self) -> None:
        """Run until cancelled; what is being applied gets a moment to finish."""
        background = asyncio.create_task(self._sink.run())
        background.add_done_callback(lambda _: self._wake.set())
        try:
            while True:
                if background.done():
                    background.result()
                    return
                self._step()
                await self._rest()
        finally:
            await self._stop(background)

    async def _rest(self) -> None:
        before = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s()):
                await self._wake.wait()
        self._wake.clear()
        pause_s = max(DEBOUNCE_S, min(PAUSE_MOST_S, self._planning_s * PAUSE_TIMES))
        await asyncio.sleep(pause_s)
        if time.monotonic() - before > RESYNC_S + pause_s + FROZEN_S:
            log.warning("%s: this process was frozen; reading everything again", self._sink.name)
            self._sink.doubt()

    def _patience_s(self) -> float:
        # What was due at the last plan has its turn; what was not needs another plan.
        waiting = [at for at in self._not_before.values() if at > self._planned_at]
        if not waiting:
            return RESYNC_S
        return min(RESYNC_S, max(DEBOUNCE_S, min(waiting) - time.monotonic()))

    def _step(self) -> None:
        began = time.monotonic()
        observed = self._sink.observe()
        self._believes = observed is not None
        metrics.SYNCED.labels(self._sink.name).set(self._believes)
        if observed is None:
            self._turns.put(())
            return
        self._planned_at = started = time.monotonic()
        actions = self._sink.plan(observed, self._clock())
        metrics.PLAN_S.labels(self._sink.name).observe(time.monotonic() - started)
        self._line_up(actions)
        self._planning_s = time.monotonic() - began

    def _line_up(self, actions: Any) -> None:
        now = time.monotonic()
        wanted = {action.key: action for action in reversed(actions)}  # a key's first step counts
        known = self._failures.keys() | self._not_before.keys()
        for key in known - wanted.keys() - self._running.keys():
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
        metrics.WAITING.labels(self._sink.name).set(len(self._failures))
        self._turns.put(
            action for key, action in reversed(wanted.items())
            if key not in self._running and self._not_before.get(key, 0.0) <= now
        )  # fmt: skip
        self._start()

    def _start(self) -> None:
        while (action := self._turns.take()) is not None:
            self._running[action.key] = asyncio.create_task(self._one(action))

    async def _one(self, action: base.Action) -> None:
        kind = type(action).__name__
        outcome = "done"
        try:
            self._refuse_stale()
            with metrics.ACTION_S.labels(self._sink.name, kind).time():
                await self._sink.apply(action)
            self._failures.pop(action.key, None)
            self._not_before[action.key] = time.monotonic() + SETTLE_S
        except errors.Conflict as error:
            outcome = "conflict"
            log.debug("%s: %s: %s", self._sink.name, action.key, error)
            self._back_off(action.key, RETRY_MOST_S)
        except errors.Retriable as error:
            outcome = "retriable"
            self._complain(action.key, error)
            self._back_off(action.key, RETRY_MOST_S)
        except errors.Permanent as error:
            outcome = "permanent"
            self._complain(action.key, error)
            self._not_before[action.key] = time.monotonic() + PERMANENT_S
            self._failures[action.key] = self._failures.get(action.key, 0) + 1
        except Exception:
            outcome = "bug"
            log.exception("%s: %s: a bug", self._sink.name, action.key)
            self._back_off(action.key, RETRY_MOST_S)
        finally:
            metrics.ACTIONS.labels(self._sink.name, kind, outcome).inc()
            self._running.pop(action.key, None)
            self._turns.done(action)
            self._start()
            self._wake.set()

    def _refuse_stale(self) -> None:
        # A frozen process must not act on what it knew before: look first, then plan again.
        if time.monotonic() - self._planned_at > RESYNC_S + FROZEN_S:
            raise errors.Conflict("planned too long ago")

    def _back_off(self, key: str, most_s: float) -> None:
        tries = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(most_s, RETRY_FIRST_S * 2 ** min(tries - 1, 10))
        self._not_before[key] = time.monotonic() + delay * random.uniform(0.5, 1.0)  # noqa: S311

    def _complain(self, key: str, error: errors.SinkError) -> None:
        tries = self._failures.get(key, 0)
        level = logging.WARNING if tries in {0, 4, 16, 64} else logging.DEBUG
        log.log(level, "%s: %s: %s", self._sink.name, key, error)

    async def _stop(self, background: asyncio.Task[None]) -> None:
        background.cancel()
        self._turns.put(())
        running = set(self._running.values())
        if running:
            await asyncio.wait(running, timeout=STOP_GRACE_S)
        for task in self._running.values():
            task.cancel()
        ending = asyncio.gather(background, *self._running.values(), return_exceptions=True)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await ending
            async with asyncio.timeout(STOP_GRACE_S):
                await self._sink.close()
        except TimeoutError:
            log.warning("%s: its servers did not answer; ending without them", self._sink.name)


async def serve(sink: base.Sink, wake: asyncio.Event, metrics_port: int = 0) -> None:
    """Run a sink until SIGTERM or SIGINT, with its metrics and probes where a port is given.

    Raises:
        BadSetting: nothing can listen on that port of BIDPLANE_METRICS_HOST.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    stages.says_its_build(COMPONENTS.get(sink.name, sink.name))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    worker = Worker(sink, wake)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            async with _probed(probes.Health(worker.missing), metrics_port):
                await worker.run()
    except SettingsRefused as refused:
        await sink.close()
        raise errors.BadSetting(str(refused)) from refused
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def _probed(health: probes.Health, port: int) -> AsyncIterator[None]:
    if not port:
        yield
        return
    beating = asyncio.create_task(health.beat())
    host = os.environ.get("BIDPLANE_METRICS_HOST") or LOCAL
    try:
        with probes.port(host, port, health):
            yield
    finally:
        beating.cancel()
