"""Charts along the time of a run: rates, lateness, latencies, lag, clearing, CPU, memory.

Decides what each shows. Every one marks phases and faults. Refuses to compute figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bidplane_loadtest.load import canvas
from bidplane_loadtest.load.result import Result

SHOWN_MOST: Final = 9
NAMES: Final = ("p50", "p99", "p999", "max")
Points = Sequence[tuple[float, float]]


def marked(axes: Any, whole: Result, *, named: bool = False) -> None:
    """Boundaries of phases as dotted lines, faults as red bands; words on the first chart."""
    end_s = len(whole.course.offered)
    axes.set_xlim(0, end_s)
    axes.set_xlabel("seconds since the begin")
    top = axes.get_xaxis_transform()
    for one in whole.phases:
        axes.axvline(one.begin_s, color=canvas.GREY, linewidth=0.7, linestyle=":")
        if named:
            axes.text(one.begin_s, 1.0, f" {one.name}", fontsize=7, color=canvas.GREY,
                      transform=top, va="bottom")  # fmt: skip
    for fault in whole.faults:
        late_s = max(fault.ended_s, fault.at_s + 0.3)
        axes.axvspan(fault.at_s, late_s, color=canvas.RED, alpha=0.25, linewidth=0)
        if named:
            axes.text(fault.at_s, 0.93, f" {fault.name}", fontsize=7, color=canvas.RED,
                      transform=top, va="top")  # fmt: skip


def rates(whole: Result) -> str:
    """Offered, sent and answered. Answers come in rounds, so they are a mean over whole windows."""

    def draw(axes: Any) -> None:
        course = whole.course
        seconds = range(len(course.offered))
        axes.step(seconds, course.offered, where="post", color=canvas.GREY, label="offered",
                  linewidth=3, alpha=0.45)  # fmt: skip
        axes.step(seconds, course.sent, where="post", color=canvas.COLOURS[0], label="sent",
                  linewidth=1.2)  # fmt: skip
        axes.step(seconds, course.admitted, where="post", color=canvas.COLOURS[1],
                  label="admitted", linewidth=1.0)  # fmt: skip
        width = max(1, -(-whole.window_ms // 1000))
        axes.plot(seconds, _mean_of(course.answered, width), color=canvas.COLOURS[2],
                  label=f"answered\n(mean of {width} s)", linewidth=1.5)  # fmt: skip
        axes.set_ylabel("bids a second")
        axes.set_ylim(bottom=0)
        marked(axes, whole, named=True)
        canvas.legend(axes)

    return canvas.svg("rates", draw, 3.3)


def _mean_of(values: Sequence[int], width: int) -> list[float]:
    """The mean of each value and those before it, ``width`` in all."""
    parts = [values[max(0, at + 1 - width) : at + 1] for at in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def lateness(whole: Result) -> str:
    """How late the generator sent, and how much it had not sent yet."""

    def draw(axes: Any) -> None:
        course = whole.course
        seconds = range(len(course.offered))
        axes.plot(seconds, course.lag_ms, color=canvas.COLOURS[0], linewidth=1.3)
        axes.set_ylabel("latest send, ms", color=canvas.COLOURS[0])
        axes.set_ylim(bottom=0)
        other = axes.twinx()
        other.spines["right"].set_visible(True)
        other.step(seconds, course.unsent, where="post", color=canvas.COLOURS[3], linewidth=1.0)
        other.set_ylabel("bids due and unsent", color=canvas.COLOURS[3])
        other.set_ylim(0, max(4, *course.unsent) * 1.1)
        other.grid(visible=False)
        marked(axes, whole)

    return canvas.svg("lateness", draw)


def latencies(whole: Result, name: str, words: str) -> str:
    """p50, p99, p99.9 and the slowest of the bids that were due in each second."""

    def draw(axes: Any) -> None:
        course = whole.course.latency_ms[name]
        colours = (canvas.COLOURS[2], canvas.COLOURS[0], canvas.COLOURS[1], canvas.COLOURS[3])
        for key, colour in zip(NAMES, colours, strict=True):
            points = [(at, value) for at, value in enumerate(course[key]) if value is not None]
            canvas.line(axes, points, "p99.9" if key == "p999" else key, colour)
        axes.set_yscale("log")
        canvas.plain_numbers(axes.yaxis)
        axes.set_ylabel(words)
        if name == "beyond_close":
            axes.axhline(whole.window_ms, color=canvas.GREY, linewidth=0.9, linestyle="--")
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg(name.replace("_", ""), draw, 3.2)


def lag(whole: Result) -> str:
    """Records that lanes have not applied."""

    def draw(axes: Any) -> None:
        if not whole.beside.lag:
            canvas.nothing(axes, "no metrics of the workers could be read")
            return
        for number, (lane, points) in enumerate(sorted(whole.beside.lag.items())):
            canvas.line(axes, points, lane, canvas.COLOURS[number % len(canvas.COLOURS)])
        axes.set_ylabel("records not applied")
        axes.set_ylim(bottom=0)
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg("lag", draw)


def clearing(whole: Result) -> str:
    """How long a clearing takes, against the window's length."""

    def draw(axes: Any) -> None:
        if not whole.beside.clearing_ms:
            canvas.nothing(axes, "no metrics of the workers could be read")
            return
        canvas.line(axes, whole.beside.clearing_ms, "clearing", canvas.COLOURS[0])
        axes.axhline(whole.window_ms, color=canvas.RED, linewidth=1.2, label="the window")
        axes.set_yscale("log")
        canvas.plain_numbers(axes.yaxis)
        axes.set_ylabel("ms")
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg("clearing", draw)


