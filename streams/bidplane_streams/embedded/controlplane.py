"""One Kubernetes control plane as child processes: etcd, API server, scheduler, controllers.

Decides the order of start and stop, the files, and when a plane may be used. Refuses to know what
is kept in it. Its data, ports, authority and kubeconfigs survive a restart in the same directory.
"""

from __future__ import annotations

import dataclasses
import pathlib
import ssl

from bidplane_streams.embedded import assets, builds, certs, flags, ports, probes, processes

Flavour = flags.Flavour
READY_TIMEOUT_S = 120.0
SMALL_HEAP = {"GOGC": "25"}
ADMIN_GROUPS = ("system:masters",)
DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PROGRAMS = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")


@dataclasses.dataclass(frozen=True, slots=True)
class SharedEtcd:
    """Somebody else's etcd: where it is, which prefix is ours, where its credentials lie.

    ``pki`` holds ca.crt, etcd-client.crt and etcd-client.key.
    """

    url: str
    prefix: str
    pki: pathlib.Path


class ControlPlane:
    """The control plane of DIR/NAME: ``start``, ``stop``, ``kubeconfig``, ``pids``, ``server``.

    An agent's plane starts an etcd of its own unless ``etcd`` names one to share. With ``restart``
    a program that dies is started again; without, a test decides.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        name: str,
        flavour: Flavour,
        *,
        etcd: SharedEtcd | None = None,
        restart: bool = False,
        node_grace_s: int = 40,
    ) -> None:
        self.name = name
        self.flavour = flavour
        self.home = directory.absolute() / name
        self.pki = self.home / "pki"
        self._shared = etcd
        self._restart = restart
        self._node_grace_s = node_grace_s
        self._authority = certs.Authority(self.pki, name)
        self._children: dict[str, processes.Child] = {}
        self._ports: dict[str, int] = {}

    @property
    def server(self) -> str:
        """The API server's address; known once ``start`` was called."""
        assert self._ports, "start the control plane first"
        return f"https://127.0.0.1:{self._ports['api']}"

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each program that runs, by program."""
        return {name: child.pid for name, child in self._children.items() if child.pid}

    @property
    def etcd(self) -> SharedEtcd:
        """This plane's etcd, for other planes to share under prefixes of their own."""
        if self._shared is not None:
            return self._shared
        return SharedEtcd(f"https://127.0.0.1:{self._ports['etcd']}", "/registry", self.pki)

    def child(self, program: str) -> processes.Child:
        """The supervised child of one program, for fault tests."""
        return self._children[program]

    def kubeconfig(
        self, user: str = "admin", groups: tuple[str, ...] = ADMIN_GROUPS
    ) -> pathlib.Path:
        """Write a kubeconfig for a user of some groups; its path.

        ``admin`` is in ``system:masters``; give other users the groups that RBAC knows them by.
        """
        file = user.removeprefix("system:").replace(":", "-").replace("/", "-")
        self._authority.client(file, user, groups)
        return self._authority.kubeconfig(file, self.server, self.pki / f"{file}.kubeconfig")

    async def start(self) -> None:
        """Start the programs and wait until a pod may be created (5 to 10 s on two cores).

        Raises:
            PrerequisiteMissing: a program must be built and Go is missing.
            ServerFailed: a program ended or was not ready in time.
        """
        assert not self.pids, "it runs already: `child(program).start()` brings one program back"
        places = await builds.aside(lambda: {name: assets.program(name) for name in PROGRAMS})
        self._prepare()
        plane = self._plane()
        if self._shared is None:
            await self._start_etcd(places["etcd"])
        argv = {
            "kube-apiserver": flags.apiserver(plane),
            "kube-scheduler": flags.scheduler(plane),
            "kube-controller-manager": flags.controller_manager(plane),
        }
        for name, arguments in argv.items():
            await self._start(name, [str(places[name]), *arguments])
            if name == "kube-apiserver":
                await self._until(name, "api", "/readyz")
        await self._until("kube-controller-manager", "controllers", "/healthz")
        await self._until("kube-scheduler", "scheduler", "/healthz")
        # Pods are refused until this account exists, and it comes after everybody is ready.
        await self._until("kube-apiserver", "api", DEFAULT_ACCOUNT)

    def _prepare(self) -> None:
        names = ("api", "scheduler", "controllers", "etcd", "etcd-peer")
        self._ports = ports.remembered(self.home / "ports.json", *names)
        self._authority.server("apiserver")
        self._authority.server("etcd")
        self._authority.client("etcd-client", "kube-apiserver")
        self._authority.token_keys()
        self.kubeconfig()
        self.kubeconfig(flags.SCHEDULER, ())
        self.kubeconfig(flags.CONTROLLERS, ())

    def _plane(self) -> flags.Plane:
        etcd = self.etcd
        return flags.Plane(
            flavour=self.flavour,
            pki=self.pki,
            api=self._ports["api"],
            scheduler=self._ports["scheduler"],
            controllers=self._ports["controllers"],
            etcd=etcd.url,
            prefix=etcd.prefix,
            etcd_pki=etcd.pki,
            node_grace_s=self._node_grace_s,
        )

    async def _start_etcd(self, place: pathlib.Path) -> None:
        client, peer = self._ports["etcd"], self._ports["etcd-peer"]
        argv = [str(place), *flags.etcd(self.home / "etcd", client, peer, self.pki)]
        await self._start("etcd", argv)
        await self._until("etcd", "etcd", "/health")

    async def _start(self, program: str, argv: list[str]) -> None:
        env = SMALL_HEAP if self.flavour is Flavour.AGENT else {}
        recipe = processes.Recipe(program, argv, self.home / "logs", env)
        child = self._children[program] = processes.Child(recipe, restart=self._restart)
        await child.start()

    async def _until(self, program: str, port: str, path: str) -> None:
        """Wait until ``path`` at a port answers 200; its program's death is the answer else."""
        context = self._context("etcd-client" if port == "etcd" else "admin")
        if port in {"scheduler", "controllers"}:  # they serve a certificate of their own making
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

        async def probe() -> bool:
            return await probes.is_ok(self._ports[port], path, context)

        await self._children[program].ready(probe, READY_TIMEOUT_S)

    def _context(self, client: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / f"{client}.crt", self.pki / f"{client}.key")
        return context

    async def is_ready(self) -> bool:
        """Whether the API server calls itself ready now."""
        status, _ = await self.get("/readyz")
        return status == probes.OK

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an administrator's GET; (0, b"") when the API server is away."""
        return await probes.get(self._ports["api"], path, self._context("admin"))

    async def stop(self) -> None:
        """Stop the programs, the datastore last; safe at any time, more than once."""
        own = [child for name, child in self._children.items() if name != "etcd"]
        try:
            await processes.stop_all(own)
        finally:
            if "etcd" in self._children:
                await self._children["etcd"].stop()
