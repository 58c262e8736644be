"""Questions to a Prometheus over HTTP.

Decides timeouts and what counts as a refusal. Refuses to know dashboards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp

from bidplane_agents.errors import Unreachable
from bidplane_loadtest.preview import filling

TIMEOUT_S: Final = 20.0
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DEFAULT_SCRAPE_S: Final = 15.0


class QueryFailed(Exception):
    """Prometheus refused an expression; its own words."""


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """One series: labels, and (second, value) in order; what is no number is left out."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class Prometheus:
    """One server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        """``url`` is its base."""
        self.url = url.rstrip("/")
        self._session = session

    async def _get(self, path: str, more: Mapping[str, str | float]) -> Any:
        query = {name: str(value) for name, value in more.items()}
        try:
            async with self._session.post(f"{self.url}{path}", data=query) as answer:
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            told = f"Prometheus at {self.url} does not answer ({type(error).__name__}): is it up?"
            raise Unreachable(told) from error
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error", body) if isinstance(body, dict) else body
            raise QueryFailed(str(said))
        return body["data"]

    async def over(self, expr: str, span: filling.Span) -> list[Series]:
        """The expression over the time shown."""
        asked: dict[str, str | float] = {
            "query": expr,
            "start": span.begin_s,
            "end": span.end_s,
            "step": f"{span.step_s:.3f}",
        }
        data = await self._get("/api/v1/query_range", asked)
        return [Series(one["metric"], _points(one["values"])) for one in data["result"]]

    async def now(self, expr: str, at_s: float) -> list[Series]:
        """The expression at one moment."""
        data = await self._get("/api/v1/query", {"query": expr, "time": at_s})
        if data["resultType"] == "scalar":
            return [Series({}, _points([data["result"]]))]
        return [Series(one["metric"], _points([one["value"]])) for one in data["result"]]

    async def values_of(self, query: str, span: filling.Span) -> list[str]:
        """The answer to Grafana's ``label_values(metric, label)``.

        Raises:
            QueryFailed: it is another question.
        """
        asked = re.fullmatch(r"label_values\((.+),\s*(\w+)\)", query)
        if asked is None:
            raise QueryFailed(f"{query}: the preview knows label_values(metric, label) alone")
        metric, label = asked[1], asked[2]
        found = await self.over(f"group by ({label}) ({metric})", span)
        return sorted({one.labels[label] for one in found if one.labels.get(label)})

    async def scrape_s(self) -> float:
        """How often it scrapes, by its settings."""
        try:
            async with self._session.get(f"{self.url}/api/v1/status/config") as answer:
                body = await answer.json(content_type=None)
            found = re.search(r"scrape_interval: (\d+)(ms|s|m|h)\b", body["data"]["yaml"])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as bad:
            told = f"{self.url} does not answer like a Prometheus ({type(bad).__name__}): is it up?"
            raise Unreachable(told) from bad
        return int(found[1]) * _SECONDS[found[2]] if found else DEFAULT_SCRAPE_S


def _points(raw: list[list[Any]]) -> tuple[tuple[float, float], ...]:
    read = ((float(at), float(value)) for at, value in raw)
    return tuple((at, value) for at, value in read if not math.isnan(value))


@contextlib.asynccontextmanager
async def reached(url: str) -> AsyncIterator[Prometheus]:
    """A client of the server."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=limit) as session:
        yield Prometheus(session, url)
