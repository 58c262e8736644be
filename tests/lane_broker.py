"""The embedded Kafka for tests that block: its event loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from bidplane_streams.embedded.kafka import Kafka

_TIMEOUT_S = 90


class Broker:
    """A broker in ``folder``, started at once. Use as a context manager."""

    def __init__(self, folder: Path, make: Callable[[Path], Kafka] = Kafka) -> None:
        self._loop = asyncio.new_event_loop()
        # The kernel ends a child with the thread that started it, so the thread stays until stop.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.kafka = make(folder)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._do(self.kafka.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def bootstrap(self) -> str:
        """``host:port``."""
        return self.kafka.bootstrap

    def start(self) -> None:
        """Start it, on the ports that it had."""
        self._do(self.kafka.start())

    def kill9(self) -> None:
        """Kill it as a crash would."""
        self._do(self.kafka.kill9())

    def stop(self) -> None:
        """Stop it in order."""
        self._do(self.kafka.stop())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)
