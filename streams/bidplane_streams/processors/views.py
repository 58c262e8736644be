"""Web views in JSON: where the lanes stand, what the last rounds were.

Decides addresses and shapes. Refuses to read Kafka: whoever runs hands over functions that know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import faust
import msgspec

_LIMIT: Final = 20
_LIMIT_MAX: Final = 100

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
