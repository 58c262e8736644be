"""The openb pod list (Alibaba cluster-trace-gpu-v2023) as jobs.

Decides which shape a pod wants: a share of a GPU rounds up to 1g, 2g, 3g, 4g or 1, whole GPUs to 1,
2, 4 or 8. Pods without a GPU are skipped and counted; a line that cannot be used is an error.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator
from typing import Final, NoReturn

import msgspec

from bidplane_agents.errors import BadInput
from bidplane_loadtest.jobs import Job, Qos, Workload
from bidplane_topics.bids import Shape

COLUMNS: Final = ("name", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time")
NO_GPU: Final = "pods without a GPU"
_SLICES: Final[tuple[Shape, ...]] = ("1g", "2g", "3g", "4g")
_WHOLE: Final[tuple[tuple[int, Shape], ...]] = ((1, "1"), (2, "2"), (4, "4"), (8, "8"))
_MILLI_PER_GPU: Final = 1000


class TraceUnusable(BadInput):
    """A trace that cannot be read; says file, line, field and the mend."""


class _Line:
    """One line of the file, which knows how to complain about its fields."""

    def __init__(self, path: pathlib.Path, number: int, row: dict[str, str]) -> None:
        self.path, self.number, self.row = path, number, row

    def refuse(self, field: str, why: str) -> NoReturn:
        raise TraceUnusable(f"{self.path}, line {self.number}, field {field}: {why}")

    def integer(self, field: str) -> int:
        text = self.row[field]
        if not text.isascii() or not text.isdigit():
            self.refuse(field, f"{text!r} is no whole number of 0 or more")
        return int(text)

    def qos(self) -> Qos:
        try:
            found: Qos = msgspec.convert(self.row["qos"], Qos)
        except msgspec.ValidationError:
            self.refuse("qos", f"{self.row['qos']!r} is none of LS, BE, Burstable, Guaranteed")
        return found


def load(path: pathlib.Path) -> Workload:
    """Read a pod list.

    Raises:
        TraceUnusable: no such file, no such columns, or a field that cannot be used.
    """
    jobs: list[Job] = []
    without_gpu = 0
    for line in _lines(path):
        job = _job(line)
        if job is None:
            without_gpu += 1
        else:
            jobs.append(job)
    if not jobs:
        raise TraceUnusable(f"{path}: no pod with a GPU in it: give the openb pod list")
    jobs.sort(key=lambda job: (job.created_s, job.name))
    return Workload(source=str(path), jobs=tuple(jobs), skipped={NO_GPU: without_gpu})


def _lines(path: pathlib.Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, strict=True, restkey="+", restval="")
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise TraceUnusable(
                    f"{path}, line 1, field {missing[0]}: no such column: give the openb pod list"
                )
            for row in rows:
                line = _Line(path, rows.line_num, row)
                if "+" in row:
                    line.refuse("+", "more fields than columns")
                yield line
    except OSError as error:
        raise TraceUnusable(
            f"{path}: {error.strerror}: name a pod list that can be read"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise TraceUnusable(f"{path}: is no CSV file in UTF-8 ({error})") from error


def _job(line: _Line) -> Job | None:
    gpus, milli = line.integer("num_gpu"), line.integer("gpu_milli")
    created_s, deleted_s = line.integer("creation_time"), line.integer("deletion_time")
    if deleted_s < created_s:
        line.refuse("deletion_time", f"{deleted_s} is before creation_time {created_s}")
    if gpus == 0:
        return None
    return Job(
        name=line.row["name"], shape=_shape(line, gpus, milli), qos=line.qos(),
        created_s=created_s, duration_s=deleted_s - created_s,
    )  # fmt: skip


def _shape(line: _Line, gpus: int, milli: int) -> Shape:
    if not 1 <= milli <= _MILLI_PER_GPU:
        line.refuse("gpu_milli", f"{milli}: a pod with a GPU wants 1 to {_MILLI_PER_GPU} of each")
    if gpus == 1:
        return slice_of(milli)
    if gpus > _WHOLE[-1][0]:
        line.refuse("num_gpu", f"{gpus}: more than the 8 devices of a node")
    return next(shape for count, shape in _WHOLE if gpus <= count)


def slice_of(gpu_milli: int) -> Shape:
    """The least shape that holds ``gpu_milli`` thousandths of one GPU."""
    for sevenths, shape in enumerate(_SLICES, start=1):
        if gpu_milli * 7 <= sevenths * _MILLI_PER_GPU:
            return shape
    return "1"
