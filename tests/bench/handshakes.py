#!/usr/bin/python3
"""What an open wss connection feels while many TLS handshakes arrive at once.

Usage: TIDEGATE=BINARY tests/bench/handshakes.py [HANDSHAKES]

The program is stopped while the first message of every handshake is sent to it, so that it finds all of them at
once. From when it goes on until the last of them is answered, a connection that is open already sends 64 bytes at a
time through it to an echo backend, and waits for each to come back.
"""

from __future__ import annotations

import resource
import signal
import ssl
import socket
import statistics
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))

from backend import echo  # noqa: E402
from rig import Rig  # noqa: E402
from support import dial, open_files, wait_until  # noqa: E402
from tls import client_context  # noqa: E402

SECOND_NS = 1_000_000_000
SO_TIMESTAMPNS = 35  # asm-generic/socket.h


def client_hello() -> bytes:
    out = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def stamp(sock: socket.socket) -> int:
    """When the kernel took what is to be read, in ns."""
    _, ancillary, _, _ = sock.recvmsg(65536, 1024)
    seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2][:16])
    return int(seconds * SECOND_NS + nanoseconds)


def round_trips(rig: Rig, count: int) -> tuple[list[float], float]:
    proxy = rig.proxy(rig.backend(script=echo))
    client = rig.client(proxy, "plain")
    before = len(open_files(proxy.pid))
    strangers = [dial(proxy.address) for _ in range(count)]
    wait_until(lambda: len(open_files(proxy.pid)) == before + count, "all accepted")
    hello = client_hello()
    proxy.process.send_signal(signal.SIGSTOP)
    for sock in strangers:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.sendall(hello)
    begun = time.time_ns()
    times: list[tuple[int, int]] = []  # start, end
    while time.time_ns() < begun + 5 * SECOND_NS:
        start = time.time_ns()
        client.send(b"x" * 64)
        if not times:
            proxy.process.send_signal(signal.SIGCONT)
        got = 0
        while got < 64:
            got += len(client.expect("data").data)
        times.append((start, time.time_ns()))
    last = max(stamp(sock) for sock in strangers)
    for sock in strangers:
        sock.close()
    return [(end - start) / 1e6 for start, end in times if start < last], (last - begun) / 1e6


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rig = Rig("wss")
    try:
        times, whole = round_trips(rig, count)
    finally:
        rig.finish()
    print(
        f"{count} handshakes answered in {whole:.0f} ms; meanwhile {len(times)} round trips: "
        f"p50 {statistics.median(times):.1f} ms, max {max(times):.1f} ms"
    )


if __name__ == "__main__":
    main()
