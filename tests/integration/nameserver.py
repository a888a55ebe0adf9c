"""A name server of our own, and a /etc/resolv.conf that only the program under test sees."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wait_until

A, OK, NO_SUCH_NAME = 1, 0, 3


class NameServer:
    """Knows every name below .test as 127.0.0.1. Those that begin with "hole" it
    does not answer while the test goes on."""

    def __init__(self, folder: Path, options: str) -> None:
        self.asked: set[str] = set()
        self._held: list[tuple[bytes, tuple[str, int]]] = []
        self.sock = self._bind()
        self.folder = folder
        (folder / "resolv.conf").write_text(f"nameserver {self.sock.getsockname()[0]}\noptions {options}\n")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def prefix(self) -> tuple[str, ...]:
        """Of a command that is to ask this server."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, str(self.folder / "resolv.conf"))

    @staticmethod
    def _bind() -> socket.socket:
        """Port 53 of an address that nobody else has, tests that run beside us among them."""
        while True:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((f"127.{random.randrange(1, 250)}.{random.randrange(250)}.53", 53))
                return sock
            except OSError:
                sock.close()

    def _run(self) -> None:
        while True:
            query, peer = self.sock.recvfrom(4096)
            if not query:  # close() has sent it
                break
            name, end = read_name(query)
            self.asked.add(name)
            if name.startswith("hole"):
                self._held.append((query, peer))
            else:
                self.sock.sendto(answer(query, end), peer)
        for query, peer in self._held:  # so that nobody waits for them any more
            self.sock.sendto(query[:2] + struct.pack(">H", 0x8180 | NO_SUCH_NAME) + query[4:], peer)

    def wait_asked(self, names: set[str]) -> None:
        wait_until(lambda: names <= self.asked, f"{names} asked for; {self.asked} so far")

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.sock.getsockname())
        self._thread.join()
        self.sock.close()


def read_name(query: bytes) -> tuple[str, int]:
    """The name that is asked for, and where it ends."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), at + 1


def answer(query: bytes, end: int) -> bytes:
    """127.0.0.1 if an IPv4 address is asked for, else: no such record."""
    is_a = struct.unpack_from(">H", query, end)[0] == A
    head = query[:2] + struct.pack(">HHHHH", 0x8180 | OK, 1, int(is_a), 0, 0)
    record = struct.pack(">HHHIH4s", 0xC00C, A, 1, 60, 4, socket.inet_aton("127.0.0.1"))
    return head + query[12 : end + 4] + (record if is_a else b"")


def why_not() -> str | None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a resolv.conf of our own takes root, and unshare"
    command = ["unshare", "--mount", "mount", "--bind", "/dev/null", "/etc/resolv.conf"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        return "no mounts of our own here"
    return None


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[NameServer]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    server = NameServer(tmp_path, "timeout:30 attempts:2")
    try:
        yield server
    finally:
        server.close()
