"""The auditor's command: it is loaded only when asked for."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from bidplane_agents import connection as connections
from bidplane_agents import errors
from bidplane_agents.commands import options, output

_AUDITOR = "bidplane_agents.audit.command"
_RECEIPTS = "bidplane_agents.audit.receipt_command"


def audit(
    *,
    receipt: Annotated[
        Path | None,
        typer.Option(help="Check a receipt offline; with --kafka also against the round."),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Keep a copy of the log in this file.")] = None,
    load: Annotated[Path | None, typer.Option(help="Audit such a copy, without Kafka.")] = None,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Recompute every round, balance and promise from the log alone; 5 if one is broken.

    With --receipt: check what a round's receipt says and that it leads to its root.
    """
    if importlib.util.find_spec(_AUDITOR) is None:
        raise errors.BadInput("this installation holds no auditor: install the whole of bidplane")
    if receipt is not None:
        if save is not None or load is not None:
            raise errors.BadInput("--receipt needs no log: leave --save and --load out")
        # Offline unless Kafka is named here: a receipt must not need the market that issued it.
        reached = connections.from_environment(kafka, directory) if kafka else None
        code: int = importlib.import_module(_RECEIPTS).run(str(receipt), reached, as_json)
        return code
    bootstrap = ""
    if load is None:
        connection = connections.from_environment(kafka, directory)
        output.run(_reachable(connection))
        bootstrap = connection.bootstrap
    files = {name: str(path) for name, path in (("save", save), ("load", load)) if path}
    verdict: int = importlib.import_module(_AUDITOR).run(bootstrap, as_json, **files)
    return verdict


async def _reachable(connection: connections.Connection) -> None:
    """An unreachable Kafka is our one-line error, not the auditor's trouble."""
    async with connection.administered():
        pass
