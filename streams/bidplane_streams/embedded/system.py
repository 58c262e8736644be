"""A whole system on one machine: servers, simulated nodes, and the processes that a caller adds.

Decides the order of start and stop, that everything which dies is started again, and what
state.json says. Refuses to know what bidplane's own processes do: they come as argument vectors.

    async with system.System(path, nodes=16) as running:   # Kafka, host plane, nodes: ready
        await running.add("worker", ["bidplane", "worker", "--kafka", running.kafka])
        await running.until_stopped()                      # Ctrl-C, SIGTERM, `bidplane down`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from bidplane_streams.embedded import controlplane, directory, errors, kafka, probes, processes

NODES_TIMEOUT_S = 120.0
STATE_EVERY_S = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIMULATED = "labelSelector=bidplane.io%2Fsimulated%3Dtrue"


class System:
    """The servers of a directory and every process added to them.

    ``kafka`` and ``kubeconfig`` name servers of yours to use instead of embedded ones; with your
    own cluster no nodes are simulated. Start, add and stop on one event loop in the main thread.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        nodes: int = 16,
        mixed: int = 0,
        kafka_address: str | None = None,
        kubeconfig: pathlib.Path | None = None,
    ) -> None:
        self.directory = directory.Directory(path.absolute())
        self.nodes = nodes
        self._mixed = mixed
        self._kafka_address = kafka_address
        self._kubeconfig = kubeconfig
        self._broker = kafka.Kafka(self.directory.path, restart=True)
        self._host = controlplane.ControlPlane(
            self.directory.path, "host", controlplane.Flavour.HOST, restart=True
        )
        self._own: dict[str, processes.Child] = {}
        self._notes: dict[str, Any] = {}
        self._held = contextlib.ExitStack()
        self._stopping = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def kafka(self) -> str:
        """The bootstrap address of Kafka."""
        return self._kafka_address or self._broker.bootstrap

    @property
    def kubeconfig(self) -> pathlib.Path:
        """The administrator's kubeconfig of the host cluster."""
        return self._kubeconfig or self._host.pki / "admin.kubeconfig"

    @property
    def host(self) -> controlplane.ControlPlane:
        """The embedded host control plane, for kubeconfigs of other users."""
        return self._host

    async def __aenter__(self) -> Self:
        """Start; what was started is stopped again if anything fails or is interrupted."""
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        await self.stop()

    async def start(self) -> None:
        """Hold the directory, start the servers and the nodes, write state.json.

        Raises:
            AlreadyRunning: another process holds the directory.
            PrerequisiteMissing, BuildFailed, ServerFailed: a server cannot run here.
            Interrupted: SIGINT or SIGTERM came before everything was ready.
        """
        self._held.enter_context(self.directory.held())
        self._listen()
        await self._unless_stopped(self._start_servers())
        self._write()
        self._writer = asyncio.create_task(self._keep_writing())

    async def _start_servers(self) -> None:
        async with asyncio.TaskGroup() as group:
            if self._kafka_address is None:
                group.create_task(self._broker.start())
            if self._kubeconfig is None:
                group.create_task(self._start_host())

    async def _start_host(self) -> None:
        await self._host.start()
        if self.nodes == 0:
            return
        module = ["-m", "bidplane_streams.embedded.nodes", "--kubeconfig", str(self.kubeconfig)]
        argv = [sys.executable, *module, "--count", str(self.nodes), "--mixed", str(self._mixed)]
        child = await self._add("nodes", argv, {})
        await child.ready(self._nodes_are_ready, NODES_TIMEOUT_S)

    async def _nodes_are_ready(self) -> bool:
        status, body = await self._host.get(f"/api/v1/nodes?{SIMULATED}")
        if status != probes.OK:
            return False
        usable = [node for node in json.loads(body)["items"] if not node["spec"].get("taints")]
        return len(usable) >= self.nodes

    async def _unless_stopped(self, work: Any) -> None:
        """Do the work, but let a stop signal cut it short."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise errors.Interrupted("stopped while starting")
            await working
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            stopping.cancel()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # raised above already
                await working

    def _listen(self) -> None:
        """Let SIGINT and SIGTERM end ``until_stopped``."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stopping.set)

    async def add(
        self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> processes.Child:
        """Start a process of the caller's; it is restarted with back-off (0.2 to 5 s) when it ends.

        Its log is DIR/logs/NAME.log.
        """
        child = await self._add(name, argv, env or {})
        self._write()
        return child

    async def _add(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> processes.Child:
        assert name not in self._own, f"a process {name} runs already"
        recipe = processes.Recipe(name, argv, self.directory.path / "logs", env)
        child = self._own[name] = processes.Child(recipe, restart=True)
        await child.start()
        return child

    async def remove(self, name: str) -> None:
        """Stop a process that was added."""
        await self._own.pop(name).stop()
        self._write()

    def note(self, **facts: Any) -> None:
        """Add facts (addresses, settings) to state.json."""
        self._notes |= facts
        self._write()

    async def until_stopped(self) -> None:
        """Wait for SIGINT, SIGTERM or ``request_stop``."""
        await self._stopping.wait()

    def request_stop(self) -> None:
        """End ``until_stopped``."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._stopping.is_set()

    async def stop(self) -> None:
        """Stop everything: added processes newest first, then nodes, host plane and Kafka."""
        if self._writer is not None:
            self._writer.cancel()
        own = [child for name, child in reversed(self._own.items()) if name != "nodes"]
        try:
            await processes.stop_all(own)
        finally:
            await self._stop_servers()
            self._held.close()
            for number in STOP_SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(number)

    async def _stop_servers(self) -> None:
        if "nodes" in self._own:
            await self._own["nodes"].stop()
        ends = await asyncio.gather(self._host.stop(), self._broker.stop(), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _keep_writing(self) -> None:
        """Keep the process ids in state.json true across restarts."""
        written = self._processes()
        while True:
            await asyncio.sleep(STATE_EVERY_S)
            if (now := self._processes()) != written:
                written = now
                self._write()

    def _processes(self) -> dict[str, dict[str, Any]]:
        running = {name: _row(child) for name, child in self._own.items()}
        if self._kafka_address is None and self._broker.child is not None:
            running["kafka"] = _row(self._broker.child)
        for name in self._host.pids:
            running[f"host/{name}"] = _row(self._host.child(name))
        return running

    def _write(self) -> None:
        state = {
            "pid": os.getpid(),
            "written_at_ms": time.time_ns() // 1_000_000,
            "kafka": self.kafka,
            "kubeconfig": str(self.kubeconfig),
            "nodes": self.nodes if self._kubeconfig is None else 0,
            **({"api_server": self._host.server} if self._kubeconfig is None else {}),
            **self._notes,
            "processes": self._processes(),
        }
        self.directory.write_state(state)


def _row(child: processes.Child) -> dict[str, Any]:
    return {
        "pid": child.pid,
        "starts": child.starts,
        "exit_codes": child.exit_codes[-3:],
        "log": str(child.recipe.log),
    }


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of a group that says most to a person."""
    own = group.subgroup(errors.EmbeddedError) or group
    first = own.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
