"""Where the kernel's library lies: built once by the machine's C compiler, and cached.

Decides what defines it (sources, flags, machine: their hash names the file). Refuses to fetch
anything, and to fail a worker: without a compiler there is no kernel, and the pure path clears.
``python -m bidplane_streams.fast.building`` builds it ahead of time, as for a container image.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from typing import Final

_SOURCES: Final = pathlib.Path(__file__).parent / "kernel"
_FLAGS: Final = ("-std=gnu11", "-O2", "-fPIC", "-shared")
_COMPILERS: Final = ("cc", "gcc", "clang")
_TIMEOUT_S: Final = 120


class NoKernel(Exception):
    """There is no library: the reason, in words."""


def place() -> pathlib.Path:
    """Where it lies once it is built: under BIDPLANE_CACHE, else bidplane/ in the user's cache."""
    digest = hashlib.sha256(" ".join((*_FLAGS, sys.platform, platform.machine())).encode())
    for source in sorted(_SOURCES.glob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return _cache() / f"kernel-{digest.hexdigest()[:16]}.so"


def _cache() -> pathlib.Path:
    if chosen := os.environ.get("BIDPLANE_CACHE"):
        return pathlib.Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(base).absolute() / "bidplane"


def ensure() -> pathlib.Path:
    """The library, built now if need be, in a second or two.

    Raises:
        NoKernel: no compiler, or it failed.
    """
    built = place()
    if not built.exists():
        compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
        if compiler is None:
            raise NoKernel(f"no C compiler on PATH ({', '.join(_COMPILERS)})")
        try:
            _build(compiler, built)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise NoKernel(f"{compiler} could not build it: {said.strip()[-500:]}") from error
    return built


def _build(compiler: str, built: pathlib.Path) -> None:
    """Beside its place, then renamed: two builders do the work twice and harm nobody."""
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{built.name}.", dir=built.parent) as site:
        library = pathlib.Path(site) / built.name
        command = [compiler, *_FLAGS, "-o", str(library), str(_SOURCES / "clear.c")]
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        library.replace(built)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{ensure()}\n")
    except NoKernel as error:
        sys.exit(f"bidplane: no kernel: {error}")
