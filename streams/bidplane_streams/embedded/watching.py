"""Lists and watches of the API server that start over by themselves.

Decides when to list again: after every break, 410 and pause included, because the client's own
watch would retry with the same stale version. Refuses to know what is watched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from kubernetes_asyncio import client, config, watch

log = logging.getLogger(__name__)
WATCH_S = 240
REST_S = 0.5
NOT_FOUND = 404
TOO_MANY = 429
REFUSED = 400
SERVER_ERROR = 500
BROKEN = (client.ApiException, aiohttp.ClientError, TimeoutError, OSError)
"""What a call may end with when the API server is away or says no."""

Object = dict[str, Any]
T = TypeVar("T")


class Listed(list[Object]):
    """Everything there is, at the start and after every break."""


async def follow(call: Callable[..., Any], **selectors: Any) -> AsyncIterator[Listed | Object]:
    """Yield a ``Listed``, then each watch event (``type``, ``object``); over and over."""
    while True:
        try:
            listed = await plain(call(**selectors, _preload_content=False))
            items = Listed(listed["items"] or ())
            yield items
            version = listed["metadata"]["resourceVersion"]
            async with watch.Watch().stream(
                call, **selectors, resource_version=version, timeout_seconds=WATCH_S
            ) as events:
                async for event in events:
                    yield {"type": event["type"], "object": event["raw_object"]}
        except BROKEN as error:
            log.info("listing again: %s", _line(error))
        await asyncio.sleep(REST_S)


async def plain(call: Awaitable[Any]) -> Object:
    """The answer of a call made with ``_preload_content=False``, as plain JSON.

    Raises:
        ApiException: the server refused; the client itself does not look in this mode.
    """
    answer = await call
    text = await answer.text()
    if answer.status >= REFUSED:
        refusal = client.ApiException(status=answer.status, reason=answer.reason)
        refusal.body = text
        raise refusal
    decoded: Object = json.loads(text)
    return decoded


async def insist(call: Callable[[], Awaitable[T]]) -> T | None:
    """Call until it works; None when the object is not there (any more) or we are refused."""
    while True:
        try:
            return await call()
        except client.ApiException as error:
            status = error.status or SERVER_ERROR
            if status < SERVER_ERROR and status != TOO_MANY:
                if status != NOT_FOUND:
                    log.info("given up: %s", _line(error))
                return None
        except BROKEN as error:
            log.info("trying again: %s", _line(error))
        await asyncio.sleep(REST_S)


@contextlib.asynccontextmanager
async def connection(kubeconfig: str) -> AsyncIterator[Any]:
    """A client of the API server that a kubeconfig names."""
    settings = client.Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    settings.connection_pool_maxsize = 100
    async with client.ApiClient(settings) as api:
        yield api


def _line(error: BaseException) -> str:
    if isinstance(error, client.ApiException):
        return f"{error.status} {error.reason} {str(error.body)[:200]}"
    return f"{type(error).__name__} {error}"
