"""Commands about money: organisations, tenants, grants, and what time does to accounts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from bidplane_agents import budgets, errors, log, operator
from bidplane_agents import connection as connections
from bidplane_agents.commands import options, output
from bidplane_topics import codec, ids, money, registry

org = typer.Typer(no_args_is_help=True, help="Organisations: register, list.")
tenant = typer.Typer(no_args_is_help=True, help="Tenants: register, list.")

ANSWER_TIMEOUT_S = 10.0

Credits = Annotated[str, typer.Option("--credits", help="Credits to start with.")]
Refill = Annotated[
    str, typer.Option(metavar="C/hour", help="Credits for every whole period, as in 2.50/hour.")
]
Decay = Annotated[
    str,
    typer.Option(
        metavar="P%", help="Share of what is unused that every period takes; alone: 10%/day."
    ),
]


@org.command("register")
def org_register(
    *,
    name: Annotated[str, typer.Argument()],
    credits_given: Credits = "",
    refill: Refill = "",
    decay: Decay = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Register an organisation: its tenants together get no more than it has.

    Example: bidplane org register acme --credits 1000 --refill 50/day --decay 10%
    """
    ids.check_name("organisation", name)
    account, wanted = ids.organisation_id(name), _Money(credits_given, refill, decay)

    async def work() -> int:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            known = await hand.directory()
            before = name in known.organisations
            partition = await hand.register_organisation(name, known)
            await wanted.give(hand, account)
            if before:
                output.note(again(account, wanted.changes()))
            return partition

    _show({"organisation": name, "partition": output.run(work())}, as_json=as_json)
    return 0


