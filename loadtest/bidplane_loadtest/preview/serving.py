"""The preview as a web server on loopback, or as one file.

Decides addresses, the default time shown, and how a browser makes a picture of a page.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from bidplane_agents.errors import BadInput, BidplaneError
from bidplane_loadtest.preview import answers, asking, boards, choosing, filling, page

HOST: Final = "127.0.0.1"
MINUTES_DEFAULT: Final = 30
MINUTES_MAX: Final = 7 * 24 * 60
PICTURE_TIMEOUT_S: Final = 120
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


async def rendered(
    url: str,
    found: Mapping[str, boards.Board],
    name: str,
    asked: Mapping[str, Sequence[str]],
    note: Callable[[str], object] = str,
) -> str:
    """The page of one dashboard; ``asked`` are the form's fields, ``note`` is told of strange ones.

    Raises:
        Unreachable: no Prometheus answers there.
    """
    minutes = _number(asked, "minutes", MINUTES_DEFAULT, MINUTES_MAX)
    refresh_s = _number(asked, "refresh", 0, 3600)
    async with asking.reached(url) as server:
        end_s = time.time()
        span = filling.Span(end_s - 60 * max(1, minutes), end_s, await server.scrape_s())
        answered = await answers.asked(server, found[name], span, asked)
    for one in choosing.strange_values(answered):
        note(one)
    return await asyncio.to_thread(page.whole, answered, list(found), url, refresh_s)


def _number(asked: Mapping[str, Sequence[str]], name: str, default: int, most: int) -> int:
    given = (asked.get(name) or [""])[0]
    return min(int(given), most) if given.isdigit() else default


async def reach(url: str) -> None:
    """Ask for no more than its settings.

    Raises:
        Unreachable: no Prometheus answers there.
    """
    async with asking.reached(url) as server:
        await server.scrape_s()


def application(url: str, found: Mapping[str, boards.Board], first: str) -> web.Application:
    """The web application: ``/NAME`` for each dashboard, ``/`` for the first."""
    drawing = asyncio.Lock()  # one page at a time: they are drawn in a thread, and cost a second

    async def show(request: web.Request) -> web.Response:
        name = request.match_info.get("name") or first
        if name not in found:
            raise web.HTTPNotFound(text=f"no dashboard {name}: there are {', '.join(found)}\n")
        asked = {key: request.query.getall(key) for key in request.query}
        try:
            async with drawing:
                text = await rendered(url, found, name, asked)
        except BidplaneError as error:
            return web.Response(status=502, text=f"{error}\n")
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", show), web.get("/{name}", show)])
    return app


async def serve(app: web.Application, port: int, say: Callable[[str], None]) -> None:
    """Serve until cancelled; ``say`` is told the address.

    Raises:
        BadInput: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise BadInput(f"--port {port}: {error.strerror}: name another, or 0") from error
        say(f"http://{HOST}:{runner.addresses[0][1]}/")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def browser() -> str:
    """A Chromium: BIDPLANE_CHROMIUM, else the one on the path.

    Raises:
        BadInput: there is none.
    """
    named = os.environ.get("BIDPLANE_CHROMIUM")
    for one in (named,) if named else BROWSERS:
        if path := shutil.which(one):
            return path
    raise BadInput("no chromium on the path, which makes the picture: install it, name it in"
                   " BIDPLANE_CHROMIUM, or take --html")  # fmt: skip


def picture(text: str, into: pathlib.Path, height: int) -> None:
    """A PNG of a page.

    Raises:
        BadInput: there is no browser, or it made no picture.
    """
    program = browser()
    with tempfile.TemporaryDirectory(prefix="bidplane-preview-") as folder:
        source = pathlib.Path(folder) / "page.html"
        source.write_text(text, encoding="utf-8")
        argv = [
            *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size=1470,{height}",
            f"--screenshot={into.absolute()}", source.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                [program, *argv], stdin=subprocess.DEVNULL, capture_output=True,
                timeout=PICTURE_TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise BadInput(f"{program} made no picture within {PICTURE_TIMEOUT_S} s") from error
    if done.returncode or not into.exists():
        raise BadInput(f"{program} made no picture (code {done.returncode}): take --html")


def height_of(board: boards.Board) -> int:
    """The height of its page in pixels, the form above the grid included."""
    bottom = max((panel.place[1] + panel.place[3] for panel in board.panels), default=0)
    return bottom * page.LINE_PX + 230
