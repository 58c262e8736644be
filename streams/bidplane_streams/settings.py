"""Settings of a worker: read from BIDPLANE_* once, checked at once, never changed.

Decides names, defaults and what is refused. Refuses to know who uses them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bidplane_agents import connection
from bidplane_agents import errors as agent_errors
from bidplane_streams.errors import SettingsRefused

LANES: Final = ("accounts", "markets", "router")
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]{1,100}$")
_PORT_MAX: Final = 65_535
_HOUR_S: Final = 3600


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One worker. ``instance`` must be its own: two workers that share one fence each other."""

    kafka: str
    # TLS and SASL, as aiokafka's clients take them.
    security: dict[str, Any] = {}
    app_id: str
    instance: str
    data_dir: Path
    web_host: str
    web_port: int
    lanes: tuple[str, ...]
    usage_window_s: int


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check every setting.

    Raises:
        SettingsRefused: one cannot be used; the message names it and says what to do.
    """
    instance = environ.get("BIDPLANE_INSTANCE") or socket.gethostname()
    data_dir = environ.get("BIDPLANE_DATA_DIR") or f".bidplane/faust/{instance}"
    return Settings(
        kafka=_addresses(environ.get("BIDPLANE_KAFKA") or "127.0.0.1:9092"),
        security=_security(environ),
        app_id=_name("BIDPLANE_APP_ID", environ.get("BIDPLANE_APP_ID") or "bidplane"),
        instance=_name("BIDPLANE_INSTANCE", instance),
        data_dir=Path(data_dir).absolute(),
        web_host=environ.get("BIDPLANE_WEB_HOST") or "127.0.0.1",
        web_port=_number(environ, "BIDPLANE_WEB_PORT", 6066, _PORT_MAX),
        lanes=_lanes(environ.get("BIDPLANE_LANES") or ",".join(LANES)),
        usage_window_s=_number(environ, "BIDPLANE_USAGE_WINDOW_S", 60, _HOUR_S),
    )


def _addresses(text: str) -> str:
    try:
        return connection.addresses("BIDPLANE_KAFKA=", text)
    except agent_errors.BadInput as error:
        raise SettingsRefused(str(error)) from error


def _security(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        return connection.security(environ)
    except agent_errors.BadInput as error:
        raise SettingsRefused(str(error)) from error


def _name(setting: str, text: str) -> str:
    if _NAME.match(text) is None:
        raise SettingsRefused(f"{setting}={text!r}: use letters, digits, dots, hyphens, 1 to 100")
    return text


def _number(environ: Mapping[str, str], setting: str, default: int, highest: int) -> int:
    text = environ.get(setting) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= highest:
        raise SettingsRefused(f"{setting}={text!r}: use a whole number from 1 to {highest}")
    return int(text)


def _lanes(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    if unknown := [part for part in chosen if part not in LANES]:
        raise SettingsRefused(
            f"BIDPLANE_LANES={text!r}: {unknown[0]!r} is none of {', '.join(LANES)}"
        )
    return chosen
