"""Commands about markets: create, remove, list, show, pools."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bidplane_agents import connection as connections
from bidplane_agents import durations, errors, market_rules, offered, operator
from bidplane_agents.commands import moving, options, output
from bidplane_topics import ids, markets, money

app = typer.Typer(
    no_args_is_help=True, help="Markets: create, remove, list, show, pools, move-node."
)
app.command("move-node")(moving.move_node)


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Argument()],
    window: Annotated[str, typer.Option(help="How long bids are collected.")] = "2s",
    slot: Annotated[str, typer.Option(help="The unit of time that is sold.")] = "1s",
    rule: Annotated[str, typer.Option(help="greedy, uniform, exact or pay-as-bid.")] = "greedy",
    solve: Annotated[
        str, typer.Option(help="How long exact looks for a proof; 0s: a quarter window, up to 2s.")
    ] = "0s",
    reserve: Annotated[str, typer.Option(help="Least credits per unit (1/7 GPU) and slot.")] = "0",
    pool_reserve: Annotated[list[str] | None, typer.Option(metavar="POOL=CREDITS")] = None,
    pool_scarcity: Annotated[list[str] | None, typer.Option(metavar="POOL=PERMILLE")] = None,
    scarcity_rate: Annotated[
        str, typer.Option(help="Scarcity follows prices: the newest's permille in the mean.")
    ] = "0",
    reserve_rate: Annotated[
        str, typer.Option(help="Reserves follow use, by this permille a window at most.")
    ] = "0",
    reserve_cap: Annotated[str, typer.Option(help="No reserve rises above these credits.")] = "0",
    target: Annotated[str, typer.Option(help="Permille in use above which they rise.")] = "900",
    fingerprint: Annotated[str, typer.Option(help="Attributes that tell pools apart, a,b,c.")] = "",
    device_class: Annotated[str, typer.Option(help="What a bid means that names none.")] = "",
    max_duration: Annotated[str, typer.Option(help="The longest lease.")] = "1d",
    bind_deadline: Annotated[str, typer.Option(help="Unbound after this: refunded.")] = "30s",
    grace: Annotated[
        str,
        typer.Option(help="Time between notice and revocation; else 10s, and 0s with --standing."),
    ] = "",
    standing: Annotated[
        bool,
        typer.Option(help="Claims of the market's own hold its nodes: leases are bound at once."),
    ] = False,
    stale_after: Annotated[
        str, typer.Option(help="A sink silent this long sells nothing.")
    ] = "15s",
    entitle: Annotated[
        list[str] | None,
        typer.Option(metavar="TENANT=UNITS", help="A tenant's floor; 7 units are a GPU."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TENANT[/AGENT]=N",
            help="Bids count N-fold in the ranking; prices shrink alike.",
        ),
    ] = None,
    pending: Annotated[
        str, typer.Option(help="Sell devices being given back; winners wait this long at most.")
    ] = "0s",
    release_fee: Annotated[str, typer.Option(help="Credits kept at an early release.")] = "0",
    if_missing: Annotated[bool, typer.Option(help="Leave a declared market as it is.")] = False,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Create a market on the lowest free partition.

    Example: bidplane market create pool-a --reserve 0.01 --entitle research=14
    """
    rules = _rules(locals())
    reached = connections.from_environment(kafka, directory)
    before, found = output.run(_created(reached, rules, if_missing=if_missing))
    output.json([found]) if as_json else output.facts(market_rules.facts(found))
    output.note(market_rules.kept(found, rules) if before else _advice(name))
    return 0


async def _created(
    reached: connections.Connection, rules: dict[str, Any], *, if_missing: bool
) -> tuple[bool, markets.MarketDeclared]:
    """Whether the market was there before, and what it is now."""
    async with operator.Operator(reached) as hand:
        known = await hand.declared_markets() if if_missing else None
        found = await hand.create_market(rules, if_missing=if_missing, known=known)
        return known is not None and found.market in known, found


def _advice(name: str) -> str:
    return (
        f"{name} sells nothing until these run: `bidplane source inventory --market {name}` "
        f"(beside another market of the cluster with --only-assigned or --node-label), `bidplane "
        f"sink claims --market {name}` (as the same Kubernetes user and with the same "
        f"--device-class as the cluster's other claims sinks) and, for agents' pods, `bidplane "
        f"sink nodes --market {name}`"
    )


