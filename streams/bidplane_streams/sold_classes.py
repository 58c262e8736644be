"""Which device classes an operator sells beside GPUs and NICs, as it names them on a command line.

Decides what a well-formed name is. Refuses to know devices.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

import typer

from bidplane_agents.errors import BadInput

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST: Final = 63

Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--device-class", metavar="CLASS[=DRIVER]",
        help="Sell these devices too; DRIVER is called as CLASS if not given. Repeat for more.",
    ),
]  # fmt: skip
Companion = Annotated[
    str,
    typer.Option(metavar="CLASS", help="Sell each GPU with the CLASS device on its PCIe root."),
]


def by_driver(words: Iterable[str]) -> dict[str, str]:
    """``CLASS`` or ``CLASS=DRIVER``, as {driver: class}.

    Raises:
        BadInput: a name is none, or a driver is named twice.
    """
    found: dict[str, str] = {}
    for text in words:
        name, _, driver = text.partition("=")
        driver = driver or name
        if not _is_name(name) or not _is_name(driver):
            raise BadInput(f"--device-class {text!r}: write CLASS or CLASS=DRIVER, as DNS names")
        if driver in found:
            raise BadInput(f"--device-class {text!r}: the driver {driver} has a class already")
        found[driver] = name
    return found


def companion(text: str) -> str:
    """The class of companions, or an empty string.

    Raises:
        BadInput: it is no name.
    """
    if text and not _is_name(text):
        raise BadInput(f"--companion {text!r}: write the DNS name of a device class")
    return text


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None
