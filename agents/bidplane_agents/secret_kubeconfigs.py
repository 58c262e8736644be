"""An agent's kubeconfig from a Secret of the host cluster, by the operator's own kubectl.

Decides by which labels the Secret is known. kubectl is called instead of a client library: an agent
author's environment has none, and an operator has kubectl with every way to log in.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bidplane_agents.errors import BadInput, NoAnswer, Unreachable
from bidplane_topics import ids

CALL_TIMEOUT_S: Final = 30.0
POLL_S: Final = 1.0
KEY: Final = "kubeconfig"


def fetch(
    agent_id: str, namespace: str, path: Path, timeout_s: float, say: Callable[[str], None]
) -> None:
    """Write the kubeconfig to PATH (mode 0600), as soon as its Secret is there.

    Raises:
        BadInput: there is no kubectl.
        Unreachable: kubectl cannot read Secrets there.
        NoAnswer: the Secret did not come in time.
    """
    end = time.monotonic() + timeout_s
    content = _held(agent_id, namespace)
    if content is None:
        say(f"waiting for the control plane of {agent_id}")
    while content is None:
        if time.monotonic() > end:
            raise NoAnswer(
                f"no Secret with a kubeconfig of {agent_id} in namespace {namespace} in "
                f"{timeout_s:g} s: was it registered with --cluster, and does `bidplane sink "
                "clusters --provider chart` run?"
            )
        time.sleep(POLL_S)
        content = _held(agent_id, namespace)
    _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, and for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def _held(agent_id: str, namespace: str, environ: Mapping[str, str] = os.environ) -> bytes | None:
    tenant, name = ids.split_agent(agent_id)
    labels = f"bidplane.io/kubeconfig=agent,bidplane.io/tenant={tenant},bidplane.io/agent={name}"
    wanted = environ.get("BIDPLANE_KUBECTL", "") or "kubectl"
    kubectl = shutil.which(wanted)
    if kubectl is None:
        raise BadInput(f"no {wanted}: install kubectl, or name it by BIDPLANE_KUBECTL")
    argv = [kubectl, "get", "secrets", "--namespace", namespace, "--selector", labels]
    try:
        done = subprocess.run(
            [*argv, "--output", "json"],
            capture_output=True, text=True, timeout=CALL_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{wanted}: no answer in {CALL_TIMEOUT_S:g} s") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise Unreachable(f"{wanted}: {said}: KUBECONFIG must name the host cluster's operator")
    found = json.loads(done.stdout)["items"]
    return base64.b64decode(found[0]["data"][KEY]) if found else None
