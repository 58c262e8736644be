"""The system beside the load: its processes' CPU and memory, its metrics, its rounds.

Decides how often it looks and what it keeps. What cannot be seen (another machine's processes) is
left out. Refuses to judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bidplane_agents import connection, log
from bidplane_loadtest.players import stop
from bidplane_topics import codec, errors, markets, registry

LOOK_S: Final = 1.0
SCRAPE_EVERY: Final = 2
SCRAPE_TIMEOUT_S: Final = 1.5
MIB: Final = 1024 * 1024
Labels = tuple[tuple[str, str], ...]
Series = dict[tuple[str, Labels], float]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A process at a moment: CPU seconds since it was started, resident memory, which start."""

    at_s: float
    process: str
    pid: int
    cpu_s: float
    rss_mib: float


class Scrape(msgspec.Struct, frozen=True, kw_only=True):
    """A process' metrics at a moment."""

    at_s: float
    process: str
    series: Series


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """A clearing as it was heard of; seconds since the begin."""

    window: int
    closed_at_s: float
    heard_s: float
    orders: int
    awarded: int
    leases_active: int


class Watch:
    """Looks while the load runs; ``now_s`` gives seconds since the begin."""

    def __init__(
        self, directory: pathlib.Path | None, reached: connection.Connection, market: str,
        own_pids: Mapping[str, int],
    ) -> None:  # fmt: skip
        """``directory`` is that of the system, where it runs on this machine."""
        self.usage: list[Usage] = []
        self.scrapes: list[Scrape] = []
        self.rounds: list[Round] = []
        self.machine_busy: list[tuple[float, float]] = []
        self.now_s: Callable[[], float] = lambda: 0.0
        self.begin_ms = 0
        self._directory, self._reached, self._market = directory, reached, market
        self._own_pids = {"loadtest": os.getpid(), **own_pids}
        self._known: dict[int, psutil.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, begin_ms: int, now_s: Callable[[], float]) -> None:
        """Look from now on."""
        self.begin_ms, self.now_s = begin_ms, now_s
        self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._follow())]

    async def stop(self) -> None:
        """Look no more."""
        await stop(self._tasks)

    def pids(self) -> dict[str, int]:
        """Process ids by name, as they are now."""
        found = {
            name: int(row["pid"])
            for name, row in self._state().get("processes", {}).items()
            if row.get("pid")
        }
        return {**found, **self._own_pids}

    def _state(self) -> dict[str, Any]:
        if self._directory is None:
            return {}
        return _read_json(self._directory / "state.json")

    def targets(self) -> dict[str, str]:
        """The metrics pages of the system's processes."""
        if self._directory is None or not self._state():
            return {}
        ports = _read_json(self._directory / "ports.json")
        running = self.pids()
        return {
            name: f"http://127.0.0.1:{port}/metrics"
            for name, port in ports.items()
            if name in running
        }

    async def _look(self) -> None:
        psutil.cpu_percent()
        turn = 0
        timeout = aiohttp.ClientTimeout(total=SCRAPE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self.machine_busy.append((self.now_s(), psutil.cpu_percent() / 100))
                self.usage.extend(self._usage())
                if turn % SCRAPE_EVERY == 0:
                    pages = self.targets().items()
                    await asyncio.gather(*(self._scrape(session, *page) for page in pages))
                turn += 1
                await asyncio.sleep(LOOK_S)

    def _usage(self) -> Iterator[Usage]:
        for name, pid in self.pids().items():
            try:
                process = self._known.setdefault(pid, psutil.Process(pid))
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                self._known.pop(pid, None)
                continue
            yield Usage(
                at_s=self.now_s(), process=name, pid=pid, cpu_s=times.user + times.system,
                rss_mib=memory.rss / MIB,
            )  # fmt: skip

    async def _scrape(self, session: aiohttp.ClientSession, name: str, url: str) -> None:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with session.get(url) as answer:
                text = await answer.text()
            self.scrapes.append(Scrape(at_s=self.now_s(), process=name, series=parse(text)))

    async def _follow(self) -> None:
        partition = 0
        async for _, event in log.events(self._reached, registry.MARKETS):
            if isinstance(event, markets.MarketDeclared) and event.market == self._market:
                partition = event.partition
        tail = log.Tail(self._reached, registry.ROUNDS.name, partition)
        await tail.from_now()
        async for record in tail.records():
            with contextlib.suppress(errors.MalformedRecord):
                event = codec.decode(registry.ROUNDS, record.value)
                if event.market == self._market:
                    self.rounds.append(
                        Round(
                            window=event.window, orders=event.orders, awarded=event.awarded,
                            closed_at_s=(event.closed_at_ms - self.begin_ms) / 1000,
                            heard_s=self.now_s(), leases_active=event.leases_active,
                        )
                    )  # fmt: skip


def parse(text: str) -> Series:
    """Bidplane's own series of a metrics page."""
    own = "\n".join(line for line in text.splitlines() if _is_own(line)) + "\n"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
        for family in text_string_to_metric_families(own)
        for sample in family.samples
    }


def _is_own(line: str) -> bool:
    return line.startswith("bidplane_") and "_created" not in line and "faust" not in line


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found
