"""Which questions of dashboards and rules a Prometheus answers, and with how many series.

Decides what counts as a failed and as an empty answer. Whether an empty one is right is the
reader's to say.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import yaml

from bidplane_loadtest.preview import answers, asking, boards, choosing, filling

RULES: Final = pathlib.Path(__file__).parents[3] / "helm" / "bidplane" / "rules"


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One question: where it is asked, by whom, and what came back."""

    where: str
    what: str
    part: str
    series: int
    refusal: str

    @property
    def name(self) -> str:
        """What an allow-list calls it."""
        return f"{self.where}: {self.what}" + (f" [{self.part}]" if self.part else "")


async def checked(
    url: str,
    found: Iterable[boards.Board],
    rule_files: Iterable[pathlib.Path],
    minutes: float,
    chosen: Mapping[str, Sequence[str]],
    note: Callable[[str], object] = str,
) -> list[Line]:
    """Every query of every panel, variable, annotation and rule, asked once.

    ``note`` is told of values that nothing has.

    Raises:
        Unreachable: no Prometheus answers there.
    """
    lines: list[Line] = []
    strange: dict[str, None] = {}
    async with asking.reached(url) as server:
        end_s = time.time()
        span = filling.Span(end_s - 60 * minutes, end_s, await server.scrape_s())
        for board in found:
            told = await answers.asked(server, board, span, chosen)
            strange |= dict.fromkeys(choosing.strange_values(told))
            lines += _of_board(told)
        for file in rule_files:
            rules = _rules(file)
            lines += [await _of_rule(server, f"rules/{file.stem}", one, span) for one in rules]
    for one in strange:
        note(one)
    return lines


def _of_board(told: answers.Answered) -> list[Line]:
    name = told.board.name
    lines = [
        Line(name, f"variable {key}", "", len(values), told.refused.get(key, ""))
        for key, values in told.options.items()
    ]
    lines += [
        Line(name, f"annotation {key}", "", len(said.series), said.refusal)
        for key, said in told.marks.items()
    ]
    for panel in told.board.panels:
        for query, said in zip(panel.queries, told.panels.get(panel.number, ()), strict=True):
            part = query.legend if len(panel.queries) > 1 else ""
            lines.append(Line(name, panel.title, part, len(said.series), said.refusal))
    return lines


def _rules(file: pathlib.Path) -> list[dict[str, str]]:
    groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


async def _of_rule(
    server: asking.Prometheus, where: str, rule: Mapping[str, str], span: filling.Span
) -> Line:
    """A rule's expression over the time asked about."""
    kind = "record" if "record" in rule else "alert"
    try:
        count, refusal = len(await server.over(rule["expr"], span)), ""
    except asking.QueryFailed as error:
        count, refusal = 0, str(error)
    return Line(where, f"{kind} {rule[kind]}", "", count, refusal)
