"""The openb pod list becomes jobs by INTERFACES' rules, and a bad line is named."""

from __future__ import annotations

import os
import pathlib
from collections import Counter

import pytest

from bidplane_agents.errors import BadInput
from bidplane_loadtest import jobs, traces, workload

HEADER = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,"
    "deletion_time,scheduled_time\n"
)
GOOD = "p0,6000,12288,1,460,,LS,Running,10,70,10\n"


def write(folder: pathlib.Path, *lines: str) -> pathlib.Path:
    """A pod list with these lines below the header."""
    path = folder / "pods.csv"
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("milli", "shape"),
    [(1, "1g"), (142, "1g"), (143, "2g"), (285, "2g"), (286, "3g"), (428, "3g"), (429, "4g"),
     (571, "4g"), (572, "1"), (1000, "1")],
)  # fmt: skip
def test_a_share_of_a_gpu_rounds_up_to_the_next_slice(milli: int, shape: str) -> None:
    """Shares round up to 1g, 2g, 3g, 4g and then to a whole GPU."""
    assert traces.slice_of(milli) == shape


@pytest.mark.parametrize(("gpus", "shape"), [(2, "2"), (3, "4"), (4, "4"), (5, "8"), (8, "8")])
def test_whole_gpus_round_up(tmp_path: pathlib.Path, gpus: int, shape: str) -> None:
    """Whole GPUs round up to 2, 4 or 8."""
    line = f"p0,6000,12288,{gpus},1000,,LS,Running,10,70,\n"
    (job,) = traces.load(write(tmp_path, line)).jobs
    assert job.shape == shape


def test_pods_without_a_gpu_are_counted(tmp_path: pathlib.Path) -> None:
    """A pod without a GPU is no job, and the count says so."""
    found = traces.load(write(tmp_path, GOOD, "p1,6000,12288,0,0,,LS,Running,10,70,10\n"))
    assert [job.name for job in found.jobs] == ["p0"]
    assert found.skipped == {traces.NO_GPU: 1}


def test_jobs_come_in_order_of_arrival(tmp_path: pathlib.Path) -> None:
    """Jobs are sorted by creation, whatever the file's order."""
    early = GOOD.replace("p0", "p1").replace(",10,70,", ",5,70,")
    assert [job.name for job in traces.load(write(tmp_path, GOOD, early)).jobs] == ["p1", "p0"]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (GOOD.replace(",460,", ",x,"), "gpu_milli"),
        (GOOD.replace(",460,", ",-1,"), "gpu_milli"),
        (GOOD.replace(",460,", ",,"), "gpu_milli"),
        (GOOD.replace(",460,", ",1001,"), "gpu_milli"),
        (GOOD.replace(",460,", ",0,"), "gpu_milli"),
        (GOOD.replace(",1,460", ",9,1000"), "num_gpu"),
        (GOOD.replace(",LS,", ",ls,"), "qos"),
        (GOOD.replace(",10,70,", ",10,9,"), "deletion_time"),
        (GOOD.replace(",10,70,", ",10.5,70,"), "creation_time"),
        ("p0,6000\n", "num_gpu"),
        (GOOD.rstrip("\n") + ",more\n", "+"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(tmp_path: pathlib.Path, line: str, field: str) -> None:
    """A line that cannot be used is refused with file, line and field, as bad input (exit 2)."""
    path = write(tmp_path, GOOD, line)
    with pytest.raises(traces.TraceUnusable) as caught:
        traces.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, line 3, field {field}: ")
    assert "\n" not in text
    assert caught.value.exit_code == BadInput.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\n", HEADER.encode(), b'"\n'])
def test_a_file_that_is_no_pod_list_is_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    """Empty, foreign, undecodable or job-less files are refused in one line."""
    path = tmp_path / "pods.csv"
    path.write_bytes(content)
    with pytest.raises(traces.TraceUnusable, match=r"pods\.csv"):
        traces.load(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    """A path that cannot be read is refused in one line."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(traces.TraceUnusable, match="name a pod list"):
            traces.load(path)


def test_the_public_trace_has_the_shape_that_the_seeded_workload_draws(
    tmp_path: pathlib.Path,
) -> None:
    """The marginals written down are those of the trace; without it, the draw is held to them."""
    folder = os.environ.get("BIDPLANE_TRACES")
    wanted = {shape: sum(by_qos.values()) for shape, by_qos in workload.COUNTS.items()}
    assert sum(wanted.values()) == workload.PODS
    if folder is None:
        drawn = Counter(job.shape for job in workload.draw(1).jobs)
        for shape, count in wanted.items():
            assert abs(drawn[shape] - count) < 5 * count**0.5 + 1
        return
    path = pathlib.Path(folder) / "openb" / "openb_pod_list_default.csv"
    assert path.is_file(), f"BIDPLANE_TRACES is set, but there is no {path}"
    found = traces.load(path)
    assert Counter(job.shape for job in found.jobs) == wanted
    assert found.skipped == {traces.NO_GPU: 1088}
    for shape, figures in workload.DURATIONS_S.items():
        ordered = sorted(job.duration_s for job in found.jobs if job.shape == shape)
        assert ordered[len(ordered) // 2] == figures[3]


def test_compression_states_what_it_does() -> None:
    """Sampling is even, order is kept, leases are bounded, and the figures add up."""
    drawn = workload.draw(3, 2000).jobs
    packed = jobs.compress(drawn, span_ms=60_000, wanted_gpu_ms=7 * 8 * 60_000 * 10)
    assert packed.taken + packed.left_out == len(drawn)
    assert packed.taken == len(packed.arrivals) > 100
    times = [one.at_ms for one in packed.arrivals]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] <= 60_000
    lengths = [one.duration_ms for one in packed.arrivals]
    assert min(lengths) >= jobs.DURATION_MIN_MS
    assert max(lengths) <= jobs.DURATION_MAX_MS
    assert packed.shortened == sum(
        one.job.duration_s * 1000 // jobs.DURATION_FACTOR > jobs.DURATION_MAX_MS
        for one in packed.arrivals
    )


def test_nothing_wanted_takes_nothing() -> None:
    """Without jobs, or without room, there are no arrivals and nothing fails."""
    assert jobs.compress((), span_ms=1000, wanted_gpu_ms=1).taken == 0
    drawn = workload.draw(3, 10).jobs
    assert jobs.compress(drawn, span_ms=1000, wanted_gpu_ms=0).left_out == 10


def test_a_small_trace_is_taken_whole() -> None:
    """Where the jobs want less than there is room for, each is taken once."""
    drawn = workload.draw(3, 10).jobs
    packed = jobs.compress(drawn, span_ms=60_000, wanted_gpu_ms=10**12)
    assert [one.job for one in packed.arrivals] == list(drawn)
