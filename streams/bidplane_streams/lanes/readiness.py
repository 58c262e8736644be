"""Whether the topics of a lane are there, in the counts that a lane needs.

Decides when a lane may join its group. Refuses to create topics: ``bidplane topics apply`` does.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from bidplane_streams.errors import LaneError
from bidplane_streams.lanes import clients
from bidplane_streams.lanes.conf import LaneConf

log = logging.getLogger(__name__)

_PAUSE_S = 0.5


async def topics(conf: LaneConf) -> dict[str, int]:
    """Wait until every topic of the lane exists; return their partition counts.

    Raises:
        LaneError: their partition counts do not fit together.
    """
    wanted = {*conf.inputs, *conf.globals_, *conf.outputs, conf.changelog} - {""}
    counts = await existing(conf, sorted(wanted))
    _check_counts(conf, counts)
    return counts


async def existing(conf: LaneConf, wanted: list[str]) -> dict[str, int]:
    """Wait until these topics exist; their partition counts, whatever they are."""
    said = False
    admin = clients.admin(conf.access, f"{conf.group}-admin")
    await admin.start()
    try:
        while missing := _missing(found := await admin.describe_topics(wanted)):
            if not said:
                log.warning("%s waits for topics: %s", conf.group, ", ".join(missing))
            said = True
            await asyncio.sleep(_PAUSE_S)
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in found}


def _missing(found: list[dict[str, Any]]) -> list[str]:
    return [topic["topic"] for topic in found if topic["error_code"] != 0]


def _check_counts(conf: LaneConf, counts: dict[str, int]) -> None:
    partitioned = {counts[topic] for topic in (*conf.inputs, conf.changelog) if topic}
    if len(partitioned) != 1:
        raise LaneError(f"{conf.group}: inputs and changelog differ in partitions: {counts}")
    for topic in conf.globals_:
        if counts[topic] != 1:
            raise LaneError(f"{conf.group}: {topic} has {counts[topic]} partitions, not one")
