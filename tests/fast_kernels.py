"""Kernels compiled for a test, the real one or one with a fault put in, and what they answer."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import msgspec

from bidplane_streams.fast import building, clearing
from bidplane_streams.fast.columns import Columns
from bidplane_streams.fast.native import Kernel
from bidplane_topics.instances import Instance


def compiled(site: pathlib.Path, file: str = "clear.c", old: str = "", new: str = "") -> Kernel:
    """The kernel with one text of one source replaced, which must stand there once."""
    folder = site / "kernel"
    shutil.copytree(building._SOURCES, folder)
    text = (folder / file).read_text()
    assert not old or text.count(old) == 1, f"{file} holds {text.count(old)} times: {old}"
    (folder / file).write_text(text.replace(old, new) if old else text)
    library = site / "kernel.so"
    flags = [flag for flag in building._FLAGS if not flag.startswith("-O")]
    command = ["cc", *flags, "-O1", "-w", "-o", str(library), str(folder / "clear.c")]
    subprocess.run(command, check=True, timeout=120)
    return Kernel(library)


def answer(kernel: Kernel, instance: Instance, rule: str = "greedy") -> bytes:
    """The kernel's own result as bytes: the pure path does not stand in for it."""
    result = clearing._by(kernel, instance, Columns.of(instance.bids), rule)
    assert result is not None, "the instance is within the kernel's bounds"
    return msgspec.json.encode(result)
