"""``bidplane worker``: one process with lanes, router and processors.

Decides when the application may start: once Kafka answers and the topics are there. Refuses to
repair anything: a lane that fails ends the process with code 70, and a supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

from aiokafka.errors import KafkaError

from bidplane_streams import interpreter, probes
from bidplane_streams import settings as settings_module
from bidplane_streams.errors import SettingsRefused
from bidplane_streams.lanes import clients, readiness
from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_topics import registry

EXIT_SETTINGS = 2
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 5.0
_ATTEMPT_S = 5.0
_SAY_EVERY_S = 30.0

log = logging.getLogger(__name__)


def worker() -> None:
    """Run a worker with the settings of BIDPLANE_* until SIGTERM or SIGINT."""
    try:
        settings = settings_module.load(os.environ)
        probes.check_free("BIDPLANE_WEB_PORT", settings.web_host, settings.web_port)
    except SettingsRefused as error:
        sys.stderr.write(f"bidplane: {error}\n")
        raise SystemExit(EXIT_SETTINGS) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asyncio.run(_until_ready(settings))
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    # Late: building the application opens nothing, but imports Faust, which takes a second.
    import faust  # noqa: PLC0415

    from bidplane_streams.app import app  # noqa: PLC0415

    interpreter.settle()
    faust.Worker(app, loglevel="INFO").execute_from_commandline()


async def _until_ready(settings: settings_module.Settings) -> None:
    """Wait for Kafka with growing pauses, saying so now and then; then for Faust's topics."""
    pause_s, said_s = _FIRST_PAUSE_S, -_SAY_EVERY_S
    access = Access(settings.kafka, settings.security)
    while not await _answers(access):
        if time.monotonic() - said_s >= _SAY_EVERY_S:
            said_s = time.monotonic()
            log.warning("Kafka at %s does not answer: trying until it does", settings.kafka)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)
    conf = LaneConf(
        app_id=settings.app_id, name="start", access=access,
        instance=settings.instance, inputs=(registry.TELEMETRY.name,),
        outputs=(registry.USAGE.name,),
    )  # fmt: skip
    await readiness.topics(conf)


async def _answers(access: Access) -> bool:
    admin = clients.admin(access, "bidplane-worker")
    try:
        async with asyncio.timeout(_ATTEMPT_S):
            await admin.start()
            await admin.describe_cluster()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    return True
