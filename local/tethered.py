"""Becomes another program, which the kernel kills when the process that started it ends, however it ends.

``python -I -S tethered.py <parent's process id> <program> <argument>...``. Run by path, with the standard
library alone: it costs a few milliseconds and the program keeps this process's id. A hook between fork and
exec would do the same, but is unsafe in a process that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tether() -> None:
    """Ask the kernel to kill this process when its parent ends; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Tether this process and run the program in it."""
    parent = int(sys.argv[1])
    tether()
    # The parent may have ended before the kernel was asked.
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - becoming that program is the purpose


if __name__ == "__main__":
    main()
