"""`bidplane clear FILE`: clear one instance offline, with the very core that the lanes run.

Decides how the file is read and the result printed. Refuses to need a server.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated, NoReturn

import typer

from bidplane_agents import durations
from bidplane_agents.errors import BadInput
from bidplane_streams.market import clearing, optimum
from bidplane_topics import codec, errors, instances

_LIMIT_MOST_MS = 3_600_000


def clear(
    file: Annotated[
        pathlib.Path, typer.Argument(help="A clearing instance in JSON; - reads standard input.")
    ],
    rule: Annotated[
        str, typer.Option(help=f"Who wins and pays what: {', '.join(clearing.RULES)}.")
    ] = "greedy",
    bound: Annotated[
        bool, typer.Option("--bound", help="Show the LP bound on the surplus beside what it is.")
    ] = False,
    limit: Annotated[
        str, typer.Option(help="How long the rule exact may look for a proof.")
    ] = "10s",
    as_json: Annotated[
        bool, typer.Option("--json", help="The result is JSON anyway; accepted for symmetry.")
    ] = True,
) -> None:
    """Clear one instance offline: who wins which devices, and what they pay.

    Example: bidplane clear round.json --rule exact --bound
    """
    del as_json
    if rule not in clearing.RULES:
        _fail(f"--rule {rule!r}: choose one of {', '.join(clearing.RULES)}")
    limit_ms = durations.within("--limit", durations.parse_ms("--limit", limit), 0, _LIMIT_MOST_MS)
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        instance = instances.decode_instance(raw)
    except OSError as error:
        _fail(f"{file}: {error.strerror}: name a file with a clearing instance")
    except errors.ContractError as error:
        _fail(f"{file}: {error}")
    if bound or rule == optimum.RULE:
        result = _solved(instance, rule, limit_ms, bound=bound)
    else:
        result = clearing.clear(instance, rule)
    typer.echo(codec.pretty(result))


def _solved(
    instance: instances.Instance, rule: str, limit_ms: int, *, bound: bool
) -> instances.Result:
    # Late: only these need the solver and the compiled clearing beside it.
    from bidplane_streams.exact import solving  # noqa: PLC0415

    if not solving.is_there():
        _fail("exact and --bound need the solver: pip install 'bidplane[streams]'")
    exact = rule == optimum.RULE
    result = solving.clear(instance, limit_ms) if exact else clearing.clear(instance, rule)
    return solving.bounded(instance, result) if bound else result


def _fail(sentence: str) -> NoReturn:
    raise BadInput(sentence)
