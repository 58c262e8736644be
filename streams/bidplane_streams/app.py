"""The Faust application that hosts everything: ``faust -A bidplane_streams.app worker``.

Decides what one process runs: lanes and router as services that start with the application, the
usage processor as its Faust stream, web views and metrics. Refuses to decide anything about money.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any

import faust
from faust.sensors.prometheus import setup_prometheus_sensors

from bidplane_streams import probes, read_models, stages
from bidplane_streams import settings as settings_module
from bidplane_streams.errors import SettingsRefused
from bidplane_streams.exact import solving
from bidplane_streams.fast import clearing
from bidplane_streams.lanes import account_measures, accounts, death, market_measures, markets
from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_streams.lanes.lane import Lane
from bidplane_streams.lanes.router import Router
from bidplane_streams.processors import broker_credentials, telemetry_gate, usage, views
from bidplane_streams.settings import Settings
from bidplane_topics import registry

EXIT_SETTINGS = 2
STOP_S = 10.0
# A market's window holds all that was gathered; beyond this, reading pauses until it closes.
WINDOW_RECORDS = 50_000


class App(faust.App):
    """Starts lanes with itself. ``@app.service`` would wait for Faust's own group and tables.

    Measured: from a kill to resumed commits 0.7 to 1.4 s this way, 5 to 7 s the other.
    """

    bidplane: Settings
    lanes: dict[str, Lane | Router]
    models: read_models.ReadModels
    health: probes.Health
    warming: asyncio.Task[bool]

    async def on_start(self) -> None:
        """Start the lanes, then what Faust starts; the compiled clearing comes when it is ready."""
        self.warming = asyncio.create_task(asyncio.to_thread(clearing.warm))
        self.add_future(self.health.beat())
        for service in (*self.lanes.values(), self.models.follower):
            await self.add_runtime_dependency(service)
        await super().on_start()

    async def stop(self) -> None:
        """Stop, at the latest after ``STOP_S``: Faust may hang if it is stopped while it starts.

        Leaving hard is safe: lanes stop first, and a transaction cut short is aborted by a fence.
        """
        last = threading.Timer(STOP_S, death.leave, [death.EXIT_LANE])
        last.daemon = True
        last.start()
        await super().stop()

    def missing(self) -> str:
        """What this process waits for before it does all of its work; empty if nothing."""
        return "; ".join(said for lane in self.lanes.values() if (said := lane.missing()))

    def lanes_view(self) -> dict[str, Any]:
        """What every lane of this process says of itself."""
        return {name: lane.view() for name, lane in self.lanes.items()}


def build(settings: Settings) -> App:
    """The application for ``settings``."""
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    partitions = registry.Partitions().of(registry.TELEMETRY)
    # No static membership for Faust's own group: a member that comes back at another web address is
    # handed its old assignment, and Faust's assignor dies of it without a word.
    app = App(
        settings.app_id, broker=f"kafka://{settings.kafka.replace(',', ';kafka://')}",
        web_host=settings.web_host, web_bind=settings.web_host, web_port=settings.web_port,
        datadir=settings.data_dir, topic_partitions=partitions, topic_disable_leader=True,
        table_standby_replicas=0, broker_session_timeout=6, broker_heartbeat_interval=1,
        broker_credentials=broker_credentials.of(settings.security),
    )  # fmt: skip
    app.bidplane = settings
    app.lanes = {name: _lane(name, settings) for name in settings.lanes}
    app.models = read_models.build(_conf(settings, "views", inputs=()), app.lanes)
    views.attach(app, app.lanes_view, app.models.rounds.view)
    gate = telemetry_gate.Gate(app.models.owner_of)
    usage.attach(app, partitions, settings.usage_window_s, gate)
    views.attach_models(app, app.models.pages)
    app.health = probes.Health(app.missing)
    views.attach_probes(app, app.health.live, app.health.ready)
    stages.says_its_build("worker")
    setup_prometheus_sensors(app, pattern="/metrics", name_prefix="bidplane_faust")
    return app


def _lane(name: str, settings: Settings) -> Lane | Router:
    if name == "router":
        return Router(_conf(settings, name, inputs=(registry.OUTCOMES,)))
    if name == "accounts":
        conf = _conf(
            settings, name, inputs=accounts.INPUTS, globals_=accounts.GLOBALS,
            outputs=accounts.OUTPUTS, changelog=accounts.CHANGELOG.name,
        )  # fmt: skip
        return Lane(conf, accounts.AccountsLogic(), account_measures.AccountMeasures())
    conf = _conf(
        settings, name, inputs=markets.INPUTS, globals_=markets.GLOBALS, outputs=markets.OUTPUTS,
        changelog=markets.CHANGELOG.name, records_max=WINDOW_RECORDS, buffer_records=WINDOW_RECORDS,
    )  # fmt: skip
    logic = markets.MarketsLogic(clearing.clear, solving.clear)
    return Lane(conf, logic, market_measures.MarketMeasures())


def _conf(
    settings: Settings, name: str, *, inputs: tuple[registry.Topic, ...],
    globals_: tuple[registry.Topic, ...] = (), outputs: tuple[registry.Topic, ...] = (),
    **rest: Any,
) -> LaneConf:  # fmt: skip
    return LaneConf(
        app_id=settings.app_id, name=name, access=Access(settings.kafka, settings.security),
        instance=settings.instance, inputs=tuple(topic.name for topic in inputs),
        globals_=tuple(topic.name for topic in globals_),
        outputs=tuple(topic.name for topic in outputs), **rest,
    )  # fmt: skip


def from_environment() -> App:
    """The application for BIDPLANE_*; a bad setting is one line and exit code 2."""
    try:
        return build(settings_module.load(os.environ))
    except SettingsRefused as error:
        sys.stderr.write(f"bidplane: {error}\n")
        raise SystemExit(EXIT_SETTINGS) from error


app = from_environment()
