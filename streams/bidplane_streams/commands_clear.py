"""`bidplane clear FILE`: clear one instance offline, with the very core that the lanes run.

Decides how the file is read and the result printed. Refuses to need a server.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated, NoReturn

import typer

from bidplane_agents.errors import BadInput
from bidplane_streams.market import clearing, pricing
from bidplane_topics import codec, errors, instances


def clear(
    file: Annotated[
        pathlib.Path, typer.Argument(help="A clearing instance in JSON; - reads standard input.")
    ],
    rule: Annotated[
        str, typer.Option(help=f"How winners pay: {', '.join(pricing.PRICING)}.")
    ] = "greedy",
    as_json: Annotated[
        bool, typer.Option("--json", help="The result is JSON anyway; accepted for symmetry.")
    ] = True,
) -> None:
    """Clear one instance offline: who wins which devices, and what they pay."""
    del as_json
    if rule not in pricing.PRICING:
        _fail(f"--rule {rule!r}: choose one of {', '.join(pricing.PRICING)}")
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        instance = instances.decode_instance(raw)
    except OSError as error:
        _fail(f"{file}: {error.strerror}: name a file with a clearing instance")
    except errors.ContractError as error:
        _fail(f"{file}: {error}")
    typer.echo(codec.pretty(clearing.clear(instance, rule)))


def _fail(sentence: str) -> NoReturn:
    raise BadInput(sentence)
