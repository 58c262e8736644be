"""Become another program that cannot outlive its parent: ``leash.py PARENT_PID PROGRAM [ARG…]``.

Decides that the kernel kills this process when its parent dies, however the parent dies. Refuses to
know which program it becomes. It is a step of its own, run by path with the standard library alone,
because the same call between fork and exec of a threaded parent may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the program; 127 if there is none such."""
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the leash held
        os._exit(137)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - becoming the program is the point
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main()
