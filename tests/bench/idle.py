#!/usr/bin/python3
"""Resident memory and CPU of idle connections through `tidegate serve`.

Usage: tests/bench/idle.py BINARY [CONNECTIONS]

Opens the connections with the half-close extension, one after the other, to a backend that only accepts, and
compares the process's resident memory with that at 100 connections. Needs five descriptors a connection here and
two there; raises its own limit as far as it may.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: tidegate-half-close\r\n\r\n"
)


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss in smaps_rollup")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_connection(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(REQUEST)
    head = sock.recv(4096)
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"refused: {head!r}")
    return sock


def main() -> None:
    binary = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    backend = socket.create_server(("127.0.0.1", 0), backlog=4096)
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            accepted.append(backend.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
    command += ["--backend", f"127.0.0.1:{backend.getsockname()[1]}", "--max-connections", str(count + 200)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    port = int(json.loads(process.stderr.readline())["address"].rsplit(":", 1)[1])
    threading.Thread(target=process.stderr.read, daemon=True).start()

    connections = [open_connection(port) for _ in range(100)]
    time.sleep(0.5)
    before = resident_bytes(process.pid)
    connections += [open_connection(port) for _ in range(count)]
    time.sleep(0.5)
    after = resident_bytes(process.pid)
    busy = cpu_seconds(process.pid)
    time.sleep(5)
    busy = cpu_seconds(process.pid) - busy
    print(f"{count} idle connections: {(after - before) / count:.0f} bytes resident each, {busy / 5:.1%} CPU")
    process.terminate()
    process.wait()


if __name__ == "__main__":
    main()
