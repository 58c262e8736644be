"""What a reader asked for, held against what there is: variables, values, addresses.

Decides what is an error and what only a note. Refuses to ask a Prometheus.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Sequence

from bidplane_agents.errors import BadInput
from bidplane_loadtest.preview import answers, boards


def address(url: str) -> str:
    """The base URL of a Prometheus.

    Raises:
        BadInput: it is no address of a web server.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise BadInput(f"--prometheus {url}: give a URL such as http://127.0.0.1:9090")
    return url


def variables(given: Iterable[str], found: Iterable[boards.Board]) -> dict[str, list[str]]:
    """Values by variable from words NAME=VALUE.

    Raises:
        BadInput: a word has another form, or none of the dashboards has such a variable.
    """
    known = sorted({one.name for board in found for one in board.variables})
    chosen: dict[str, list[str]] = {}
    for word in given:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise BadInput(f"--var {word}: give NAME=VALUE")
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "this dashboard has none"
            raise BadInput(f"--var {word}: no such variable: {there}")
        chosen.setdefault(name, []).append(value)
    return chosen


def strange_values(told: answers.Answered) -> list[str]:
    """A note on each value that Prometheus does not have for a variable."""
    return [
        _strange(name, value, options)
        for name, options in told.options.items()
        if name not in told.refused
        for value in told.chosen.get(name, ())
        if value and value != boards.ALL and value not in options
    ]


def _strange(name: str, value: str, options: Sequence[str]) -> str:
    there = f"there are {', '.join(options)}" if options else "there are none"
    return f"note: {name}={value}: Prometheus has no such value in the time asked about: {there}"
