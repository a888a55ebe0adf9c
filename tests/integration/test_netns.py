"""Checklist 55, 61, 62, 63: what only a network can do. Each test has one of its own; root only."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator

import pytest
from netns import Listener, Namespace, Network
from proxy import Proxy, Record
from rig import Rig, over_both, over_ws
from support import MIB, payload, sha256, wait_until
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient, request

pytestmark = over_both

UP, DOWN = payload(MIB, 80), payload(MIB, 81)


class Place:
    """A network with a proxy inside it."""

    def __init__(self, network: Network, rig: Rig) -> None:
        self.network, self.rig = network, rig
        self.inside, self.outside = network.inside, network.outside
        network.secure = rig.secure

    def proxy(self, listener: Listener, *flags: str, port: int = 0) -> Proxy:
        listen = (f"{self.inside.address}:{port}",)
        return self.rig.proxy(listener.address, "--allow-anyone", *flags, prefix=self.inside.prefix, listen=listen)


@pytest.fixture
def place(network: Network, rig: Rig) -> Iterator[Place]:
    yield Place(network, rig)
    network.drop_all()


# ---- 55: short reads and writes ----


def bytes_taken(here: Namespace, there: Namespace) -> int:
    """What a socket takes while its peer does not read: the size of its buffer and the peer's."""
    with there.entered(), socket.create_server((there.address, 0)) as listener:
        with here.entered():
            sock = socket.create_connection(listener.getsockname())
        sock.settimeout(0.1)
        taken = 0
        with sock, contextlib.suppress(TimeoutError):
            while True:
                taken += sock.send(bytes(4096))
    return taken


SMALL = "4096 4096 4096"


@pytest.mark.parametrize("what", ["reads", "writes"])
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_55_small_buffers(place: Place, carrier: str, what: str) -> None:
    """The kernel gives or takes some KiB at a time: 1 MiB both ways, and the ends behind it.

    A read of 4 KiB is always written whole, so short writes want usual buffers for reading."""
    inside, outside = place.inside, place.outside
    if what == "reads":
        inside.sysctl("net.ipv4.tcp_rmem", SMALL)
        inside.sysctl("net.ipv4.tcp_wmem", SMALL)
        assert bytes_taken(inside, inside) < 32768
    else:
        inside.sysctl("net.ipv4.tcp_wmem", SMALL)
        outside.sysctl("net.ipv4.tcp_rmem", SMALL)
        assert bytes_taken(inside, outside) < 32768 < bytes_taken(outside, inside)
    listener = place.network.listen(outside)
    proxy = place.proxy(listener)
    client = place.network.client(proxy.address, carrier)
    connection = listener.accept()
    connection.read_in_background()
    connection.send_in_background(DOWN, then=connection.finish)
    client.collect_in_background()
    client.send(UP)
    client.fin()
    assert connection.wait_end() == "eof"
    got = client.wait_collected()
    assert (connection.count, connection.digest) == (len(UP), sha256(UP))
    assert (got.count, got.digest, got.fin) == (len(DOWN), sha256(DOWN), len(DOWN))
    assert (got.close, got.end) == (1000, "eof")
    assert proxy.wait_closed(client.name)["cause"] == "ok"


# ---- 62: the client's cable ----

PINGS = ("--ping-interval", "300ms", "--ping-timeout", "600ms", "--linger", "1s")


def pull_cable(place: Place) -> None:
    place.outside.run("ip", "link", "set", "cable", "down")


def plug_in(place: Place) -> None:
    place.outside.run("ip", "link", "set", "cable", "up")


@pytest.mark.parametrize("state", ["quiet", "sending", "client-ended", "backend-ended"])
def test_62_cable_pulled(place: Place, state: str) -> None:
    """No FIN, no reset, no answer: closed within interval and timeout, the backend is freed."""
    listener = place.network.listen(place.inside)
    proxy = place.proxy(listener, *PINGS)
    client = place.network.client(proxy.address, "extension")
    connection = listener.accept()
    client.send(b"here")
    connection.read_in_background()
    connection.wait_count(4)
    if state == "client-ended":
        client.fin()
        assert connection.wait_end() == "eof"
    elif state == "backend-ended":
        connection.finish()
        client.read_until("fin")
    pull_cable(place)
    pulled = time.monotonic()
    if state == "sending":
        connection.send(b"a little more")
    if state == "client-ended":
        assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
    else:
        assert connection.wait_end() == "reset"
    assert time.monotonic() - pulled > 0.5
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("ping-timeout", "client")
    proxy.wait_idle()  # what could not be delivered does not hold the descriptor


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_62_cable_out_for_a_moment(place: Place, carrier: str) -> None:
    """Shorter than the timeout: TCP makes up for it, and so nothing has happened."""
    listener = place.network.listen(place.inside)
    proxy = place.proxy(listener, "--ping-interval", "300ms", "--ping-timeout", "5s")
    client = place.network.client(proxy.address, carrier)
    connection = listener.accept()
    client.read_until("ping")
    client.collect_in_background()
    pull_cable(place)
    connection.send_in_background(DOWN, then=connection.finish)
    time.sleep(1)  # the subject of the test: some pings go unanswered
    assert not proxy.find("closed")
    plug_in(place)
    if carrier != "plain":
        client.send(UP)
        client.fin()
        assert connection.wait_end() == "eof"
        assert connection.digest == sha256(UP)
    got = client.wait_collected()
    assert (got.digest, got.close) == (sha256(DOWN), 1000)
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@over_ws
@pytest.mark.parametrize("way", ["down", "up"])
def test_62_pongs_behind_megabytes(place: Place, way: str) -> None:
    """A slow line, full for several ping timeouts: pings wait behind what we sent, pongs behind what
    the client sent. It is alive all the time."""
    slow = place.inside if way == "down" else place.outside
    shape = ("tbf", "rate", "16mbit", "burst", "32k", "limit", "4m")
    slow.run("tc", "qdisc", "add", "dev", "cable", "root", *shape)
    listener = place.network.listen(place.inside)
    proxy = place.proxy(listener, "--ping-interval", "200ms", "--ping-timeout", "300ms")
    client = place.network.client(proxy.address, "extension")
    connection = listener.accept()
    data = UP * 5
    connection.read_in_background()
    started = time.monotonic()
    if way == "down":
        connection.send_in_background(data, then=connection.finish)
        client.read_until("fin")
        assert client.received.digest == sha256(data)
    else:
        client.collect_in_background()
        client.send(data)
        client.fin()
        assert connection.wait_end() == "eof"
        assert connection.digest == sha256(data)
    assert time.monotonic() - started > 1.5, "the line is not slow"
    assert not proxy.find("closed")


