"""Servers from Debian's packages, and the way to them through tunnel and proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fronts import Front, find
from rig import Rig
from support import default_binary, free_port, open_files, wait_until
from tunnel import start_tunnel

TCP_LISTEN = "0A"  # in /proc/net/tcp


def listeners(port: int) -> list[str]:
    """The sockets that listen there, as /proc names them."""
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()]
    return [f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == TCP_LISTEN]


def is_listening(port: int) -> bool:
    """Without connecting: some servers take one connection in their life."""
    return bool(listeners(port))


def sockets_of_group(group: int) -> set[str]:
    names = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(pid)) == group:
                names.update(open_files(int(pid)))
        except (FileNotFoundError, ProcessLookupError):  # gone meanwhile
            continue
    return names


def run(*command: str, send: bytes = b"", timeout: float = 60, **options: Any) -> bytes:
    """A program's output. It must exit with 0."""
    result = subprocess.run([find(command[0]), *command[1:]], input=send, capture_output=True, timeout=timeout, **options)
    text = result.stderr.decode("utf-8", "replace")
    assert result.returncode == 0, f"{' '.join(command)}: exit {result.returncode}\n{text[-3000:]}"
    return result.stdout


def processes_with(text: str) -> list[str]:
    """Command lines that have it."""
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in line and int(pid) != os.getpid():
            lines.append(line)
    return lines


class Service:
    """One running server on a free port of its own."""

    def __init__(self, command: Callable[[int], Sequence[str]], log: Path, **options: Any) -> None:
        for _ in range(5):  # another program may take the free port first
            self.port = free_port()
            self.address = f"127.0.0.1:{self.port}"
            arguments = list(command(self.port))
            with log.open("wb") as sink:
                self.process = subprocess.Popen(
                    [find(arguments[0]), *arguments[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,  # so that its children end with it
                    **options,
                )
            try:
                wait_until(self._is_decided, arguments[0])
            except AssertionError:
                self.stop()
                raise
            if self.process.poll() is None:
                return
        raise AssertionError(f"{arguments[0]} does not start: {log.read_text(errors='replace')[-2000:]}")

    def _is_decided(self) -> bool:
        """It has ended, or it listens: it, and not another that was given the same port."""
        ours = set(listeners(self.port))
        return self.process.poll() is not None or bool(ours and ours & sockets_of_group(self.process.pid))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """The whole group, even if its first process is gone."""
        for how in (number, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
            except (ProcessLookupError, PermissionError):
                break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline and self._has_children():
                time.sleep(0.01)
        self.process.wait()

    def _has_children(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


class World:
    """One test's servers, and the ways to them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.folder = rig.directory
        self.services: list[Service] = []
        self.fronts: list[Front] = []

    def service(self, command: Callable[[int], Sequence[str]], **options: Any) -> Service:
        log = self.folder / f"service{len(self.services)}.log"
        self.services.append(Service(command, log, **options))
        return self.services[-1]

    def socat(self, what: str) -> Service:
        """A server that runs a program for each connection, as tcpserver or inetd does."""
        return self.service(
            lambda port: ["socat", "-t", "30", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=64", what]
        )

    def url(self, service: Service, front: str = "") -> str:
        """A proxy to it, perhaps with a server of another make in front."""
        server = self.rig.proxy(service.address).address
        if front:
            self.fronts.append(Front(front, server, self.folder))
            server = self.fronts[-1].address
        return self.rig.url(server)

    def tunnel(self, service: Service, front: str = "") -> int:
        """The port that leads there through tunnel and proxy."""
        return int(start_tunnel(self.rig, self.url(service, front)).address.rpartition(":")[2])

    def same(self, service: Service, client: Callable[[int], bytes], front: str = "") -> bytes:
        """What the client brings directly; and through tunnel and proxy, or the test fails."""
        plain = client(service.port)
        through = client(self.tunnel(service, front))
        assert through == plain, f"directly {plain[:300]!r}, through the tunnel {through[:300]!r}"
        return plain

    def stop(self) -> None:
        for front in self.fronts:
            front.stop()
        for service in self.services:
            service.stop()


def stdio_command(url: str) -> str:
    return f"{default_binary()} stdio {url}"


def python() -> str:
    return sys.executable
