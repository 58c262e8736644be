"""Web views in JSON: where the lanes stand, what the last rounds were; and the probes' pages.

Decides addresses and shapes. Refuses to read Kafka: whoever runs hands over functions that know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

import faust
import msgspec

from bidplane_streams.processors import pages

_LIMIT: Final = 20
_LIMIT_MAX: Final = 100

Answer = Callable[[], tuple[int, str]]
Lanes = Callable[[], Mapping[str, Any]]
Rounds = Callable[[int], Mapping[str, Any]]


def attach(app: faust.App, lanes: Lanes, rounds: Rounds) -> None:
    """Add ``/lanes`` and ``/rounds?market=M&limit=N`` to ``app``."""

    @app.page("/lanes")  # type: ignore[untyped-decorator, unused-ignore]
    async def show_lanes(view: Any, request: Any) -> Any:
        """Partitions open, positions, waiting records, last commits."""
        del request
        return view.json(lanes())

    @app.page("/rounds")  # type: ignore[untyped-decorator, unused-ignore]
    async def show_rounds(view: Any, request: Any) -> Any:
        """The last rounds per market, newest first."""
        text = request.query.get("limit", str(_LIMIT))
        limit = min(int(text), _LIMIT_MAX) if text.isdecimal() else _LIMIT
        found = rounds(limit)
        if (market := request.query.get("market")) is not None:
            found = {market: found.get(market, [])}
        return view.json(msgspec.to_builtins(found))


def attach_models(app: faust.App, models: Mapping[str, pages.Model]) -> None:
    """Add a page for each read model at its address; the query is the model's to understand."""
    for path, model in models.items():
        _attach_model(app, path, model)


def _attach_model(app: faust.App, path: str, model: pages.Model) -> None:
    @app.page(path)  # type: ignore[untyped-decorator, unused-ignore]
    async def show(view: Any, request: Any) -> Any:
        """What the model knows."""
        known = model.view(request.query)
        return view.json(await known if inspect.isawaitable(known) else known)


def attach_probes(app: faust.App, live: Answer, ready: Answer) -> None:
    """Add ``/livez`` and ``/readyz`` to ``app``: a status and a line that says why."""

    @app.page("/livez")  # type: ignore[untyped-decorator, unused-ignore]
    async def show_live(view: Any, request: Any) -> Any:
        """Whether the event loop turns."""
        del request
        status, words = live()
        return view.text(f"{words}\n", status=status)

    @app.page("/readyz")  # type: ignore[untyped-decorator, unused-ignore]
    async def show_ready(view: Any, request: Any) -> Any:
        """Whether every lane has opened what it was given."""
        del request
        status, words = ready()
        return view.text(f"{words}\n", status=status)
