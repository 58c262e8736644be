"""Where an agent's kubeconfig is, and waiting until its control plane runs.

Decides when waiting is in vain: an agent that was not registered with --cluster gets none. Refuses
to make one: that is the clusters sink's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bidplane_agents import connection as connections
from bidplane_agents import errors, operator
from bidplane_agents.errors import BadInput, NoAnswer
from bidplane_topics import ids

POLL_S: Final = 0.2
SAY_EVERY_S: Final = 10.0


def path_of(agent_id: str, directory: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """Where the clusters sink puts it: BIDPLANE_CLUSTERS_DIR, else DIR/clusters.

    Raises:
        ContractError: this is no agent's id.
    """
    tenant, name = ids.split_agent(agent_id)
    home = environ.get("BIDPLANE_CLUSTERS_DIR", "") or str(
        Path(connections.working_directory(directory, environ)) / "clusters"
    )
    return (Path(home) / tenant / name / "kubeconfig").absolute()


async def is_due(connection: connections.Connection, agent_id: str) -> None:
    """Whether the agent will ever have one.

    Raises:
        BadInput: it is not registered, or without a cluster.
        Unreachable: Kafka does not answer.
    """
    ids.split_agent(agent_id)
    known = (await operator.Operator(connection).directory()).agents
    if agent_id not in known:
        near = errors.meant(agent_id, known)
        raise BadInput(f"{agent_id} is not registered: {near}see `bidplane agent list`")
    if not known[agent_id].cluster:
        raise BadInput(
            f"{agent_id} was registered without a control plane: "
            f"`bidplane agent register {agent_id} --cluster` gives it one"
        )


def wait(path: Path, agent_id: str, timeout_s: float, say: Callable[[str], None]) -> None:
    """Until the file is there.

    Raises:
        NoAnswer: it did not come in time.
    """
    began_s = said_s = time.monotonic()
    say(f"waiting for the control plane of {agent_id}")
    while not path.is_file():
        now_s = time.monotonic()
        if now_s - began_s >= timeout_s:
            raise NoAnswer(
                f"no {path} in {timeout_s:g} s: does `bidplane sink clusters` run "
                "(`bidplane status`), and with this --clusters-dir?"
            )
        if now_s - said_s >= SAY_EVERY_S:
            said_s = now_s
            say(f"still waiting for the control plane of {agent_id}: {now_s - began_s:.0f} s")
        time.sleep(POLL_S)