@tenant.command("register")
def tenant_register(
    *,
    name: Annotated[str, typer.Argument()],
    organisation: Annotated[
        str, typer.Option("--org", help="The organisation whose money it spends, for ever.")
    ] = "",
    credits_given: Credits = "",
    refill: Refill = "",
    decay: Decay = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Register a tenant, which agents of no organisation's do by themselves.

    Example: bidplane tenant register research --org acme --credits 200
    """
    ids.check_name("tenant", name)
    wanted = _Money(credits_given, refill, decay)

    async def work() -> tuple[int, str]:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            known = await hand.directory()
            before = name in known.tenants
            partition = await hand.register_tenant(name, known, organisation)
            await wanted.give(hand, name)
            if before:
                output.note(again(name, wanted.changes()))
            return partition, known.members.get(name, "")

    partition, whose = output.run(work())
    _show({"tenant": name, "partition": partition, "organisation": whose}, as_json=as_json)
    return 0


def again(who: str, changes: Sequence[str]) -> str:
    """What to say of a registration that was made before."""
    return f"{who} was registered before: {'; '.join(changes) or 'nothing changed'}"


def money_changes(*, credits_given: bool, budget: bool) -> list[str]:
    """What the money options of a repeated registration do."""
    said = {"its credits are given once, then or now": credits_given,
            "its refill and decay are set anew": budget}  # fmt: skip
    return [text for text, holds in said.items() if holds]


class _Money:
    """The money options of a registration, read before anything is written."""

    def __init__(self, credits_given: str, refill: str, decay: str) -> None:
        self.amount_micros = money.parse_credits(credits_given) if credits_given else 0
        self.plan = budgets.parse_plan(refill, decay)

    def changes(self) -> list[str]:
        """What a repeated registration may change."""
        return money_changes(credits_given=self.amount_micros > 0, budget=self.plan is not None)

    async def give(self, hand: operator.Operator, account: str) -> None:
        """Repeating the registration gives the first credits once."""
        if not self.amount_micros and self.plan is None:
            return
        known = await hand.directory()
        if self.amount_micros:
            await hand.grant(
                account, self.amount_micros, grant_id=f"register|{account}", known=known
            )
            output.note(budgets.ASKED)
        if self.plan is not None:
            await hand.set_budget(account, self.plan, known=known)


@org.command("list")
def org_list(
    *, kafka: options.Kafka = "", directory: options.Directory = "", as_json: options.AsJson = False
) -> int:
    """List organisations and their tenants."""
    known = output.run(_directory(kafka, directory))
    rows = [
        {
            "organisation": name, "partition": partition,
            "tenants": [one for one, whose in sorted(known.members.items()) if whose == name],
        }
        for name, partition in sorted(known.organisations.items())
    ]  # fmt: skip
    _list(["organisation", ">partition", "tenants"], rows, as_json=as_json)
    return 0


@tenant.command("list")
def tenant_list(
    *, kafka: options.Kafka = "", directory: options.Directory = "", as_json: options.AsJson = False
) -> int:
    """List tenants and their organisations."""
    known = output.run(_directory(kafka, directory))
    rows = [
        {"tenant": name, "partition": partition, "organisation": known.members.get(name, "")}
        for name, partition in sorted(known.tenants.items())
    ]
    _list(["tenant", ">partition", "organisation"], rows, as_json=as_json)
    return 0


async def _directory(kafka: str, directory: str) -> operator.Directory:
    async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
        return await hand.directory()


def grant(
    *,
    account: Annotated[str, typer.Argument(metavar="TENANT[/NAME]|org:NAME")],
    amount: Annotated[str, typer.Argument(metavar="CREDITS")],
    grant_id: Annotated[str, typer.Option("--id", help="Repeating an id gives nothing more.")] = "",
    from_tenant: Annotated[
        bool, typer.Option(help="Take it from the tenant's own account.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it is booked; a refusal says why.")
    ] = False,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Give credits: a tenant of an organisation gets the organisation's, others the treasury's.

    Examples: bidplane grant org:acme 500 - bidplane grant research 20 --wait
    """
    amount_micros = money.parse_credits(amount)
    if amount_micros == 0:
        raise errors.BadInput("a grant of 0 gives nothing: name an amount above it")
    budgets.check_account(account)
    connection = connections.from_environment(kafka, directory)

    async def work() -> operator.Given:
        """Do what needs Kafka."""
        async with operator.Operator(connection) as hand:
            known = await hand.directory()
            source = "tenant" if from_tenant else "treasury"
            tails = await _tails(connection, known, account, source) if wait else ()
            given = await hand.grant(
                account, amount_micros, grant_id=grant_id, source=source, known=known
            )
            if tails:
                await _booked(tails, given)
            return given

    given = output.run(work())
    if as_json:
        output.json(
            {"account": account, "amount_micros": amount_micros, "grant_id": given.grant_id}
        )
    else:
        shown = money.format_credits(amount_micros)
        output.line(f"{shown} credits to {account} ({given.grant_id})")
        if not wait:
            output.note("asked for; --wait tells whether it was booked")
    return 0


async def _tails(
    connection: connections.Connection, known: operator.Directory, account: str, source: str
) -> tuple[log.Tail, log.Tail]:
    """The ledger and the dead letters of the partition that will judge the grant, from now on."""
    tenant_name = account.partition("/")[0]
    whose = known.members.get(tenant_name) if source == "treasury" else None
    partition = known.partition_of(ids.organisation_id(whose) if whose else account)
    letters = registry.dead_letters(registry.ACCOUNTS).name
    tails = (
        log.Tail(connection, registry.LEDGER.name, partition),
        log.Tail(connection, letters, partition),
    )
    for tail in tails:
        await tail.from_now()
    return tails


async def _booked(tails: tuple[log.Tail, log.Tail], given: operator.Given) -> None:
    """Wait for the grant's entry, or for its dead letter.

    Raises:
        GrantRefused: the lane set the record aside; says why.
        NoAnswer: neither came.
    """
    entries, letters = tails
    asked = {
        asyncio.create_task(_entry(entries, given)),
        asyncio.create_task(_letter(letters, given)),
    }
    try:
        done, _ = await asyncio.wait(
            asked, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        for one in done:
            why = one.result()
            if why:
                raise errors.GrantRefused(f"the grant was refused: {why} ({given.grant_id})")
        if not done:
            raise errors.NoAnswer(
                f"the grant is written down, but nothing of it was booked in {ANSWER_TIMEOUT_S:g} "
                "s: is a worker running, and is the grant's id new?"
            )
    finally:
        for one in asked:
            one.cancel()
        await asyncio.wait(asked)


async def _entry(tail: log.Tail, given: operator.Given) -> str:
    async with contextlib.aclosing(tail.records()) as records:
        async for record in records:
            entry = codec.decode(registry.LEDGER, record.value)
            at = entry.origin
            here = (at.topic, at.offset) == (registry.ACCOUNTS.name, given.offset)
            if here and entry.kind not in ("refill", "decay"):
                return ""
    raise AssertionError("a tail has no end")


async def _letter(tail: log.Tail, given: operator.Given) -> str:
    async with contextlib.aclosing(tail.records()) as records:
        async for record in records:
            headers = dict(record.headers)
            origin = headers.get("bidplane-origin", b"").decode(errors="replace")
            if origin.endswith(f"/{given.offset}"):
                return headers.get("bidplane-detail", b"").decode(errors="replace")
    raise AssertionError("a tail has no end")


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json(facts)
    else:
        output.facts((name, str(value)) for name, value in facts.items())


def _list(columns: list[str], rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.json(rows)
        return
    output.table(columns, (
        [" ".join(value) if isinstance(value, list) else str(value) for value in row.values()]
        for row in rows
    ))  # fmt: skip
