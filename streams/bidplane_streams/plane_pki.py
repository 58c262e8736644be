"""The certificates of one agent's control plane that runs in pods: from Secrets, and back to them.

Decides which files there are, which of them a pod may see, and for which names the API server's
certificate is good. Refuses to know how Secrets are read and written, and how a certificate is made
(`embedded.certs` is the one home of that). One authority per agent.
"""

from __future__ import annotations

import pathlib
import tempfile
import urllib.parse
from collections.abc import Mapping
from typing import Final

from bidplane_streams.embedded import certs, controlplane, flags
from bidplane_streams.sinks.providers import base, issued, process

# What no pod mounts: the authority's key, and the credentials that the kubeconfigs are made from.
UNSEEN: Final = frozenset(
    {"ca.key", "ca.crt"}
    | {
        f"{user}.{end}"
        for user in (process.AGENT_USER, process.SYNC_USER)
        for end in ("crt", "key")
    }
)
PROGRAMS: Final = (flags.SCHEDULER, flags.CONTROLLERS)


def issue(kept: Mapping[str, bytes], wanted: issued.Wanted) -> issued.Issued:
    """Every file of a plane: ``kept`` as it is where it may stay, the rest made or renewed.

    The keys pass through a folder of mode 0700 that is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="bidplane-plane-") as scratch:
        home = pathlib.Path(scratch)
        for file, content in _usable(kept).items():
            certs.write_secret(home / file, content)
        authority = certs.Authority(home, wanted.name)
        _ensure(authority, wanted)
        files = {place.name: place.read_bytes() for place in home.iterdir()}
        kubeconfigs = {
            kind: authority.kubeconfig(user, server, home / kind).read_bytes()
            for kind, user, server in (
                (base.AGENT_KUBECONFIG, process.AGENT_USER, wanted.agent_server),
                (base.SYNC_KUBECONFIG, process.SYNC_USER, wanted.sync_server),
            )
        }
    leaves = [files[name] for name in files if name.endswith(".crt") and name != "ca.crt"]
    return issued.Issued(
        mounted={name: files[name] for name in sorted(files) if name not in UNSEEN - {"ca.crt"}},
        unseen={name: files[name] for name in sorted(files.keys() & UNSEEN)},
        kubeconfigs=kubeconfigs,
        renew_at_ms=min(int(certs.renewal(leaf).timestamp() * 1000) for leaf in leaves),
    )


def _usable(kept: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Without its authority no certificate is good; the keys of ServiceAccounts are apart."""
    if {"ca.crt", "ca.key"} <= kept.keys():
        return kept
    return {name: content for name, content in kept.items() if name.startswith("sa.")}


def _ensure(authority: certs.Authority, wanted: issued.Wanted) -> None:
    known = {*certs.SERVER_NAMES, *certs.SERVER_ADDRESSES}
    hosts = {
        urllib.parse.urlsplit(server).hostname or ""
        for server in (wanted.agent_server, wanted.sync_server)
    }
    authority.server("apiserver", tuple(sorted(hosts - known)))
    authority.server("etcd")
    authority.client("etcd-client", "kube-apiserver")
    authority.token_keys()
    for user in PROGRAMS:
        authority.client(user.removeprefix("system:"), user)
    for user in (process.AGENT_USER, process.SYNC_USER):
        authority.client(user, user, controlplane.ADMIN_GROUPS)
