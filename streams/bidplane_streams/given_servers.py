"""Servers that a person gives to `bidplane up` instead of ours, looked at before anything starts.

Decides whether they answer and are new enough. Refuses to change anything on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Final

from bidplane_agents import connection
from bidplane_agents import errors as agent_errors
from bidplane_streams.sinks import errors, kube

ANSWER_TIMEOUT_S: Final = 10.0
# Before 1.36 an anchor that is not a pod stops the clean-up of reservations (DRA).
MINOR_LEAST: Final = 36


async def check(kafka: str | None, kubeconfig: pathlib.Path | None) -> None:
    """Ask each server that was given one question.

    Raises:
        BadInput: the address or the kubeconfig is none, its user is refused, or the cluster is too
            old.
        Unreachable: a server does not answer.
    """
    if kafka is not None:
        given = connection.addresses("--kafka ", kafka)
        async with connection.from_environment(given).administered():
            pass
    if kubeconfig is not None:
        await _check_cluster(kubeconfig)


@contextlib.asynccontextmanager
async def reached(kubeconfig: pathlib.Path) -> AsyncIterator[kube.Kube]:
    """The cluster of a kubeconfig; what goes wrong with it is one sentence.

    Raises:
        BadInput: it is no kubeconfig, or its user is refused.
        Unreachable: the cluster does not answer.
    """
    try:
        api = await kube.connect(str(kubeconfig))
        try:
            yield api
        finally:
            await api.close()
    except errors.Permanent as error:
        raise agent_errors.BadInput(str(error)) from error
    except (errors.Retriable, TimeoutError) as error:
        detail = str(error) or f"no answer within {ANSWER_TIMEOUT_S:.0f} s"
        raise agent_errors.Unreachable(f"--kubeconfig {kubeconfig}: {detail}") from error


async def _check_cluster(kubeconfig: pathlib.Path) -> None:
    async with reached(kubeconfig) as api, asyncio.timeout(ANSWER_TIMEOUT_S):
        version = await api.call("GET", "/version")
    where = f"--kubeconfig {kubeconfig}"
    minor = int("".join(filter(str.isdigit, str(version.get("minor", "")))) or 0)
    if (str(version.get("major")), minor) < ("1", MINOR_LEAST):
        raise agent_errors.BadInput(
            f"{where}: Kubernetes {version.get('gitVersion')} is too old: it takes 1.{MINOR_LEAST}"
        )
