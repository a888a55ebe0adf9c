#!/usr/bin/python3
"""Resident memory and CPU of idle connections through `tidegate serve`.

Usage: tests/bench/idle.py BUILD [--tls] [--connections N]

Opens the connections with the half-close extension, one after the other, to a backend that only accepts, and
compares the process's resident memory with that at 100 connections. Needs five descriptors a connection here and
two there; raises its own limit as far as it may.
"""

from __future__ import annotations

import argparse
import resource
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path

import kit

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: tidegate-half-close\r\n\r\n"
)


def open_connection(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    if tls is not None:
        sock = tls.wrap_socket(sock)
    sock.sendall(REQUEST)
    head = sock.recv(4096)
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"refused: {head!r}")
    return sock


def measure(proxy: kit.Proxy, tls: ssl.SSLContext | None, count: int) -> None:
    connections = [open_connection(proxy.port, tls) for _ in range(100)]
    time.sleep(0.5)
    before = kit.resident_bytes(proxy.pid)
    connections += [open_connection(proxy.port, tls) for _ in range(count)]
    time.sleep(0.5)
    after = kit.resident_bytes(proxy.pid)
    busy = kit.cpu_seconds(proxy.pid)
    time.sleep(5)
    busy = kit.cpu_seconds(proxy.pid) - busy
    print(f"{count} idle connections: {(after - before) / count:.0f} bytes resident each, {busy / 5:.1%} CPU")
    for connection in connections:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--connections", type=int, default=4000)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    tls = None
    if args.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    backend = kit.listen()
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            accepted.append(backend.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--max-connections", str(args.connections + 200)]
        if args.tls:
            options += kit.make_certificate(Path(folder))
        with kit.Proxy(args.build, backend, options) as proxy:
            measure(proxy, tls, args.connections)


if __name__ == "__main__":
    main()
