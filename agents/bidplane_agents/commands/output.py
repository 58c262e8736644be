"""Printing: results on stdout, as tables for people or JSON for pipes; all else on stderr."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

import rich.console
import rich.table
import rich.text

from bidplane_topics import codec

Result = TypeVar("Result")

# So wide that a table in a pipe is never folded or cut.
_PIPE: Final = 400


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` to its end. Kafka's client would log every retry: our errors say it once."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return asyncio.run(work)


def json(value: object) -> None:
    """A result for a pipe."""
    line(codec.pretty(value))


def json_line(value: object) -> None:
    """One of a stream of results."""
    line(codec.canonical(value).decode())


def line(text: str) -> None:
    """A line of results, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Progress, for a person."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A result for a person; numbers belong to the right, so name such columns with a leading >."""
    width = None if sys.stdout.isatty() else _PIPE
    grid = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        grid.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        grid.add_row(*(rich.text.Text(cell) for cell in row))
    rich.console.Console(width=width, markup=False, highlight=False).print(grid)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    listed = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        line(f"{name.ljust(width)}  {value}")
