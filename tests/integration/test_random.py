"""Checklist 64: random behaviour on many connections at once; the seed is in the test's name.

TIDEGATE_RANDOM_SECONDS makes it longer (3 by default), TIDEGATE_RANDOM_SEED another one.
"""

from __future__ import annotations

import os
import random
import threading
import time

import pytest
from backend import BackendConnection
from proxy import Proxy
from rig import Rig, over_both
from support import dial, payload, reset, sha256
from wsclient import BINARY, CARRIERS, HALF_CLOSE, PING, TEXT, WsClient, frame, request

SECONDS = float(os.environ.get("TIDEGATE_RANDOM_SECONDS", "3"))
SEED = int(os.environ.get("TIDEGATE_RANDOM_SEED", "1"))
DATA = payload(2 * 1024 * 1024, 40)
CAUSES = {
    "ok", "reset", "lost", "closed", "ws-violation", "half-close-violation", "truncated", "not-utf8",
    "ping-timeout", "half-closed-timeout", "idle", "unreachable",
}  # fmt: skip
WRONG = (  # none of it is data
    b"\xff" * 10,
    frame(BINARY, b"x", masked=False),
    frame(TEXT, b"\xff\xfe"),
    frame(HALF_CLOSE, b"FIN 9007199254740991"),
    frame(BINARY, b"", length=2**63, width=64),
)


def misbehave(rng: random.Random, connection: BackendConnection) -> None:
    """A backend that reads, writes, ends and breaks as it likes; what it reads must be a prefix."""
    sock = connection.sock
    sock.settimeout(0.2)
    sent = 0
    for _ in range(rng.randrange(1, 12)):
        act = rng.choice(("read", "read", "write", "write", "end", "wait", "break"))
        try:
            if act == "read":
                if not connection.read_some(rng.randrange(1, 100_000)):
                    break
            elif act == "write":
                sent += sock.send(DATA[sent : sent + rng.randrange(1, 300_000)])
            elif act == "end":
                connection.finish()
            elif act == "wait":
                time.sleep(rng.random() * 0.02)
            else:
                break
        except OSError:  # a timeout, or the other side has broken it
            continue
    if rng.random() < 0.5:
        sock.settimeout(2)
        try:
            connection.finish()
            connection.read_to_end()
        except OSError:
            pass
    reset(sock)


def play(rng: random.Random, client: WsClient) -> None:
    """One client's life. Raises AssertionError for what no server may do."""
    client.sock.settimeout(0.2)
    has_ended = False
    for _ in range(rng.randrange(1, 15)):
        act = rng.choice(("send", "send", "read", "read", "ping", "end", "window", "close", "raw", "leave"))
        try:
            if act == "send" and not has_ended:
                client.send(DATA[client.sent : client.sent + rng.randrange(0, 200_000)])
            elif act == "read":
                client.event()
            elif act == "ping":
                client.raw(frame(PING, b"p" * rng.randrange(126)))
            elif act == "end" and not has_ended and client.carrier != "plain":
                client.fin()
                has_ended = True
            elif act == "window" and not has_ended and client.carrier != "plain":
                client.window(rng.randrange(0, 1_000_000))
            elif act == "close" and rng.random() < 0.3:
                client.close_frame(rng.choice((None, 1000, 1001, 4000)))
            elif act == "raw" and rng.random() < 0.2:
                client.raw(rng.choice(WRONG))
            elif act == "leave":
                break
            if client.received.end:
                break
        except OSError:
            return  # a timeout in the middle of a frame, or a broken connection: nothing more to learn
    assert client.received.digest == sha256(DATA[: client.received.count]), "not a prefix"


def one_client(rng: random.Random, rig: Rig, proxy: Proxy) -> None:
    if rng.random() < 0.1:  # somebody who never becomes a WebSocket
        sock = dial(proxy.address)
        raw = request(rng.choice(CARRIERS), change={"Host": None} if rng.random() < 0.5 else {})
        sock.sendall(raw[: rng.randrange(len(raw))])
        reset(sock)
        return
    client = WsClient(rig.secure(dial(proxy.address)), rng.choice(CARRIERS))
    try:
        client.sock.sendall(request(client.carrier))
        status = client.read_response().status
        assert status in (101, 502)  # 502: a reset that comes before the connecting is noticed
        if status == 101:
            play(rng, client)
    finally:
        if rng.random() < 0.3:
            client.sock.close()
        else:
            client.reset()


@over_both
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("seed", [SEED])
def test_64_random_behaviour(rig: Rig, seed: int, kind: str) -> None:
    numbers = iter(range(10**9))
    lock = threading.Lock()
    failures: list[BaseException] = []
    connections: list[BackendConnection] = []

    def script(connection: BackendConnection) -> None:
        with lock:
            rng = random.Random(f"backend {seed} {next(numbers)}")
            connections.append(connection)
        misbehave(rng, connection)

    backend = rig.backend(kind, script)
    flags = ("--linger", "500ms", "--ping-interval", "50ms", "--half-closed-timeout", "2s")
    proxy = rig.proxy(backend, *flags, "--idle-timeout", "2s")

    def clients(number: int) -> None:
        rng = random.Random(f"client {seed} {number}")
        deadline = time.monotonic() + SECONDS
        try:
            while time.monotonic() < deadline and not failures:
                one_client(rng, rig, proxy)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=clients, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 60)
    if failures:
        raise failures[0]
    proxy.wait_idle()
    records = proxy.find("closed")
    assert len(records) > 20
    assert {record["cause"] for record in records} <= CAUSES
    assert len({record["conn"] for record in records}) == len(records)
    for record in records:
        if record["cause"] == "ok":
            assert "first_end" in record
    for connection in list(connections):
        assert connection.digest == sha256(DATA[: connection.count]), "the backend: not a prefix"
