"""`bidplane up`, `down` and `status`: the whole system on one machine.

Decides which processes make a system and in which order they start. Refuses to know how a server
is run (embedded) or what a process does (worker, sinks, source): it composes argument vectors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Annotated, Any, NoReturn

import msgspec
import rich.console
import typer

from bidplane_agents import connection, operator, profiles, surveying, topology
from bidplane_agents import errors as agent_errors
from bidplane_agents.commands import output
from bidplane_streams import (
    commands_rehearsal,
    commands_status,
    detached,
    rehearsal,
    sold_classes,
    system_ready,
    watched,
)
from bidplane_streams.embedded import devices, directory, errors, ports, system, unusual
from bidplane_topics import codec, ids, money, registry
from bidplane_topics import errors as contract_errors

CLI = (sys.executable, "-m", "bidplane_agents.cli")
MARKET = "pool-a"
PER_MARKET = ("sink-claims", "sink-nodes", "source-inventory")
PORT_NAMES = ("worker", "sink-claims", "sink-clusters", "sink-nodes", "source-inventory")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``kafka`` and ``kubeconfig`` name servers of yours to use instead of ours.

    ``market`` has every node; ``beside`` it run markets whose nodes an operator moves there.
    """

    directory: pathlib.Path
    nodes: int = 16
    workers: int = 1
    kafka: str | None = None
    kubeconfig: pathlib.Path | None = None
    market: str = MARKET
    beside: tuple[str, ...] = ()
    window_ms: int = 2000
    grace_ms: int = 2000
    bind_deadline_ms: int = 30_000
    reserve_micros: int = 1
    standing: bool = False
    mixed: int = 0
    companion: str = ""
    classes: tuple[str, ...] = ()
    prometheus: bool = False


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A system that serves: where it is, and the handle on its processes."""

    kafka: str
    host_kubeconfig: pathlib.Path
    clusters_dir: pathlib.Path
    directory: pathlib.Path
    market: str
    web: str
    system: Any
    prometheus: str = ""


@contextlib.asynccontextmanager
async def running(
    plan: Plan, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Running]:
    """Start everything, serve, stop everything.

    Raises:
        EmbeddedError: a server cannot run here; the message is one line.
    """
    if plan.prometheus:
        await watched.build()  # here Ctrl-C still ends a build
    say("starting Kafka and the host control plane")
    async with system.System(
        plan.directory,
        nodes=plan.nodes,
        mixed=plan.mixed,
        kafka_address=plan.kafka,
        kubeconfig=plan.kubeconfig,
    ) as servers:
        say("creating topics and the market" + "s" * bool(plan.beside))
        await _prepare_kafka(servers.kafka, plan)
        home = plan.directory.absolute()
        chosen = ports.remembered(home / "ports.json", *_port_names(plan))
        say("starting the worker, the sinks and the inventory source")
        await _add_processes(servers, plan, chosen)
        web = f"http://127.0.0.1:{chosen['worker']}"
        clusters = home / "clusters"
        servers.note(web=web, market=plan.market, clusters=str(clusters), ready=False)
        watch = watched.start(servers, home, chosen) if plan.prometheus else None
        prometheus = await watch if watch else ""
        if plan.kubeconfig is None:
            say("waiting until every device is on sale")
            await system_ready.until_on_sale(
                servers.kafka, plan.market, devices.gpus(plan.nodes, plan.mixed),
                servers.until_stopped,
            )  # fmt: skip
        servers.note(ready=True)
        yield Running(
            kafka=servers.kafka,
            host_kubeconfig=servers.kubeconfig,
            clusters_dir=clusters,
            directory=home,
            market=plan.market,
            web=web,
            system=servers,
            prometheus=prometheus,
        )
        say("stopping")


async def _prepare_kafka(kafka: str, plan: Plan) -> None:
    """Topics and the market, where they are not there yet."""
    reached = connection.from_environment(kafka)
    given = plan.kafka is not None  # its counts are fixed for its life
    counts = await surveying.counts(reached) if given else registry.Partitions()
    await topology.apply(reached, counts)
    async with operator.Operator(reached) as hand:
        declared = await hand.declared_markets()
        for name in (plan.market, *plan.beside):
            if name in declared:
                continue
            await hand.create_market({"market": name, **_rules(plan)})


def _rules(plan: Plan) -> dict[str, Any]:
    """What markets are declared with."""
    names = ("window_ms", "grace_ms", "bind_deadline_ms", "reserve_micros", "standing")
    return {name: getattr(plan, name) for name in names}


def _asked(plan: Plan) -> rehearsal.Asked:
    return rehearsal.Asked(
        directory=plan.directory.absolute(), kafka=plan.kafka, kubeconfig=plan.kubeconfig,
        nodes=plan.nodes, markets=(plan.market, *plan.beside), rules=_rules(plan),
        processes=_port_names(plan), classes=sold_classes.by_driver(plan.classes),
    )  # fmt: skip


def _port_names(plan: Plan) -> tuple[str, ...]:
    beside = (f"{name}-{market}" for market in plan.beside for name in PER_MARKET)
    more = (f"worker-{number}" for number in range(1, plan.workers))
    watching = (watched.NAME,) if plan.prometheus else ()
    return (*PORT_NAMES, *more, *beside, *watching)


async def _add_processes(servers: system.System, plan: Plan, chosen: dict[str, int]) -> None:
    home = plan.directory.absolute()
    for number in range(plan.workers):
        name = "worker" if number == 0 else f"worker-{number}"
        env = {
            "BIDPLANE_KAFKA": servers.kafka,
            "BIDPLANE_INSTANCE": name,
            "BIDPLANE_DATA_DIR": str(home / "faust" / name),
            "BIDPLANE_WEB_PORT": str(chosen[name]),
        }
        await servers.add(name, [*CLI, "worker"], env)
    for name, argv in _sinks(servers, plan, home).items():
        env = {"BIDPLANE_KAFKA": servers.kafka, "BIDPLANE_METRICS_PORT": str(chosen[name])}
        await servers.add(name, [*CLI, *argv], env)


def _sinks(servers: system.System, plan: Plan, home: pathlib.Path) -> dict[str, list[str]]:
    """The argument vectors of the Kubernetes processes, by name."""
    clusters = ["--clusters-dir", str(home / "clusters")]

    def kubeconfig(user: str) -> list[str]:
        mine = plan.kubeconfig is None
        file = servers.host.kubeconfig(f"bidplane-{user}") if mine else servers.kubeconfig
        return ["--kubeconfig", str(file)]

    named = dict.fromkeys([*plan.classes, *([unusual.FPGA_DRIVER] if plan.mixed else [])])
    classes = [word for name in named for word in ("--device-class", name)]
    more = [*classes, "--companion", plan.companion] if plan.companion else classes
    # Said out loud: the environment of an operator of planes in pods names others.
    own, folder = ["--provider", "process"], [*clusters, "--planes-namespace", ""]
    found = {"sink-clusters": ["sink", "clusters", "--kafka", servers.kafka, *own, *clusters]}
    for market in (plan.market, *plan.beside):
        common = ["--kafka", servers.kafka, "--market", market]
        chosen = [*kubeconfig("inventory"), *more]
        suffix = f"-{market}" if market in plan.beside else ""
        only = ["--only-assigned"] if market in plan.beside else []
        found |= {
            f"sink-claims{suffix}": ["sink", "claims", *common, *kubeconfig("claims"), *classes],
            f"sink-nodes{suffix}": ["sink", "nodes", *common, *kubeconfig("nodes"), *folder],
            f"source-inventory{suffix}": ["source", "inventory", *common, *chosen, *only],
        }
    return found


# -- commands ------------------------------------------------------------------------------------


def up(
    dir_: commands_status.Dir = pathlib.Path(".bidplane"),
    nodes: Annotated[int, typer.Option(min=1, max=1000, help="Simulated nodes of 8 GPUs.")] = 16,
    agents: Annotated[int, typer.Option(min=0, help="Example agents to register.")] = 0,
    mixed: Annotated[
        int, typer.Option(min=0, help="How many of the nodes have MIG, shared and FPGA devices.")
    ] = 0,
    companion: sold_classes.Companion = "",
    device_class: sold_classes.Classes = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    beside: Annotated[
        list[str] | None,
        typer.Option(metavar="MARKET", help="A market beside pool-a, for `market move-node`."),
    ] = None,
    kafka: Annotated[str | None, typer.Option(help="HOST:PORT of your Kafka.")] = None,
    kubeconfig: Annotated[
        pathlib.Path | None, typer.Option(help="Your host cluster, instead of an embedded one.")
    ] = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Run a Prometheus over it, with our rules.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would create, and change nothing.")
    ] = False,
    as_json: commands_status.AsJson = False,
) -> None:
    """Run the whole system on this machine until Ctrl-C."""
    if kubeconfig is not None and not kubeconfig.is_file():
        _fail(2, f"--kubeconfig {kubeconfig}: no such file: name your host cluster's kubeconfig")
    if not dry_run:
        _refuse_second(dir_.absolute())
    if kafka is None and connection.security():
        _fail(2, "BIDPLANE_KAFKA_SECURITY_PROTOCOL is set, and the embedded Kafka speaks PLAINTEXT:"
              " unset it, or name yours with --kafka")  # fmt: skip
    if mixed > nodes:
        _fail(2, f"--mixed {mixed}: there are {nodes} nodes (--nodes)")
    plan = Plan(
        directory=dir_, nodes=nodes, workers=workers, kafka=kafka, kubeconfig=kubeconfig,
        mixed=mixed, companion=_checked(companion, device_class or ()),
        classes=tuple(device_class or ()), beside=_beside(beside or ()),
        prometheus=prometheus,
    )  # fmt: skip
    # A server that is still starting is no news: what fails for good is told in one line.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        if dry_run:
            commands_rehearsal.show(_asked(plan), as_json=as_json)
            return
        asyncio.run(rehearsal.before(_asked(plan), output.note))
        if detach:
            _detached(plan, agents, as_json=as_json)
            return
        asyncio.run(_serve(plan, agents, as_json=as_json))
    except errors.EmbeddedError as error:
        _fail(error.exit_code, str(error))
    except agent_errors.BidplaneError as error:
        _fail(error.exit_code, str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None


def _beside(given: Iterable[str]) -> tuple[str, ...]:
    """The markets that run beside the first one, each once."""
    names = tuple(dict.fromkeys(given))
    try:
        for name in names:
            ids.check_name("--beside", name)
    except contract_errors.ContractError as error:
        _fail(2, str(error))
    if MARKET in names:
        _fail(2, f"--beside {MARKET}: that market runs anyway: name another")
    return names


def _checked(companion: str, classes: Sequence[str]) -> str:
    """The companion's class; all names are good ones."""
    try:
        sold_classes.by_driver(classes)
        return sold_classes.companion(companion)
    except agent_errors.BadInput as error:
        _fail(error.exit_code, str(error))


