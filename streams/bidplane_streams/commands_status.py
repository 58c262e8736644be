"""`bidplane down` and `status`: the system of a directory, and its end.

Decides what is shown. Refuses to know what a system consists of: state.json says.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated

import rich.console
import rich.table
import typer

from bidplane_streams.embedded import directory
from bidplane_topics import codec

Dir = Annotated[
    pathlib.Path, typer.Option("--dir", envvar="BIDPLANE_DIR", help="Where the system lives.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PIPE_COLUMNS = 400
PAGES = "/markets /leases /budgets /usage /dead-letters /lanes /rounds /metrics"


def down(dir_: Dir = pathlib.Path(".bidplane"), as_json: AsJson = False) -> None:
    """Stop the system of a directory; its data stays."""
    stopped = directory.Directory(dir_.absolute()).down()
    if as_json:
        typer.echo(codec.pretty({"stopped": stopped}))
    else:
        typer.echo("stopped" if stopped else f"nothing runs in {dir_}")


def status(dir_: Dir = pathlib.Path(".bidplane"), as_json: AsJson = False) -> None:
    """Say what runs, where, and how it is."""
    state = directory.Directory(dir_.absolute()).status()
    if as_json:
        typer.echo(codec.pretty(state or {"ready": False}))
        return
    if state is None:
        typer.echo(f"nothing runs in {dir_}: start it with `bidplane up --dir {dir_}`")
        return
    table = rich.table.Table("process", "pid", "up", "starts", "MiB", "log")
    total = 0
    for name, row in sorted(state["processes"].items()):
        total += row["rss_mib"]
        cells = (row["pid"], row["up"], row["starts"], row["rss_mib"], row["log"])
        table.add_row(name, *(str(cell) for cell in cells))
    # In a pipe a row is never cut or folded.
    rich.console.Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)
    known = ("kafka", "kubeconfig", "web", "market", "clusters")
    for name in (*known, *(("prometheus",) if "prometheus" in state else ())):
        typer.echo(f"{name:<10} {state.get(name, '-')}")
        if name == "web" and "web" in state:
            typer.echo(f"{'':<10} its pages: {PAGES}")
    typer.echo(f"memory     {total} MiB resident in all (shared pages counted in each process)")
