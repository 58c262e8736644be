"""What a figure depends on beside bidplane: the machine, the versions, the load before.

Decides what is worth noting. Refuses to name the machine or its paths.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
from typing import Final

import psutil

from bidplane_loadtest.load.result import Machine

PACKAGES: Final = ("bidplane", "aiokafka", "msgspec", "PyNaCl", "hdrhistogram", "numpy")


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        cpus=os.cpu_count() or 1, cpu=_cpu(), kernel=platform.release(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load_before=round(os.getloadavg()[0], 2),
    )  # fmt: skip


def _cpu() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Python's and those of packages whose speed shows."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
