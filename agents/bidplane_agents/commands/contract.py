"""Commands about the contract: export it for other languages, verify records against it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bidplane_agents import connection as connections
from bidplane_agents import errors, samples, schemas
from bidplane_agents.commands import options, output

app = typer.Typer(no_args_is_help=True, help="The contract: export, verify.")


@app.command("export")
def export(
    *,
    out: Annotated[Path, typer.Option(help="Folder for schemas/ and README.md.")] = Path("topics"),
    as_json: options.AsJson = False,
) -> int:
    """Write JSON Schema of every event into OUT/schemas, the table of topics into OUT/README.md."""
    changed = [str(path) for path in schemas.export(out)]
    if as_json:
        output.json({"changed": changed})
    else:
        output.line("\n".join(changed) or "nothing changed")
    return 0


@app.command("verify")
def verify(
    *,
    file: Annotated[Path | None, typer.Argument(help="Sample records, one JSON a line.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Check what Kafka holds instead.")] = False,
    topic: Annotated[list[str] | None, typer.Option(help="With --live: only these topics.")] = None,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Check records against the contract; the first wrong one is named with its field."""
    if live == (file is not None):
        raise errors.BadInput("give a FILE of sample records, or --live")
    if file is not None:
        found = samples.verify_file(file)
    else:
        connection = connections.from_environment(kafka, directory)
        found = output.run(samples.verify_live(connection, topic or []))
    if as_json:
        output.json(found)
    else:
        output.table(["topic", ">records"], ([k, str(n)] for k, n in found.records.items()))
    return 0
