"""Whether a process lives and is ready, and the port that says so beside its metrics.

Decides what `/livez` and `/readyz` answer: 200, or 503 with the reason in one line. Refuses to know
what runs: it is handed a function that says what is missing. The port of a sink or source is served
by a thread of its own, which can tell that the event loop beside it stands still. A worker's pages
are Faust's, on the loop itself: standing still it does not answer at all, which a probe takes for
the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import http.server
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Final

import prometheus_client

from bidplane_streams import clock
from bidplane_streams.errors import SettingsRefused

BEAT_S: Final = 1.0
LIVE_WITHIN_S: Final = 10.0
# A client that says nothing keeps a thread for this long.
PATIENCE_S: Final = 10.0
PLAIN: Final = "text/plain; charset=utf-8"


class Health:
    """A process's health. ``missing`` says what it waits for, in a few words; empty if nothing."""

    def __init__(self, missing: Callable[[], str]) -> None:
        """Alive from now on; ``beat`` must run on the loop that is watched."""
        self._missing = missing
        self._beaten_s = clock.elapsed_s()

    async def beat(self) -> None:
        """Say so again and again, until cancelled."""
        while True:
            self._beaten_s = clock.elapsed_s()
            await asyncio.sleep(BEAT_S)

    def live(self) -> tuple[http.HTTPStatus, str]:
        """Whether the loop turns."""
        still_s = clock.elapsed_s() - self._beaten_s
        if still_s > LIVE_WITHIN_S:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, f"the loop stands still: {still_s:.0f} s"
        return http.HTTPStatus.OK, "alive"

    def ready(self) -> tuple[http.HTTPStatus, str]:
        """Whether nothing is missing."""
        missing = self._missing()
        if missing:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, missing
        return http.HTTPStatus.OK, "ready"


class _Server(http.server.ThreadingHTTPServer):
    """Answers in threads that never keep the process from ending."""

    health: Health

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as the library would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    """Three pages."""

    server: _Server
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            page = prometheus_client.generate_latest()
            self._answer(http.HTTPStatus.OK, page, prometheus_client.CONTENT_TYPE_LATEST)
        elif path in {"/livez", "/readyz"}:
            health = self.server.health
            status, words = health.live() if path == "/livez" else health.ready()
            self._answer(status, f"{words}\n".encode(), PLAIN)
        else:
            self._answer(http.HTTPStatus.NOT_FOUND, b"/metrics, /livez, /readyz\n", PLAIN)

    def _answer(self, status: http.HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: a probe comes every few seconds."""


@contextlib.contextmanager
def port(host: str, number: int, health: Health) -> Iterator[int]:
    """Serve the pages for as long as the block runs; the port, which 0 lets the system choose.

    Raises:
        SettingsRefused: nothing can listen there.
    """
    kind = _SixServer if ":" in host else _Server
    try:
        server = kind((host, number), _Handler)
    except OSError as error:
        raise _refused("BIDPLANE_METRICS_PORT", host, number, error) from error
    server.health = health
    thread = threading.Thread(
        target=server.serve_forever, args=(0.1,), name="probes", daemon=True
    )  # fmt: skip
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


def check_free(setting: str, host: str, number: int) -> None:
    """Whether a server that comes later will be able to listen there.

    Raises:
        SettingsRefused: it will not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, number))
            trial.listen()
        except OSError as error:
            raise _refused(setting, host, number, error) from error


def _refused(setting: str, host: str, number: int, error: OSError) -> SettingsRefused:
    words = error.strerror or str(error)
    return SettingsRefused(f"{setting}={number}: {host}: {words}: choose a free port")
