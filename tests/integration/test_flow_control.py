"""Checklist 51 to 55: back-pressure both ways, bounded memory, nothing lost when buffers are tiny.

Memory is that of the plain build; a sanitized one keeps freed memory and shadows, so there these
checks are skipped and the rest of each test still runs.
"""

from __future__ import annotations

import threading
import time

import pytest
from backend import BackendConnection, echo
from proxy import Proxy
from rig import Rig, over_both
from support import KIB, MIB, is_sanitized, payload, resident_bytes, sha256
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, PING, WsClient, frame

pytestmark = over_both

PART = payload(8 * MIB, 20)


class Memory:
    """How much a proxy has grown since this was made."""

    def __init__(self, proxy: Proxy) -> None:
        self.pid = proxy.pid
        self.before = resident_bytes(proxy.pid)

    def check(self, limit: int) -> None:
        grown = resident_bytes(self.pid) - self.before
        if not is_sanitized():
            assert grown < limit, f"grew by {grown // KIB} KiB"


def warmed_up(rig: Rig, **options: int) -> tuple[Proxy, list[BackendConnection]]:
    """A proxy whose loop has its own buffers already: one connection has carried data both ways. The
    backend hands its further connections to the test."""
    taken: list[BackendConnection] = []
    first = threading.Event()

    def script(connection: BackendConnection) -> None:
        if first.is_set():
            taken.append(connection)
        else:
            first.set()
            echo(connection)

    backend = rig.backend("tcp", script, **options)
    proxy = rig.proxy(backend)
    client = rig.client(proxy, "extension")
    client.collect_in_background()
    client.send(PART)
    client.fin()
    assert client.wait_collected().close == 1000
    return proxy, taken


def next_pair(
    rig: Rig, proxy: Proxy, taken: list[BackendConnection], carrier: str, **options: int
) -> tuple[WsClient, BackendConnection]:
    had = len(taken)
    client = rig.client(proxy, carrier, **options)
    deadline = time.monotonic() + 10
    while len(taken) == had:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return client, taken[-1]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_51_client_that_does_not_read(rig: Rig, carrier: str) -> None:
    """The backend's sending blocks, the proxy stays small, the other direction and pings go on."""
    proxy, taken = warmed_up(rig)
    client, connection = next_pair(rig, proxy, taken, carrier)
    memory = Memory(proxy)
    sender = connection.send_in_background(PART * 8, then=connection.finish)
    connection.read_in_background()
    sender.join(0.7)
    assert sender.is_alive(), "64 MiB do not fit into buffers"
    client.send(b"up goes on")
    connection.wait_count(10)
    memory.check(MIB)
    client.raw(frame(PING, b"behind 64 MiB?"))
    client.read_until("pong")  # with the data that is already on its way, not behind all of it
    assert client.received.count < len(PART) * 8
    client.read_until("close" if carrier == "plain" else "fin")
    assert (client.received.count, client.received.digest) == (len(PART) * 8, sha256(PART * 8))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_51_backend_that_does_not_read(rig: Rig, carrier: str) -> None:
    proxy, taken = warmed_up(rig)
    client, connection = next_pair(rig, proxy, taken, carrier)
    memory = Memory(proxy)
    data = PART * 8

    def send() -> None:
        client.send(data)
        if carrier == "plain":
            client.close_frame(1000)
        else:
            client.fin()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(0.7)
    assert sender.is_alive(), "64 MiB do not fit into buffers"
    memory.check(MIB)
    connection.send(b"down goes on")
    client.read_data(12)
    connection.read_in_background()
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (len(data), sha256(data))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_51_ping_is_answered_while_the_backend_does_not_read(rig: Rig, carrier: str) -> None:
    """Within the read-ahead: pings behind little data that the backend does not take."""
    backend = rig.backend("tcp", rcvbuf=4096)
    client, connection = rig.pair(rig.proxy(backend), backend, carrier)
    stall_up(client)
    client.raw(frame(PING, b"are you there?"))
    assert client.read_until("pong").data == b"are you there?"
    connection.read_in_background()
    connection.wait_count(client.sent)


def stall_up(client: WsClient) -> None:
    """Sends in small pieces, each confirmed by a pong, until a pong takes its time: the backend's
    kernel is full, and the proxy has begun to hold data back."""
    piece = bytes(4096)
    for _ in range(4096):
        client.send(piece)
        client.raw(frame(PING, b"."))
        started = time.monotonic()
        client.read_until("pong")
        if time.monotonic() - started > 0.08:  # READ_AHEAD_DELAY_MS: read on after that only
            return
    raise AssertionError("16 MiB did not fill the backend's kernel buffers")


