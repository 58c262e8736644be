"""How benchmarks print: figures by name, or rates with the ratio to the first of their group."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import rich.console
import rich.table

from bidplane_topics import codec


class Row(NamedTuple):
    """A step of a group, and how many of the group's things it does in a CPU-second."""

    group: str
    step: str
    per_cpu_s: float


def show(title: str, rows: Sequence[Row], *, as_json: bool) -> None:
    """Print on stdout."""
    first: dict[str, float] = {}
    listed = [
        {
            "group": row.group, "step": row.step, "per_cpu_s": round(row.per_cpu_s),
            "ratio": round(row.per_cpu_s / first.setdefault(row.group, row.per_cpu_s), 2),
        }
        for row in rows
    ]  # fmt: skip
    if as_json:
        sys.stdout.write(codec.pretty(listed) + "\n")
        return
    table = rich.table.Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("group", "step", "per CPU-second", "ratio"):
        table.add_column(name, justify="left" if name in ("group", "step") else "right")
    for one in listed:
        table.add_row(
            *(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in one.values())
        )
    rich.console.Console().print(table)


def show_figures(found: Sequence[Any], *, as_json: bool) -> None:
    """Print structs on stdout, a line for each field and an empty line after each struct."""
    if as_json:
        sys.stdout.write(codec.pretty(found) + "\n")
        return
    for one in found:
        sys.stdout.writelines(
            f"{name}: {value}\n" for name, value in msgspec.structs.asdict(one).items()
        )
        sys.stdout.write("\n")
