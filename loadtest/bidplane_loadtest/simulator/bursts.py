"""Inference bursts of the Azure LLM trace beside training gangs.

Decides how an hour of requests becomes leases: tokens become seconds on a GPU at two stated rates,
and whatever a ten-second interval brings is served by as many short latency-sensitive jobs as it
takes. Gangs fill the rest of the load. The public trace is AzureLLMInferenceTrace_conv.csv (Patel
et al., ISCA 2024).
"""

from __future__ import annotations

import datetime as dt
import pathlib
import random
from typing import Final

from bidplane_loadtest.simulator import rows
from bidplane_loadtest.simulator.cluster import WHOLE, Request
from bidplane_loadtest.simulator.openb import Pod

COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
# Tokens that one GPU reads and writes in a second, requests one after another.
READ_PER_S: Final = 4000
WRITE_PER_S: Final = 200
INTERVAL_S: Final = 10
# A replica that is started serves for this long.
REPLICA_S: Final = 60
REPLICA: Final = Request(8_000, 30_517, 1, WHOLE)
SLICE: Final = Request(3_152, 5_600, 1, 420)
GANG: Final = Request(64_000, 262_144, 8, WHOLE)
GANG_S: Final = (900, 2400)


def pods(path: pathlib.Path, seed: int, milli: int) -> tuple[Pod, ...]:
    """Replicas and gangs in order of arrival; together they want ``milli`` thousandths of a GPU.

    Raises:
        TraceUnusable: no such file, no such column, or a field that cannot be used.
    """
    work = _intervals(path)
    found: list[Pod] = []
    for interval, busy_s in sorted(work.items()):
        whole, rest = divmod(busy_s, INTERVAL_S)
        at_s = interval * INTERVAL_S
        requests = [REPLICA] * int(whole) + [SLICE] * (1 if rest else 0)
        found += [
            Pod(f"replica-{at_s:05d}-{number:03d}", request, "LS", at_s, REPLICA_S)
            for number, request in enumerate(requests)
        ]
    span_s = (max(work, default=0) + 1) * INTERVAL_S
    wanted = milli * span_s - sum(pod.request.total_milli * pod.duration_s for pod in found)
    found += _gangs(random.Random(f"gangs {seed}"), wanted, span_s)
    return tuple(sorted(found, key=lambda pod: (pod.created_s, pod.name)))


def _intervals(path: pathlib.Path) -> dict[int, float]:
    """GPU-seconds that arrive in each interval since the first request."""
    work: dict[int, float] = {}
    first: dt.datetime | None = None
    for row in rows.read(path, COLUMNS, "the Azure LLM inference trace"):
        at = _moment(row)
        first = first or at
        if at < first:
            row.refuse("TIMESTAMP", "is before the line above: sort the file")
        busy_s = row.integer("ContextTokens") / READ_PER_S
        busy_s += row.integer("GeneratedTokens") / WRITE_PER_S
        interval = int((at - first).total_seconds()) // INTERVAL_S
        work[interval] = work.get(interval, 0.0) + busy_s
    return work


def _moment(row: rows.Row) -> dt.datetime:
    text = row.text("TIMESTAMP")
    try:  # seven digits of a second are one more than Python reads
        return dt.datetime.fromisoformat(text[:26]).replace(tzinfo=dt.UTC)
    except ValueError:
        row.refuse("TIMESTAMP", f"{text!r} is no time such as 2023-11-16 18:15:46.680590")


def _gangs(dice: random.Random, wanted: int, span_s: int) -> list[Pod]:
    found: list[Pod] = []
    while wanted > 0:
        long_s = dice.randint(*GANG_S)
        name = f"gang-{len(found):04d}"
        found.append(Pod(name, GANG, "BE", dice.randrange(span_s), long_s))
        wanted -= GANG.total_milli * long_s
    return found