def rounds(whole: Result) -> str:
    """Orders and awards of each round."""

    def draw(axes: Any) -> None:
        if not whole.beside.rounds:
            canvas.nothing(axes, "no round was seen")
            return
        at_s = [one[0] for one in whole.beside.rounds]
        width = max(0.2, whole.window_ms / 1000 * 0.8)
        for column, label, colour in (
            (1, "orders", canvas.COLOURS[5]), (2, "awarded", canvas.COLOURS[2]),
        ):  # fmt: skip
            counts = [one[column] for one in whole.beside.rounds]
            axes.bar(at_s, counts, width=width, color=colour, label=label)
        axes.set_ylabel("in a round")
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg("rounds", draw)


def cores(whole: Result) -> str:
    """CPU of each process, and the whole machine."""

    def draw(axes: Any) -> None:
        _by_process(axes, whole.beside.cpu)
        points = [(at, value * whole.machine.cpus) for at, value in whole.beside.machine]
        axes.plot(*zip(*points, strict=True), color="#000000", linewidth=1.0, linestyle="--",
                  label="the machine") if points else None  # fmt: skip
        axes.axhline(whole.machine.cpus, color=canvas.RED, linewidth=0.8)
        axes.set_ylabel(f"cores (of {whole.machine.cpus})")
        axes.set_ylim(0, whole.machine.cpus * 1.05)
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg("cores", draw, 3.4)


def memory(whole: Result) -> str:
    """Resident memory of each process."""

    def draw(axes: Any) -> None:
        _by_process(axes, whole.beside.rss_mib)
        axes.set_ylabel("resident MiB")
        axes.set_ylim(bottom=0)
        marked(axes, whole)
        canvas.legend(axes)

    return canvas.svg("memory", draw, 3.4)


def _by_process(axes: Any, courses: Mapping[str, Points]) -> None:
    """The processes that have most, by their means; the rest is left out and said so."""

    def mean(name: str) -> float:
        return sum(value for _, value in courses[name]) / max(1, len(courses[name]))

    listed = sorted((name for name in courses if courses[name]), key=mean, reverse=True)
    if not listed:
        canvas.nothing(axes, "no process of the system could be seen from here")
        return
    for number, name in enumerate(listed[:SHOWN_MOST]):
        canvas.line(axes, courses[name], name, canvas.COLOURS[number % len(canvas.COLOURS)])
    if len(listed) > SHOWN_MOST:
        axes.plot([], [], " ", label=f"({len(listed) - SHOWN_MOST} smaller ones)")
