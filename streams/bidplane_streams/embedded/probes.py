"""Questions to a server that may not be up yet: does it answer, and with what?

Decides how long one question may take. Refuses to judge the answer. Written on asyncio's streams:
no thread may run while children are forked, and no client library is worth its memory here.
"""

from __future__ import annotations

import asyncio
import ssl

QUESTION_TIMEOUT_S = 3.0
OK = 200


async def get(port: int, path: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Status and body of ``GET path`` at a loopback port; (0, b"") when nobody answers."""
    try:
        async with asyncio.timeout(QUESTION_TIMEOUT_S):
            return await _get(port, path, context)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
        return 0, b""


async def _get(port: int, path: str, context: ssl.SSLContext | None) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
        writer.write(request.encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body
    except IndexError:
        return 0, b""
    finally:
        writer.close()


async def listens(port: int) -> bool:
    """Whether anybody accepts connections at a loopback port."""
    try:
        opening = asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(QUESTION_TIMEOUT_S):
            _, writer = await opening
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def is_ok(port: int, path: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether ``GET path`` answers 200."""
    status, _ = await get(port, path, context)
    return status == OK
