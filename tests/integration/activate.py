"""Starts a program with sockets that are open already, as systemd does.

usage: activate.py [FD:NAME]... -- PROGRAM [ARGUMENT]...     each FD is handed over as 3, 4, ..."""

from __future__ import annotations

import fcntl
import os
import sys


def main() -> None:
    at = sys.argv.index("--")
    handed = [argument.split(":", 1) for argument in sys.argv[1:at]]
    # out of the way first: they may lie where others are to go
    moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd, _ in handed]
    for fd, _ in handed:
        os.set_inheritable(int(fd), False)
    for target, fd in enumerate(moved, 3):
        os.dup2(fd, target, inheritable=True)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(handed))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for _, name in handed)
    os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])


main()