def _refuse_second(path: pathlib.Path) -> None:
    """Before a word is said of starting."""
    if directory.Directory(path).holder() is not None:
        _fail(
            2, f"a system already runs in {path}: see `bidplane status --dir {path}`, stop it with "
            f"`bidplane down --dir {path}`, or name another --dir",
        )  # fmt: skip


async def _serve(plan: Plan, agents: int, *, as_json: bool) -> None:
    begun = time.monotonic()
    console = rich.console.Console(stderr=True)
    async with running(plan, lambda text: console.print(text, soft_wrap=True)) as served:
        await _register_examples(served, agents)
        state = directory.Directory(served.directory).status() or {}
        typer.echo(codec.pretty(state) if as_json else _addresses(served))
        seconds = time.monotonic() - begun
        console.print(f"ready after {seconds:.1f} s; Ctrl-C stops everything")
        await served.system.until_stopped()


async def _register_examples(served: Running, count: int) -> None:
    """Agents example/agent-0… with 100 credits each and their profiles in DIR/agents."""
    async with operator.Operator(connection.from_environment(served.kafka)) as hand:
        for number in range(count):
            name = f"example/agent-{number}"
            path = profiles.path_of(name, str(served.directory))
            if path.exists():
                continue
            done = await hand.register_agent(name)
            assert done.profile is not None
            profiles.save(path, done.profile)
            await hand.grant_known(done.partition, name, 100 * money.MICROS_PER_CREDIT)