def test_52_hundred_stalled_connections(rig: Rig) -> None:
    """Each is bounded, and the others do not feel them."""
    proxy, taken = warmed_up(rig, sndbuf=65536)
    memory = Memory(proxy)
    senders = []
    data = PART * 6
    for _ in range(100):
        _, connection = next_pair(rig, proxy, taken, "extension", rcvbuf=65536)
        senders.append(connection.send_in_background(data))
    deadline = time.monotonic() + 1.5
    for sender in senders:
        sender.join(max(0.0, deadline - time.monotonic()))
    alive = sum(sender.is_alive() for sender in senders)
    assert alive == 100, f"{100 - alive} ended: {proxy.lines[-3:]}"
    memory.check(100 * MIB // 2)
    slowest = 0.0
    client, connection = next_pair(rig, proxy, taken, "extension")
    for i in range(50):
        started = time.monotonic()
        connection.send(b"x")
        client.read_data(i + 1)
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 2, "a stalled connection holds up others"  # far above any scheduling noise


@pytest.mark.parametrize("is_stalled", [False, True], ids=["", "while-stalled"])
def test_53_ping_flood(rig: Rig, is_stalled: bool) -> None:
    """Pongs that nobody reads pile up nowhere: pings are left unread, or answered once for many."""
    proxy, taken = warmed_up(rig)
    client, connection = next_pair(rig, proxy, taken, "extension")
    if is_stalled:
        connection.send_in_background(PART * 4)
    memory = Memory(proxy)
    flood = frame(PING, bytes(125)) * 5000
    client.sock.settimeout(0.5)
    sent = 0
    try:
        for _ in range(100):
            sent += client.sock.send(flood[sent % 131 :])
    except TimeoutError:
        pass
    client.sock.settimeout(20)
    memory.check(MIB)
    assert not proxy.find("closed", lambda record: record["client"] == client.name)
    other, other_connection = next_pair(rig, proxy, taken, "extension")
    other_connection.send(b"ok")
    other.read_data(2)


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_54_full_duplex(rig: Rig, carrier: str) -> None:
    """Several connections, 16 MiB each way at once."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    up, down = PART * 2, payload(8 * MIB, 21) * 2
    pairs = [rig.pair(proxy, backend, carrier) for _ in range(3)]
    senders = []
    for client, connection in pairs:
        client.collect_in_background()
        connection.read_in_background()
        connection.send_in_background(down, then=connection.finish)

        def send(client: WsClient = client) -> None:
            client.send(up)
            client.fin()

        senders.append(threading.Thread(target=send, daemon=True))
        senders[-1].start()
    for client, connection in pairs:
        got = client.wait_collected(60)
        assert (got.close, got.digest) == (1000, sha256(down))
        assert connection.wait_end() == "eof"
        assert connection.digest == sha256(up)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_54_tiny_writes(rig: Rig, carrier: str) -> None:
    """100,000 messages of one byte."""
    backend = rig.backend()
    client, connection = rig.pair(rig.proxy(backend), backend, carrier)
    connection.read_in_background()
    data = payload(100_000, 22)
    for at in range(0, len(data), 5000):
        client.raw(b"".join(frame(2, data[i : i + 1]) for i in range(at, at + 5000)))
    connection.wait_count(len(data))
    assert connection.digest == sha256(data)


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_55_tiny_socket_buffers(rig: Rig, carrier: str, kind: str) -> None:
    """Partial writes at every turn: both peers' kernels take a few KiB at a time."""
    backend = rig.backend(kind, rcvbuf=2048, sndbuf=4096)
    proxy = rig.proxy(backend)
    client, connection = rig.pair(proxy, backend, carrier, rcvbuf=2048, sndbuf=4096)
    up, down = payload(MIB // 2, 23), payload(MIB // 2, 24)
    client.collect_in_background()
    connection.read_in_background(size=1500)
    connection.send_in_background(down, then=connection.finish)
    client.send(up, piece=777)
    client.fin()
    got = client.wait_collected(60)
    assert (got.close, got.count, got.digest) == (1000, len(down), sha256(down))
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (len(up), sha256(up))
