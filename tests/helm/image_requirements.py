"""What the image installs: those rows of requirements.txt that worker, sinks and source need.

Decides the closure, from what the installed distributions say of themselves. Versions and hashes
are requirements.txt's. ``python tests/helm/image_requirements.py`` writes helm/requirements.txt.
"""

from __future__ import annotations

import pathlib
import re
import sys
from importlib import metadata
from typing import Final

from packaging import markers, requirements, utils

ROOT: Final = pathlib.Path(__file__).resolve().parents[2]
TARGET: Final = ROOT / "helm" / "requirements.txt"
EXTRAS: Final = ("streams", "sinks")
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
# What pip needs to build our own wheel without looking for anything else.
BUILDING: Final = ("hatchling",)


def wanted() -> str:
    """The file's text."""
    names = closure("bidplane", EXTRAS)
    for name in BUILDING:
        names |= closure(name, ()) | {name}
    rows = _rows()
    return "".join(rows[name] for name in sorted(names - {"bidplane"}))


def closure(root: str, extras: tuple[str, ...]) -> set[str]:
    """Everything that a distribution with its extras needs, by normal name."""
    found: set[str] = set()
    waiting = [(root, extra) for extra in ("", *extras)]
    done: set[tuple[str, str]] = set()
    while waiting:
        name, extra = one = waiting.pop()
        if one in done:
            continue
        done.add(one)
        for text in metadata.requires(name) or ():
            need = requirements.Requirement(text)
            if need.marker is None or _applies(need.marker, extra):
                found.add(utils.canonicalize_name(need.name))
                waiting += [(need.name, more) for more in ("", *sorted(need.extras))]
    return found


def _applies(marker: markers.Marker, extra: str) -> bool:
    return any(marker.evaluate({"extra": extra, "python_version": each}) for each in PYTHONS)


def _rows() -> dict[str, str]:
    """The rows of each name: some have one for each of several Pythons."""
    found: dict[str, str] = {}
    text = (ROOT / "requirements.txt").read_text()
    for row in re.findall(r"^[A-Za-z0-9].*(?:\n[ \t].*)*\n?", text, re.MULTILINE):
        name = utils.canonicalize_name(re.split(r"[=\[]", row)[0])
        found[name] = found.get(name, "") + row
    return found


if __name__ == "__main__":
    TARGET.write_text(wanted())
    sys.stdout.write(f"{TARGET}\n")
