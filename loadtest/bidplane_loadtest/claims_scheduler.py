"""The baseline beside the claims sink: kube-scheduler allocates claims of as many devices.

Decides what it is asked for: plain claims by class and count, each with one pod, all at once. That
is less work than a lease's claim, which names its devices. Refuses to share the cluster with the
sink: it runs before the sink's admission policies are there, and takes away what it made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from bidplane_streams.sinks import claims_objects, device_classes, errors, kube, names

SPACE: Final = "bench-scheduler"
AT_ONCE: Final = 16
LOOK_EVERY_S: Final = 1.0
GONE_TIMEOUT_S: Final = 120.0

Object = dict[str, Any]


def _claim(name: str, count: int) -> Object:
    asked = {"deviceClassName": names.GPU_CLASS, "count": count}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"devices": {"requests": [{"name": "d", "exactly": asked}]}},
    }


def _pod(name: str) -> Object:
    container = {"name": "c", "image": "bench:1", "resources": {"claims": [{"name": "l"}]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "containers": [container],
            "resourceClaims": [{"name": "l", "resourceClaimName": name}],
            "terminationGracePeriodSeconds": 1,
        },
    }


async def measure(api: kube.Kube, sizes: Sequence[int], limit_s: float) -> tuple[int, float]:
    """How many of the claims it allocated, and the seconds that it took or was given."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    await api.apply(kube.NAMESPACES, space)
    for one in device_classes.sold({}).objects:
        await api.apply(kube.CLASSES, one)
    await _until_pods_may_be_made(api)
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(number: int, count: int) -> None:
        async with slots:
            await api.create(kube.CLAIMS, _claim(f"c{number}", count))
            await api.create(kube.PODS, _pod(f"c{number}"))

    began_s = time.monotonic()
    making = asyncio.gather(*(make(number, count) for number, count in enumerate(sizes)))
    done = 0
    while done < len(sizes) and time.monotonic() - began_s < limit_s:
        await asyncio.sleep(LOOK_EVERY_S)
        done = await _allocated(api)
    took_s = time.monotonic() - began_s
    await making
    await _remove(api)
    return done, took_s


async def _until_pods_may_be_made(api: kube.Kube) -> None:
    """Pods are refused until the namespace has its service account."""
    account = kube.Resource("/api/v1", "serviceaccounts")
    async with asyncio.timeout(GONE_TIMEOUT_S):
        while await api.get(account, "default", SPACE) is None:
            await asyncio.sleep(0.1)


async def _allocated(api: kube.Kube) -> int:
    found, _ = await api.list_all(kube.CLAIMS, SPACE)
    return sum(bool(claims_objects.allocated(one)) for one in found)


async def _remove(api: kube.Kube) -> None:
    """Pods first, then claims, then nothing may be left that holds a device."""
    for resource in (kube.PODS, kube.CLAIMS):
        async with asyncio.timeout(GONE_TIMEOUT_S):
            while True:
                found, _ = await api.list_all(resource, SPACE)
                if not found:
                    break
                for one in found:
                    if not one["metadata"].get("deletionTimestamp"):
                        await _delete(api, resource, one["metadata"]["name"])
                await asyncio.sleep(LOOK_EVERY_S)


async def _delete(api: kube.Kube, resource: kube.Resource, name: str) -> None:
    try:
        await api.delete(resource, name, namespace=SPACE)
    except errors.Retriable:
        return  # the next look finds it again
