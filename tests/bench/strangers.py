#!/usr/bin/python3
"""Round trips of one good client, alone and beside strangers who say nothing, or too slowly.

Usage: tests/bench/strangers.py BUILD [--strangers N] [--trips N] [--rounds N]

Half of the strangers are silent, the others send a byte of their request ten times a second. With --again each
comes back when the proxy has dropped it, at the defaults of handshake-timeout and max-handshakes; without, both
are lifted so that all are there all the time. Alone and beside them in turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import selectors
import socket
import statistics
import time
from pathlib import Path

import kit
from idle import open_connection

DRIBBLE = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 8000
TICK = 0.1


def echo(backend: socket.socket) -> None:
    while True:
        sock, _ = backend.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while piece := sock.recv(65536):
                sock.sendall(piece)
        except ConnectionResetError:  # how the good client leaves
            pass
        sock.close()


def be_strangers(port: int, count: int, comes_again: bool, are_there: multiprocessing.Event) -> None:
    selector = selectors.DefaultSelector()
    said: dict[socket.socket, int] = {}

    def come(is_silent: bool) -> None:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, is_silent)
        if not is_silent:
            said[sock] = 0

    for i in range(count):
        come(i % 2 == 0)
    are_there.set()
    while True:
        ends = time.monotonic() + TICK
        while (left := ends - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                sock, is_silent = key.fileobj, key.data
                selector.unregister(sock)
                said.pop(sock, None)
                sock.close()
                if comes_again:
                    come(is_silent)
        for sock, n in list(said.items()):
            try:
                sock.send(DRIBBLE[n : n + 1])
                said[sock] = n + 1
            except OSError:
                pass  # the selector tells


def measure(port: int, trips: int) -> list[float]:
    """Milliseconds each."""
    sock = open_connection(port, None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    message = b"\x82\xa0" + bytes(4) + b"m" * 32
    times = []
    for _ in range(trips):
        begun = time.perf_counter()
        sock.sendall(message)
        left = 34  # 32, with the server's header
        while left > 0:
            left -= len(sock.recv(left))
        times.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.001)
    sock.close()
    return times


def show(what: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100)
    print(f"{what:16} p50 {cuts[49]:.3f} ms, p99 {cuts[98]:.3f} ms, of {len(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--strangers", type=int, default=2000)
    parser.add_argument("--trips", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    backend = kit.listen()
    multiprocessing.Process(target=echo, args=(backend,), daemon=True).start()
    options = [] if args.again else ["--max-handshakes", str(args.strangers + 10), "--handshake-timeout", "1h"]
    alone: list[float] = []
    beside: list[float] = []
    with kit.Proxy(args.build, backend, options) as proxy:
        for _ in range(args.rounds):
            alone += measure(proxy.port, args.trips)
            are_there = multiprocessing.Event()
            how = (proxy.port, args.strangers, args.again, are_there)
            strangers = multiprocessing.Process(target=be_strangers, args=how, daemon=True)
            strangers.start()
            are_there.wait()
            beside += measure(proxy.port, args.trips)
            strangers.terminate()
            strangers.join()
            time.sleep(0.5)
    print(kit.machine())
    show("alone", alone)
    show(f"{args.strangers} strangers", beside)


if __name__ == "__main__":
    main()
