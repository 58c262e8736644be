"""`bidplane dashboards`: preview, check, export.

Decides options and exit codes. Refuses to ask or draw: that is the package preview; the dashboards'
code is the package dashboards, which needs grafana-foundation-sdk.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from bidplane_agents.commands import output
from bidplane_agents.errors import BadInput
from bidplane_topics import codec

if TYPE_CHECKING:
    from bidplane_loadtest.preview import boards
    from bidplane_loadtest.preview.checking import Line

QUERY_FAILED = 5
app = typer.Typer(
    help="Dashboards: preview, check, export.", no_args_is_help=True, add_completion=False
)

Url = Annotated[
    str | None, typer.Option("--prometheus", help="Its base URL; else that of `up --prometheus`.")
]
Folder = Annotated[
    pathlib.Path | None, typer.Option("--dashboards", help="Folder of JSON; else the chart's.")
]
Dir = Annotated[
    pathlib.Path, typer.Option("--dir", envvar="BIDPLANE_DIR", help="Where a system lives.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def preview(
    dashboard: Annotated[str, typer.Option(help="Which one is shown first.")] = "market",
    prometheus: Url = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any.")] = 0,
    png: Annotated[
        pathlib.Path | None, typer.Option(help="Write a picture, by a chromium, and end.")
    ] = None,
    html: Annotated[pathlib.Path | None, typer.Option(help="Write the page, and end.")] = None,
    minutes: Annotated[int, typer.Option(min=1, help="Of --png and --html: time shown.")] = 30,
    var: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of --png and --html: a variable."),
    ] = None,
    dashboards: Folder = None,
    dir_: Dir = pathlib.Path(".bidplane"),
) -> None:
    """Draw a dashboard's panels against a Prometheus, in a page that is not Grafana."""
    found = _boards(dashboards)
    if dashboard not in found:
        raise BadInput(f"--dashboard {dashboard}: there are {', '.join(found)}")
    chosen = _variables(var or [], [found[dashboard]])
    _writable("--png", png)
    _writable("--html", html)
    url = _server(prometheus, dir_)
    from bidplane_loadtest.preview import serving  # noqa: PLC0415 - loads matplotlib

    with contextlib.suppress(KeyboardInterrupt):
        if png is None and html is None:
            asyncio.run(serving.reach(url))
            shown = serving.application(url, found, dashboard)
            asyncio.run(serving.serve(shown, port, typer.echo))
            return
        asked = {**chosen, "minutes": [str(minutes)]}
        text = asyncio.run(serving.rendered(url, found, dashboard, asked, output.note))
        if html is not None:
            html.write_text(text, encoding="utf-8")
        if png is not None:
            serving.picture(text, png, serving.height_of(found[dashboard]))


@app.command()
def check(
    prometheus: Url = None,
    minutes: Annotated[int, typer.Option(min=1, help="Time asked about.")] = 30,
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable's value.")
    ] = None,
    dashboards: Folder = None,
    dir_: Dir = pathlib.Path(".bidplane"),
    as_json: AsJson = False,
) -> int:
    """List every query of dashboards and rules with the series it returns; 5 if one is refused."""
    from bidplane_loadtest.preview import checking  # noqa: PLC0415 - loads an HTTP client

    found = _boards(dashboards)
    chosen = _variables(var or [], found.values())
    url = _server(prometheus, dir_)
    rules = sorted(checking.RULES.glob("*.yaml"))
    lines = asyncio.run(checking.checked(url, found.values(), rules, minutes, chosen, output.note))
    if as_json:
        rows = [
            {"where": one.where, "what": one.what, "part": one.part, "series": one.series,
             "refusal": one.refusal}
            for one in lines
        ]  # fmt: skip
        typer.echo(codec.pretty({"prometheus": url, "queries": rows}))
    else:
        _show(lines)
    return QUERY_FAILED if any(one.refusal for one in lines) else 0


def _show(lines: list[Line]) -> None:
    output.table(
        ("dashboard", "panel", "query", "series"),
        [(one.where, one.what, one.part, one.refusal or str(one.series)) for one in lines],
    )
    empty = sum(not one.series and not one.refusal for one in lines)
    refused = sum(bool(one.refusal) for one in lines)
    typer.echo(f"{len(lines)} queries, {empty} without an answer, {refused} refused")


@app.command()
def export(
    to: Annotated[
        pathlib.Path | None, typer.Argument(help="Folder; else the chart's dashboards.")
    ] = None,
) -> None:
    """Write the dashboards' JSON from their code."""
    from bidplane_loadtest.preview import boards  # noqa: PLC0415

    try:
        from bidplane_loadtest.dashboards import export as exports  # noqa: PLC0415
    except ModuleNotFoundError as error:
        told = f"{error.name} is not installed: the code of dashboards needs it (pip install"
        raise BadInput(f"{told} 'bidplane[dev]'); their JSON lies in the chart") from error
    for path in exports.write(to or boards.CHART):
        typer.echo(str(path))


def _boards(folder: pathlib.Path | None) -> Mapping[str, boards.Board]:
    from bidplane_loadtest.preview import boards  # noqa: PLC0415

    return boards.read_all(folder or boards.CHART)


def _variables(given: list[str], found: Iterable[boards.Board]) -> dict[str, list[str]]:
    from bidplane_loadtest.preview import choosing  # noqa: PLC0415 - loads an HTTP client

    return choosing.variables(given, found)


def _writable(option: str, path: pathlib.Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise BadInput(f"{option} {path}: there is no folder {path.parent}: make it first")


def _server(given: str | None, path: pathlib.Path) -> str:
    """The Prometheus to ask; says at once that it is asked."""
    from bidplane_loadtest.preview import choosing  # noqa: PLC0415

    url = choosing.address(given or _noted(path))
    output.note(f"asking Prometheus at {url}")
    return url


def _noted(path: pathlib.Path) -> str:
    from bidplane_streams.embedded import directory  # noqa: PLC0415

    state = directory.Directory(path.absolute()).state()
    if state is None or not state.get("prometheus"):
        told = f"no Prometheus runs in {path}: start it with `bidplane up --prometheus`"
        raise BadInput(f"{told}, or name one with --prometheus URL")
    return str(state["prometheus"])