def _addresses(served: Running) -> str:
    return "\n".join(
        (
            f"Kafka            {served.kafka}",
            f"host kubeconfig  {served.host_kubeconfig}",
            f"worker           {served.web}/lanes  {served.web}/rounds  {served.web}/metrics",
            f"agents' clusters {served.clusters_dir}",
            f"logs             {served.directory / 'logs'}",
            f"market           {served.market}",
            *([f"Prometheus       {served.prometheus}"] if served.prometheus else []),
        )
    )


def _detached(plan: Plan, agents: int, *, as_json: bool) -> None:
    """Start `up` as a process of its own and wait until it is ready."""
    home = directory.Directory(plan.directory.absolute())
    argv = [*CLI, "up", "--dir", str(home.path), "--nodes", str(plan.nodes), "--workers",
            str(plan.workers), "--agents", str(agents)]  # fmt: skip
    argv += [word for name in plan.beside for word in ("--beside", name)]
    argv += ["--mixed", str(plan.mixed)] if plan.mixed else []
    argv += ["--companion", plan.companion] if plan.companion else []
    argv += [word for name in plan.classes for word in ("--device-class", name)]
    argv += ["--prometheus"] if plan.prometheus else []
    argv += ["--kafka", plan.kafka] if plan.kafka else []
    argv += ["--kubeconfig", str(plan.kubeconfig)] if plan.kubeconfig else []
    state = detached.start(argv, home, output.note)
    typer.echo(
        codec.pretty(state) if as_json else f"ready: see `bidplane status --dir {home.path}`"
    )


def _fail(code: int, sentence: str) -> NoReturn:
    typer.echo(f"bidplane: {sentence}", err=True)
    raise typer.Exit(code)
