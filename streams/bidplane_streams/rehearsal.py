"""`bidplane up --dry-run`: what it would create, keep and miss, without changing anything.

Decides the list, row by row, from what servers that were given say of themselves and from the files
of the directory. Refuses to start or to write: not even the ports are chosen.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from bidplane_agents import connection, surveying
from bidplane_agents import errors as agent_errors
from bidplane_streams import given_servers
from bidplane_streams.sinks import cluster_rights, hostsetup, kube, names, standing_setup
from bidplane_topics.markets import MarketDeclared

Does = Literal["start", "create", "keep", "differs", "lacks", "note"]
IN_THE_WAY: Final = ("lacks",)
_DOES: Final[dict[standing_setup.State, Does]] = {
    "missing": "create", "there": "keep", "differs": "differs",
}  # fmt: skip
_WRITTEN: Final = ("state.json", "ports.json", "logs", "faust", "clusters")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` was asked for. ``rules`` are those of markets that it declares."""

    directory: pathlib.Path
    kafka: str | None
    kubeconfig: pathlib.Path | None
    nodes: int
    markets: tuple[str, ...]
    rules: dict[str, Any]
    processes: tuple[str, ...]
    classes: dict[str, str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: what would happen to it, and what is worth knowing of it."""

    kind: str
    name: str
    does: Does
    detail: str = ""


async def rehearse(asked: Asked) -> list[Row]:
    """Every thing that `up` would touch, in the order in which it would.

    Raises:
        BadInput, Unreachable: a server that was given cannot be used.
    """
    await given_servers.check(asked.kafka, asked.kubeconfig)
    return [
        *(await _kafka(asked)), *(await _cluster(asked)), *_processes(asked), *_files(asked),
    ]  # fmt: skip


def in_the_way(rows: Iterable[Row]) -> list[Row]:
    """What must be mended before `up` can work."""
    return [row for row in rows if row.does in IN_THE_WAY]


# -- Kafka -----------------------------------------------------------------------------------------


async def _kafka(asked: Asked) -> list[Row]:
    if asked.kafka is None:
        there = (asked.directory / "kafka" / "data" / "meta.properties").exists()
        detail = "with the topics and markets that it holds" if there else "topics and markets anew"
        place = str(asked.directory / "kafka")
        return [Row(kind="Kafka", name=place, does="start", detail=detail)]
    found = await surveying.survey(connection.from_environment(asked.kafka))
    brokers = f"{found.brokers} broker" + "s" * (found.brokers != 1)
    return [
        Row(kind="Kafka", name=asked.kafka, does="keep", detail=brokers),
        *topic_rows(found), *market_rows(asked, found.markets),
    ]  # fmt: skip


def topic_rows(found: surveying.Survey) -> list[Row]:
    """Topics that are missing, that differ, and what Kafka refuses; the rest in one row."""
    rows = [Row(kind="topic", name=name, does="create") for name in found.missing]
    rows += [Row(kind="topic", name=one.topic, does="differs", detail=said(one.what, one.wanted,
             one.found)) for one in found.drift]  # fmt: skip
    rows += [Row(kind="right", name=asked, does="lacks") for asked in found.refused]
    kept = len(found.there) - len({one.topic for one in found.drift})
    if kept:
        rows.append(Row(kind="topics", name=f"{kept} as the registry says", does="keep"))
    return rows


def said(what: str, wanted: str, found: str) -> str:
    """A difference, and that it is left alone."""
    return f"{what} is {found or 'unset'}, {wanted} wanted: left as it is"


def market_rows(asked: Asked, declared: Mapping[str, MarketDeclared]) -> list[Row]:
    """The markets that `up` serves: declared anew, kept, or kept with other rules."""
    rows = []
    for name in asked.markets:
        known = declared.get(name)
        if known is None:
            terms = ", ".join(f"{key} {value}" for key, value in asked.rules.items())
            rows.append(Row(kind="market", name=name, does="create", detail=terms))
            continue
        other = market_differences(asked.rules, known)
        does: Does = "differs" if other else "keep"
        rows.append(Row(kind="market", name=name, does=does, detail="; ".join(other)))
    return rows


def market_differences(rules: Mapping[str, Any], known: MarketDeclared) -> list[str]:
    """Where a market that stands is declared otherwise than `up` would declare it."""
    return [
        said(key, str(value), str(getattr(known, key)))
        for key, value in rules.items()
        if getattr(known, key) != value
    ]


# -- the host cluster ------------------------------------------------------------------------------


async def _cluster(asked: Asked) -> list[Row]:
    if asked.kubeconfig is None:
        there = (asked.directory / "host" / "etcd").exists()
        detail = f"with {asked.nodes} simulated nodes" + ", keeping its objects" * there
        return [Row(kind="host cluster", name=str(asked.directory / "host"), does="start",
                    detail=detail)]  # fmt: skip
    async with given_servers.reached(asked.kubeconfig) as api:
        version = await api.call("GET", "/version")
        user = await hostsetup.whoami(api)
        told = f"Kubernetes {version.get('gitVersion')}, as {user}"
        first = Row(kind="host cluster", name=api.where, does="keep", detail=told)
        missing = await cluster_rights.missing(api, _components(asked))
        if any(one.verb in {"get", "list"} for one in missing):
            return [first, *_lacking(missing)]  # whoever may not look cannot say what stands
        setup = await standing_setup.look(api, user, asked.classes)
        if all(one.state == "there" for one in setup):
            missing = [one for one in missing if not cluster_rights.is_of_setup(one)]
        rights = _lacking(missing) or [
            Row(kind="rights", name=", ".join(_components(asked)), does="keep")
        ]
        holder = await standing_setup.user_of_policies(api)
        return [
            first, *rights, *setup_rows(setup, holder, user), await _devices(api, asked.classes),
        ]  # fmt: skip


def _components(asked: Asked) -> list[str]:
    return [name for name in cluster_rights.NEEDS if name in asked.processes]


async def before(asked: Asked, say: Callable[[str], None]) -> None:
    """What `up` asks servers that were given, before it starts: what differs is told, and kept.

    Raises:
        BadInput: something that it needs is in the way.
        Unreachable: a server does not answer.
    """
    if asked.kafka is None and asked.kubeconfig is None:
        return
    rows = await rehearse(asked)
    if (lacking := refusal(rows)) is not None:
        raise lacking
    for row in rows:
        if row.does == "differs":
            say(f"{row.kind} {row.name}: {row.detail}")


def _lacking(missing: Iterable[cluster_rights.Denied]) -> list[Row]:
    return [
        Row(kind="right", name=one.told(), does="lacks", detail=f"{one.component} needs it")
        for one in missing
    ]


def setup_rows(setup: Sequence[standing_setup.Stood], holder: str, user: str) -> list[Row]:
    """CRD, classes and policies: the claims sink makes or corrects them when it starts."""
    rows = []
    for one in setup:
        does = _DOES[one.state]
        detail = "the claims sink corrects it" if does == "differs" else ""
        if holder not in {"", user} and does == "differs":
            does, detail = "lacks", f"claims sinks of this cluster run as {holder}"
        rows.append(Row(kind=one.kind, name=one.name, does=does, detail=detail))
    rows.append(Row(kind="Namespace", name="bp-TENANT-AGENT", does="note",
                    detail="made with an agent's first lease"))  # fmt: skip
    return rows


async def _devices(api: kube.Kube, classes: Mapping[str, str]) -> Row:
    """How many devices of sold drivers the cluster's slices list."""
    slices, _ = await api.list_all(kube.SLICES)
    drivers = {*names.DRIVERS, *classes}
    count = sum(
        len(one["spec"].get("devices") or ()) for one in slices if one["spec"]["driver"] in drivers
    )
    detail = f"{count} listed" if count else "none listed: nothing would be sold"
    return Row(kind="devices", name=", ".join(sorted(drivers)), does="note", detail=detail)


# -- this machine ----------------------------------------------------------------------------------


def _processes(asked: Asked) -> list[Row]:
    known: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        known = json.loads((asked.directory / "ports.json").read_text())
    return [
        Row(kind="process", name=name, does="start",
            detail=f"port {known.get(name, 'any that is free')}")
        for name in asked.processes
    ]  # fmt: skip


def _files(asked: Asked) -> list[Row]:
    paths = [asked.directory, *(asked.directory / name for name in _WRITTEN)]
    return [
        Row(kind="file", name=str(path), does="keep" if path.exists() else "create")
        for path in paths
    ]


def refusal(rows: Sequence[Row]) -> agent_errors.BadInput | None:
    """The one sentence for what is in the way, if anything is."""
    lacking = in_the_way(rows)
    if not lacking:
        return None
    first = lacking[0]
    more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    detail = f" ({first.detail})" if first.detail else ""
    what = f"the right to {first.name}" if first.kind == "right" else f"{first.kind} {first.name}"
    return agent_errors.BadInput(
        f"{what} is missing{detail}{more}: `bidplane up --dry-run` lists all"
    )