def _rules(typed: dict[str, Any]) -> dict[str, Any]:
    """What `create` was told, by its parameters, as fields of MarketDeclared."""
    typed["grace"] = typed["grace"] or ("0s" if typed["standing"] else "10s")
    spans = ("window", "slot", "solve", "max_duration", "bind_deadline", "grace", "stale_after",
             "pending")  # fmt: skip
    amounts = ("reserve", "reserve_cap", "release_fee")
    shares = ("scarcity_rate", "reserve_rate", "target")
    rules: dict[str, Any] = {
        "market": ids.check_name("market", typed["name"]), "rule": market_rules.rule(typed["rule"]),
        "standing": typed["standing"],
        "reserves": {
            k: money.parse_credits(v) for k, v in _pairs("--pool-reserve", typed["pool_reserve"])
        },
        "scarcity": {
            k: market_rules.permille("--pool-scarcity", v)
            for k, v in _pairs("--pool-scarcity", typed["pool_scarcity"])
        },
        "entitlements": {
            k: _units(v) for k, v in _pairs("--entitle", typed["entitle"], "TENANT=UNITS")
        },
        "weights": {
            k: market_rules.weight("--weight", v)
            for k, v in _pairs("--weight", typed["weight"], "TENANT[/AGENT]=N")
        },
    }  # fmt: skip
    rules |= {f"{name}_ms": market_rules.span_ms(_option(name), typed[name]) for name in spans}
    rules |= {f"{name}_micros": money.parse_credits(typed[name]) for name in amounts}
    rules |= {f"{name}_permille": market_rules.share(_option(name), typed[name]) for name in shares}
    if typed["device_class"]:
        rules["device_class"] = typed["device_class"]
    if typed["fingerprint"]:
        rules["fingerprint"] = typed["fingerprint"].split(",")
    market_rules.check_drift(rules)
    return rules


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pairs(
    option: str, given: list[str] | None, form: str = "POOL=NUMBER"
) -> list[tuple[str, str]]:
    pairs = [(text.rpartition("=")[0], text.rpartition("=")[2]) for text in given or []]
    for name, _ in pairs:
        if not name:
            raise errors.BadInput(f"{option}: write {form}")
    return pairs


def _units(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise errors.BadInput(f"--entitle {text!r}: write a whole number of units, 7 for a GPU")
    return int(text)


@app.command("remove")
def remove(
    *,
    name: Annotated[str, typer.Argument()],
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Remove a market: bids in its book are refused and refunded, leases run to their end.

    Its partition stays with its name: `market create` of the same name opens it again.
    """

    async def work() -> None:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            await hand.remove_market(name)

    output.run(work())
    if as_json:
        output.json({"removed": name})
    else:
        output.line(f"removed {name}: open bids are refunded at its next close, leases run out")
    return 0


@app.command("pools")
def pools(
    *,
    name: Annotated[str, typer.Argument(metavar="[NAME]")] = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Show what is offered: each pool of the last round, and the --select terms that it meets.

    Example: bidplane market pools pool-a
    """
    reached = connections.from_environment(kafka, directory)
    found = output.run(offered.fetch(reached, name))
    if as_json:
        output.json(found)
        return 0
    if not found:
        output.line("there is no market: `bidplane market create NAME` makes one")
    for text in offered.lines(found):
        output.line(text)
    return 0


@app.command("list")
def list_all(
    *, kafka: options.Kafka = "", directory: options.Directory = "", as_json: options.AsJson = False
) -> int:
    """List the markets; `market show NAME` has all rules of one."""
    declared = _declared(kafka, directory)
    _listed([market for _, market in sorted(declared.items())], as_json=as_json)
    return 0


@app.command("show")
def show(
    *,
    name: Annotated[str, typer.Argument()],
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Show all rules of a market, each under its option of `market create`.

    Example: bidplane market show pool-a
    """
    declared = _declared(kafka, directory)
    if name not in declared:
        raise errors.no_market(name, declared)
    found = declared[name]
    output.json(found) if as_json else output.facts(market_rules.facts(found))
    return 0


def _declared(kafka: str, directory: str) -> dict[str, markets.MarketDeclared]:
    hand = operator.Operator(connections.from_environment(kafka, directory))
    return output.run(hand.declared_markets())


def _listed(found: list[markets.MarketDeclared], *, as_json: bool) -> None:
    if as_json:
        output.json(found)
        return
    columns = ["market", ">partition", "rule", ">window", ">slot", ">reserve", "fingerprint",
               "also set"]  # fmt: skip
    output.table(columns, ([
        market.market, str(market.partition), market.rule, durations.show(market.window_ms),
        durations.show(market.slot_ms), market_rules.reserve_range(market),
        ",".join(market.fingerprint), ", ".join(market_rules.besides(market)),
    ] for market in found))  # fmt: skip
