"""What a Prometheus says to all questions of a dashboard: panels, variables, annotations.

Decides the order of questions and that a failed one spoils its own panel alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from bidplane_loadtest.preview import asking, boards, filling

AT_ONCE: Final = 8
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """Series of one expression, or the server's refusal."""

    series: tuple[asking.Series, ...] = ()
    refusal: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """A dashboard with its answers."""

    board: boards.Board
    span: filling.Span
    options: Mapping[str, Sequence[str]]
    refused: Mapping[str, str]
    chosen: Mapping[str, Sequence[str]]
    panels: Mapping[int, tuple[Answer, ...]]
    marks: Mapping[str, Answer]


async def asked(
    server: asking.Prometheus,
    board: boards.Board,
    span: filling.Span,
    chosen: Mapping[str, Sequence[str]],
) -> Answered:
    """Ask everything.

    Raises:
        Unreachable: the server does not answer at all.
    """
    options: dict[str, Sequence[str]] = {}
    refused: dict[str, str] = {}
    for variable in board.variables:
        if variable.query:
            found, said = await _or_refusal(server.values_of(variable.query, span), [])
            options[variable.name] = found
            refused |= {variable.name: said} if said else {}
    values = {
        one.name: filling.chosen_value(one, chosen.get(one.name, ())) for one in board.variables
    }
    ask = _asker(server, span, values)
    shown = [one for one in board.panels if one.kind != "row"]
    answers = await asyncio.gather(
        *(asyncio.gather(*(ask(query) for query in panel.queries)) for panel in shown)
    )
    marks = await asyncio.gather(
        *(ask(boards.Query("", mark.expr, mark.title, instant=False)) for mark in board.marks)
    )
    return Answered(
        board=board,
        span=span,
        options=options,
        refused=refused,
        chosen=chosen,
        panels={panel.number: tuple(said) for panel, said in zip(shown, answers, strict=True)},
        marks={mark.name: said for mark, said in zip(board.marks, marks, strict=True)},
    )


def _asker(
    server: asking.Prometheus, span: filling.Span, values: Mapping[str, str]
) -> Callable[[boards.Query], Awaitable[Answer]]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(query: boards.Query) -> Answer:
        expr = filling.filled(query.expr, span, values)
        question = server.now(expr, span.end_s) if query.instant else server.over(expr, span)
        async with slots:
            series, refusal = await _or_refusal(question, [])
        return Answer(tuple(one for one in series if one.points), refusal)

    return ask


async def _or_refusal(question: Awaitable[T], nothing: T) -> tuple[T, str]:
    try:
        return await question, ""
    except asking.QueryFailed as error:
        return nothing, str(error)
