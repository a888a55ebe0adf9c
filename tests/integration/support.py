"""What all tests share: payloads, addresses, bounded waits, a look at a process from outside."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

KIB = 1024
MIB = 1024 * 1024
PATIENCE = 20.0  # seconds a test waits for what must come; never reached when all is well

Address = tuple[str, int] | str


def default_binary() -> str:
    """The program under test: $TIDEGATE, or the default build folder's."""
    fallback = Path(__file__).resolve().parent.parent.parent / "build" / "proxy" / "tidegate"
    return os.environ.get("TIDEGATE", str(fallback))


@functools.cache
def is_sanitized() -> bool:
    """Whether the program carries AddressSanitizer, so that its memory figures mean nothing."""
    if os.environ.get("TIDEGATE_SANITIZED") == "1":
        return True
    return b"__asan_init" in Path(default_binary()).read_bytes()


@functools.cache
def payload(size: int, seed: int = 0) -> bytes:
    """The same `size` bytes for the same seed, without a pattern."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """For what tells no event: looks again every few milliseconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}")
        time.sleep(0.01)


def parse_address(text: str) -> tuple[socket.AddressFamily, Address]:
    """An address as the program writes it, for socket.connect."""
    if text.startswith("unix:"):
        return socket.AF_UNIX, text.removeprefix("unix:")
    host, port = text.rsplit(":", 1)
    if host.startswith("["):
        return socket.AF_INET6, (host.strip("[]"), int(port))
    return socket.AF_INET, (host, int(port))


def dial(
    address: str,
    *,
    rcvbuf: int | None = None,
    sndbuf: int | None = None,
    source: str | None = None,
    timeout: float = PATIENCE,
) -> socket.socket:
    """A connected blocking socket; a small receive buffer must be set before connecting. `source`: the
    address that it is to come from."""
    family, where = parse_address(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    if rcvbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if sndbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    sock.settimeout(timeout)
    try:
        if source is not None:
            sock.bind((source, 0))
        sock.connect(where)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        sock.close()
        raise
    return sock


def reset(sock: socket.socket) -> None:
    """Closes with a reset. A unix socket has none: there the peer sees ECONNRESET only if it had
    sent what we have not read."""
    try:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def resident_bytes(pid: int) -> int:
    """Memory of a process that is its own and in RAM."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * KIB
    raise AssertionError("no Private_Dirty in smaps_rollup")


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid: int) -> list[str]:
    """What the process's descriptors are: "socket:[1234]", "/dev/null"..."""
    names = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:  # closed meanwhile
            pass
    return names


def count_sockets(pid: int) -> int:
    return sum(name.startswith("socket:") for name in open_files(pid))
