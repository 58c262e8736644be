"""`bidplane round MARKET/WINDOW`: one round rebuilt from the log and cleared again.

Decides what is read, kept and printed, and the exit code. Refuses to judge: the auditor rebuilds
and compares, the core clears.
"""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import msgspec
import typer

from bidplane_agents import connection as connections
from bidplane_agents.audit import command as auditing
from bidplane_agents.audit import log as logs
from bidplane_agents.audit import reading, snapshot
from bidplane_agents.commands import options, output, showing
from bidplane_agents.errors import BadInput
from bidplane_streams.market import clearing
from bidplane_topics import codec, ids, money
from bidplane_topics.instances import InstanceBid

EXIT_DIFFERS = 5


def replay(
    which: Annotated[str, typer.Argument(metavar="MARKET/WINDOW")],
    instance: Annotated[
        pathlib.Path | None, typer.Option(help="Keep the instance here, for `bidplane clear`.")
    ] = None,
    load: Annotated[
        pathlib.Path | None, typer.Option(help="Read a copy that `bidplane audit --save` made.")
    ] = None,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Rebuild a round from the log, clear it again, compare; 5 if it was not cleared so.

    Example: bidplane round pool-a/892736 --instance round.json && bidplane clear round.json
    """
    market, window = _named(which)
    say = auditing.Progress(who="round").say
    if load is not None:
        log = logs.load(load)
    else:
        log = output.run(reading.read_log(connections.from_environment(kafka, directory), say))
    found = snapshot.take(log, market, window, clearing.clear, say)
    if instance is not None:
        _keep(found, instance)
    if as_json:
        output.json(_as_data(found))
    else:
        _show(found)
    return EXIT_DIFFERS if found.differences else 0


def _named(text: str) -> tuple[str, int]:
    market, _, window = text.rpartition("/")
    if not market or not window.isdecimal():
        raise BadInput(f"{text!r} is no round: write MARKET/WINDOW, such as pool-a/892736")
    return ids.check_name("market", market), int(window)


def _keep(found: snapshot.Snapshot, path: pathlib.Path) -> None:
    try:
        path.write_text(codec.pretty(found.instance) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}: name a file that can be written") from error
    rule = found.result.rule
    output.note(f"kept in {path}: `bidplane clear {path} --rule {rule}` clears it once more")


def _as_data(found: snapshot.Snapshot) -> dict[str, Any]:
    return {
        "market": found.closed.market, "window": found.closed.window,
        "closed_at_ms": found.closed.closed_at_ms, "rule": found.closed.rule,
        "root": found.closed.root, "same": not found.differences,
        "differences": found.differences, "strayed_in_window": found.strayed,
        "instance": msgspec.to_builtins(found.instance),
        "result": msgspec.to_builtins(found.result),
    }  # fmt: skip


def _show(found: snapshot.Snapshot) -> None:
    closed = found.closed
    output.facts([
        ("market", closed.market), ("window", str(closed.window)),
        ("closed at", showing.moment(closed.closed_at_ms)), ("rule", closed.rule),
        ("orders", str(closed.orders)), ("awarded", str(closed.awarded)),
        ("revenue", money.format_credits(closed.revenue_micros)), ("root", closed.root),
    ])  # fmt: skip
    output.table(
        ["bid", ">value", "pool", "shape", ">level", ">price"],
        (_row(bid, found) for bid in found.instance.bids),
    )
    if found.strayed is not None:
        output.line(
            f"the log departs from the replay in window {found.strayed}: `bidplane audit` says how"
        )
    for sentence in found.differences:
        output.line(f"differs: {sentence}")
    if not found.differences:
        how = "verified" if closed.rule == "exact" else "cleared again"
        output.line(f"{how}: the awards, prices and root that were published")


def _row(bid: InstanceBid, found: snapshot.Snapshot) -> list[str]:
    value, award = money.format_credits(bid.value_micros), found.result.awards.get(bid.bid_id)
    if award is None:
        return [bid.bid_id, value, "", "lost", "", ""]
    won = bid.alternatives[award.alternative]
    price = money.format_credits(award.price_micros)
    return [bid.bid_id, value, won.pool, won.shape, str(award.level), price]