# ---- 61: a backend that does not answer ----

DROP_SYNS = """
table ip deaf {
    chain input {
        type filter hook input priority 0
        tcp dport PORT tcp flags & (syn | ack) == syn drop
    }
}
"""


def become_deaf(place: Place, listener: Listener) -> None:
    place.outside.run("nft", "-f", "-", text=DROP_SYNS.replace("PORT", str(listener.port)))


def hear_again(place: Place) -> None:
    place.outside.run("nft", "delete", "table", "ip", "deaf")


def expect_failure(
    place: Place, proxy: Proxy, carrier: str, status: int, code: int, cause: str
) -> Record:
    client = place.network.dial(proxy.address, carrier)
    if carrier == "subprotocol":
        client.handshake()
        assert client.expect("close").number == code
        record = proxy.wait_closed(client.name)
    else:
        client.sock.sendall(request(carrier))
        assert client.read_response().status == status
        record = proxy.wait_refused(client.name)
    client.drop()
    assert (record["cause"], record["at"]) == (cause, "backend")
    return record


def check_echo(client: WsClient, listener: Listener) -> None:
    connection = listener.accept()
    client.send(b"there?")
    connection.read_in_background()
    connection.wait_count(6)
    connection.send(b"here!")
    client.read_data(5)


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_61_backend_drops_syns(place: Place, carrier: str) -> None:
    """Told in time, while those who are connected notice nothing; well again at once."""
    listener = place.network.listen(place.outside)
    proxy = place.proxy(listener, "--connect-timeout", "600ms")
    old = place.network.client(proxy.address, carrier)
    connection = listener.accept()
    connection.read_in_background()
    become_deaf(place, listener)
    started = time.monotonic()
    expect_failure(place, proxy, carrier, 504, 4004, "connect-timeout")
    assert 0.5 < time.monotonic() - started < 1.5
    old.send(UP)
    connection.wait_count(len(UP))
    assert connection.digest == sha256(UP)
    connection.send(DOWN)
    old.read_data(len(DOWN))
    assert old.received.digest == sha256(DOWN)
    hear_again(place)
    started = time.monotonic()
    check_echo(place.network.client(proxy.address, carrier), listener)
    assert time.monotonic() - started < 0.5, "nothing is remembered against a backend"


@over_ws
def test_61_slow_to_accept(place: Place) -> None:
    """The first SYN is lost; the kernel's next, a second later, is in time. Others do not wait."""
    listener, quick = place.network.listen(place.outside), place.network.listen(place.outside)
    proxy, other = place.proxy(listener), place.proxy(quick)
    become_deaf(place, listener)
    waiting = [place.network.dial(proxy.address, "extension") for _ in range(10)]
    for client in waiting:
        client.sock.sendall(request("extension"))
    wait_until(lambda: is_connecting(place, listener), "a SYN is sent")
    check_echo(place.network.client(other.address, "extension"), quick)
    hear_again(place)
    for client in waiting:
        client.handshake(b"")
    for _ in waiting:
        listener.accept()


def is_connecting(place: Place, listener: Listener) -> bool:
    """Whether ten connections to it wait for an answer inside."""
    with place.inside.entered(), open("/proc/thread-self/net/tcp", encoding="ascii") as table:
        port = f":{listener.port:04X}"
        return sum(line.split()[2].endswith(port) and line.split()[3] == "02" for line in table) == 10


# ---- 63: no ports left towards the backend ----


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_63_ports_used_up(place: Place, carrier: str) -> None:
    """20 ports: the 21st connection is refused as unreachable, and the first free port serves again."""
    place.inside.sysctl("net.ipv4.ip_local_port_range", "40000 40019")
    listener = place.network.listen(place.outside)
    proxy = place.proxy(listener, port=8080)  # not one of the 20
    clients = [place.network.client(proxy.address, carrier) for _ in range(20)]
    connections = [listener.accept() for _ in clients]
    for _ in range(5):
        record = expect_failure(place, proxy, carrier, 502, 4003, "unreachable")
        assert record["native"] == -errno.EADDRNOTAVAIL
    clients[7].send(b"still there")
    connections[7].read_in_background()
    connections[7].wait_count(11)
    for client in clients[:3]:
        client.reset()
        proxy.wait_closed(client.name)
    for _ in range(3):
        check_echo(place.network.client(proxy.address, carrier), listener)
    expect_failure(place, proxy, carrier, 502, 4003, "unreachable")
