"""Commands of an operator: topics and agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bidplane_agents import (
    budgets,
    errors,
    kubeconfigs,
    log,
    operator,
    profiles,
    secret_kubeconfigs,
    topology,
)
from bidplane_agents import (
    connection as connections,
)
from bidplane_agents.commands import budgeting, options, output
from bidplane_topics import agents, ids, money, registry

agent = typer.Typer(no_args_is_help=True, help="Agents: register, list, kubeconfig.")
topics = typer.Typer(no_args_is_help=True, help="Kafka topics: apply.")

ANSWER_TIMEOUT_S = 10.0


@topics.command("apply")
def topics_apply(
    *,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    tenant_partitions: Annotated[int, typer.Option(min=1, help="For topics by tenant.")] = 4,
    market_partitions: Annotated[
        int, typer.Option(min=1, help="The most markets there can be.")
    ] = 4,
    as_json: options.AsJson = False,
) -> int:
    """Create missing topics and report what differs; partition counts are never changed."""
    wanted = registry.Partitions(tenant=tenant_partitions, market=market_partitions)
    applied = output.run(topology.apply(connections.from_environment(kafka, directory), wanted))
    if as_json:
        output.json(applied)
    else:
        output.line(f"{len(applied.created)} topics created, {applied.kept} were there")
        for drift in applied.drift:
            output.line(f"{drift.topic}: {drift.what} is {drift.found}, wanted {drift.wanted}")
    if breaking := applied.breaking():
        raise errors.BadInput(
            f"{len(breaking)} topics have another partition count: counts never change; give the "
            "counts of this installation, or use another Kafka"
        )
    return 0


@agent.command("register")
def agent_register(
    *,
    name: Annotated[str, typer.Argument(metavar="TENANT/NAME")],
    credits_given: Annotated[str, typer.Option("--credits", help="Credits to start with.")] = "",
    refill: budgeting.Refill = "",
    decay: budgeting.Decay = "",
    cluster: Annotated[bool | None, typer.Option("--cluster/--no-cluster")] = None,
    public_key: Annotated[str, typer.Option(help="An existing public key, in base64.")] = "",
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Add a key; rewrites the profile.")
    ] = False,
    profile: Annotated[Path | None, typer.Option(help="Where the secret profile goes.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the market's answer.")] = True,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Register an agent; its secret key goes to its profile file (0600) and nowhere else.

    Its money is the treasury's, or its tenant's organisation's.
    Example: bidplane agent register research/tuner --credits 50 --refill 2.50/hour --decay 10%
    """
    path = profile or profiles.path_of(name, directory)
    amount = money.parse_credits(credits_given) if credits_given else 0
    plan = budgets.parse_plan(refill, decay)
    keep = profiles.load(path) if path.exists() and not public_key else None
    connection = connections.from_environment(kafka, directory)

    async def work() -> operator.Registered:
        """Do what needs Kafka."""
        async with operator.Operator(connection) as hand:
            known = await hand.directory()
            before = known.agents.get(name)
            tail = await _outcomes_from_now(
                connection, await hand.register_tenant(name.split("/")[0], known)
            )
            done = await hand.register_agent(
                name, public_key=public_key, keep_key=keep, new_key=new_key, cluster=cluster
            )
            if done.profile is not None:
                profiles.save(path, done.profile)
            # The money follows the answer: two topics have no order between them, and money for an
            # agent that the lane does not know yet would go to the dead letters.
            if wait:
                await _registered(tail, name)
            known = await hand.directory()
            if amount:
                await hand.grant(name, amount, grant_id=f"register|{name}", known=known)
            if plan is not None:
                await hand.set_budget(name, plan, known=known)
            if before is not None:
                money_too = budgeting.money_changes(
                    credits_given=amount > 0, budget=plan is not None
                )
                output.note(budgeting.again(name, [*changes(before, done), *money_too]))
            return done

    ids.split_agent(name)
    done = output.run(work())
    shown: dict[str, Any] = {
        "agent": done.agent, "partition": done.partition, "key_ids": done.key_ids,
        "cluster": done.cluster, "profile": str(path) if done.profile or keep else "",
    }  # fmt: skip
    if as_json:
        output.json(shown)
    else:
        output.facts((key, _text(value)) for key, value in shown.items())
    if amount:
        output.note(budgets.ASKED)
    return 0


def changes(before: agents.AgentRegistered, done: operator.Registered) -> list[str]:
    """What a repeated registration changed of the agent itself."""
    old = {key.key_id for key in before.keys}
    changed = [f"key {key_id} is added" for key_id in done.key_ids if key_id not in old]
    if done.cluster != before.cluster:
        changed.append(f"its control plane is {'asked for' if done.cluster else 'given up'}")
    return changed


async def _outcomes_from_now(connection: connections.Connection, partition: int) -> log.Tail:
    tail = log.Tail(connection, registry.OUTCOMES.name, partition)
    await tail.from_now()
    return tail


async def _registered(tail: log.Tail, name: str) -> None:
    """Wait for ``registered``."""
    try:
        await operator.first_outcome(tail, name, "registered", ANSWER_TIMEOUT_S)
    except TimeoutError as error:
        raise errors.NoAnswer(
            f"{name} is written down, but no accounts lane answered in {ANSWER_TIMEOUT_S:g} s: "
            "start a worker and repeat this command, or give --no-wait"
        ) from error


@agent.command("list")
def agent_list(
    *, kafka: options.Kafka = "", directory: options.Directory = "", as_json: options.AsJson = False
) -> int:
    """List registered agents."""

    async def work() -> operator.Directory:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            return await hand.directory()

    known = output.run(work())
    rows = [
        {
            "agent": name, "partition": known.tenants.get(event.tenant),
            "key_ids": [key.key_id for key in event.keys], "cluster": event.cluster,
        }
        for name, event in sorted(known.agents.items())
    ]  # fmt: skip
    if as_json:
        output.json(rows)
    else:
        output.table(
            list(rows[0]) if rows else ["agent"], ([_text(v) for v in r.values()] for r in rows)
        )
    return 0


@agent.command("kubeconfig")
def agent_kubeconfig(
    *,
    name: Annotated[str, typer.Argument(metavar="TENANT/NAME")],
    timeout: options.Timeout = 120.0,
    from_secret: Annotated[
        str,
        typer.Option(metavar="NAMESPACE", help="Fetch it with kubectl: planes are in pods there."),
    ] = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Print the path of an agent's kubeconfig, once its control plane runs.

    Example: config=$(bidplane agent kubeconfig research/a) && export KUBECONFIG="$config"
    """
    path = kubeconfigs.path_of(name, directory)

    async def work() -> None:
        """Do what needs Kafka."""
        try:
            connection = connections.from_environment(kafka, directory)
        except errors.BadInput as error:
            raise errors.BadInput(
                f"no {path}: was {name} registered with --cluster? give --kafka HOST:PORT to wait"
            ) from error
        await kubeconfigs.is_due(connection, name)

    if from_secret:
        secret_kubeconfigs.fetch(name, from_secret, path, timeout, output.note)
    elif not path.is_file():
        output.run(work())
        kubeconfigs.wait(path, name, timeout, output.note)
    if as_json:
        output.json({"agent": name, "kubeconfig": str(path)})
    else:
        output.line(str(path))
    return 0


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
