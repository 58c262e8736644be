"""`bidplane doctor`: where what is differs from what should be, for an operator.

Decides what is asked and printed. 0: nothing is wrong; 5: something is; 4: a server that was named
does not answer.
"""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from bidplane_agents import connection, errors
from bidplane_agents.commands import options, output
from bidplane_streams import given_servers, sold_classes
from bidplane_streams.doctor import blueprint as blueprints
from bidplane_streams.doctor import cluster, findings, kafka
from bidplane_streams.embedded import directory as directories


def doctor(
    *,
    blueprint: Annotated[
        pathlib.Path | None, typer.Option(help="Versions meant to run together: helm/blueprints.")
    ] = None,
    kubeconfig: Annotated[
        pathlib.Path | None,
        typer.Option(envvar="KUBECONFIG", help="The host cluster; else that of `bidplane up`."),
    ] = None,
    kafka_address: options.Kafka = "",
    directory: options.Directory = "",
    app_id: Annotated[
        str, typer.Option(envvar="BIDPLANE_APP_ID", help="Under which the worker runs.")
    ] = "bidplane",
    device_class: sold_classes.Classes = None,
    as_json: options.AsJson = False,
) -> int:
    """Say what is missing, differs or stands still, where, and what to do; 5 if anything does.

    Changes nothing. Without a kubeconfig the cluster is not looked at, without a blueprint the
    versions are not.
    """
    plan = None if blueprint is None else blueprints.load(blueprint)
    reached = connection.from_environment(kafka_address, directory)
    config = kubeconfig or _own(directory)
    classes = sold_classes.by_driver(device_class or ())

    async def work() -> list[findings.Finding]:
        """Do what needs servers."""
        found = await kafka.examine(reached, app_id)
        if config is None:
            return [*found, findings.Finding(severity="note", what="not looked at",
                    where="the host cluster", todo="give --kubeconfig")]  # fmt: skip
        if not config.is_file():
            raise errors.BadInput(f"--kubeconfig {config}: no such file: name your host cluster's")
        async with given_servers.reached(config) as api:
            return [*found, *(await cluster.examine(api, plan, classes))]

    found = findings.ordered(output.run(work()))
    if as_json:
        output.json({"blueprint": plan.blueprint if plan else None, "findings": found})
    else:
        rows = ((one.severity, one.where, one.what, one.todo) for one in found)
        output.table(["severity", "where", "what", "to do"], rows)
        bad = sum(one.severity in {"error", "differs"} for one in found)
        output.note(f"{bad} to mend" if bad else "nothing to mend")
    return findings.exit_code(found)


def _own(directory: str) -> pathlib.Path | None:
    """The kubeconfig that a running `up` notes."""
    home = pathlib.Path(connection.working_directory(directory)).absolute()
    named = (directories.Directory(home).state() or {}).get("kubeconfig")
    return pathlib.Path(named) if named else None
