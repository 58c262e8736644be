"""The load test's own metrics, for a Prometheus that watches the run.

Decides names, labels and where the target is told: DIR/targets/loadtest.json. Refuses to measure.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bidplane_agents.errors import BadInput
from bidplane_loadtest.load import beats

HOST: Final = "127.0.0.1"
JOB: Final = "loadtest"
_PREFIX: Final = "bidplane_loadtest_"


class Exposition(Collector):
    """What Prometheus reads. ``beat`` and ``phase`` are set by the run."""

    def __init__(self, scenario: str, window_ms: int, phases: Iterable[str]) -> None:
        """Nothing is offered yet."""
        self.beat = beats.Beat()
        self.phase = ""
        self._scenario, self._window_ms = scenario, window_ms
        self._phases = tuple(dict.fromkeys(phases))

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._counters()
        yield from self._gauges()
        yield from self._histograms()

    def _counters(self) -> Iterator[Metric]:
        offered = self._counter("offered", "Bids that were due so far.")
        offered.add_metric([self._scenario], self.beat.offered)
        sent = self._counter("sent", "Bids handed to the producer.")
        sent.add_metric([self._scenario], self.beat.sent)
        answered = self._counter("answered", "Bids that heard what became of them.", "outcome")
        for outcome, count in sorted(self.beat.kinds.items()):
            answered.add_metric([self._scenario, outcome], count)
        yield from (offered, sent, answered)

    def _counter(self, name: str, doc: str, *labels: str) -> CounterMetricFamily:
        return CounterMetricFamily(_PREFIX + name, doc, labels=("scenario", *labels))

    def _gauges(self) -> Iterator[Metric]:
        for name, doc, value in (
            ("unsent", "Bids that are due and not sent.", self.beat.unsent),
            ("lag_seconds", "How late the next send is.", self.beat.lag_us / 1e6),
            ("window_seconds", "The market's window.", self._window_ms / 1000),
        ):
            gauge = GaugeMetricFamily(_PREFIX + name, doc, labels=("scenario",))
            gauge.add_metric([self._scenario], value)
            yield gauge
        phase = GaugeMetricFamily(
            _PREFIX + "phase", "1 for the phase that runs.", labels=("scenario", "phase")
        )
        for name in self._phases:
            phase.add_metric([self._scenario, name], int(name == self.phase))
        yield phase

    def _histograms(self) -> Iterator[Metric]:
        latency = HistogramMetricFamily(
            _PREFIX + "latency_seconds", "From the moment at which a bid was due.",
            labels=("scenario", "stage"),
        )  # fmt: skip
        beyond = HistogramMetricFamily(
            _PREFIX + "beyond_close_seconds",
            "Decided later than the close of the window in which a bid was due.",
            labels=("scenario",),
        )
        for stage in beats.STAGES:
            buckets = self.beat.stages.get(stage, beats.Buckets())
            family, labels = (
                (beyond, [self._scenario]) if stage == "beyond_close"
                else (latency, [self._scenario, stage])
            )  # fmt: skip
            family.add_metric(labels, buckets=buckets.cumulative(), sum_value=buckets.sum_s)
        yield from (latency, beyond)


@contextlib.contextmanager
def served(shown: Exposition, port: int, directory: pathlib.Path | None) -> Iterator[str]:
    """Serve ``shown`` and tell a Prometheus of the directory where; the page's address.

    Raises:
        BadInput: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(shown)
    try:
        server, thread = _start(port, registry)
    except OSError as error:
        raise BadInput(f"--metrics-port {port}: {error.strerror}: name another, or 0") from error
    address = f"{HOST}:{server.server_port}"
    try:
        with _target(address, directory):
            yield f"http://{address}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _start(port: int, registry: CollectorRegistry) -> tuple[Any, Any]:
    return start_http_server(port, HOST, registry)


def target(directory: pathlib.Path) -> pathlib.Path:
    """Where the address is told."""
    return directory / "targets" / f"{JOB}.json"


@contextlib.contextmanager
def _target(address: str, directory: pathlib.Path | None) -> Iterator[None]:
    if directory is None:
        yield
        return
    path = target(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    labels = {"job": JOB, "instance": JOB}
    draft.write_bytes(orjson.dumps([{"targets": [address], "labels": labels}]))
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
