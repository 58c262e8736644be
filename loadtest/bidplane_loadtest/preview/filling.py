"""Variables in expressions, as Grafana fills them in.

Decides intervals and how several chosen values become one regular expression. Refuses to know
panels and servers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Final

from bidplane_loadtest.preview import boards

POINTS: Final = 240
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_SPECIAL: Final = re.compile(r"[\\$^*{}\[\]+?.()|]")
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """The time shown, in seconds since the epoch, and how often its targets are scraped."""

    begin_s: float
    end_s: float
    scrape_s: float

    @property
    def step_s(self) -> float:
        """Grafana's $__interval: a point for every few pixels, never closer than scrapes."""
        return max((self.end_s - self.begin_s) / POINTS, self.scrape_s)

    @property
    def rate_s(self) -> float:
        """Grafana's $__rate_interval: wide enough that a rate always has two samples."""
        return max(self.step_s + self.scrape_s, 4 * self.scrape_s)


def filled(expr: str, span: Span, chosen: Mapping[str, str]) -> str:
    """The expression as it is asked; names that nobody knows stay as they are."""
    known = {
        "__interval": _duration(span.step_s),
        "__rate_interval": _duration(span.rate_s),
        "__range": _duration(span.end_s - span.begin_s),
        **chosen,
    }
    return _VARIABLE.sub(lambda hit: known.get(hit[1] or hit[2], hit[0]), expr)


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def chosen_value(variable: boards.Variable, values: Sequence[str]) -> str:
    """What stands for the values that a reader chose; none or all of them: the variable's own."""
    real = [one for one in values if one]
    if not variable.query:
        return real[0] if real else variable.default
    if not real or boards.ALL in real:
        return variable.all_value or ".*"
    quoted = [_SPECIAL.sub(r"\\\\\g<0>", one) for one in real]
    return quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})"


def legend(form: str, labels: Mapping[str, str]) -> str:
    """A series' name."""
    if form:
        return _LABEL.sub(lambda hit: labels.get(hit[1], ""), form).strip() or "-"
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items())) or "value"
