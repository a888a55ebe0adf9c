"""v1.tidegate.window.N (protocol.md section 2): both streams begin with windows."""

from __future__ import annotations

import hashlib
import threading

import pytest
from backend import BackendConnection, echo
from proxy import Proxy
from rig import Rig, over_both
from support import KIB, MIB, is_sanitized, payload, resident_bytes, sha256
from wsclient import PING, SUBPROTOCOL_NAME, WsClient, frame, request

pytestmark = over_both

OUR_WINDOW = 512 * KIB  # WS_WINDOW: how far a page may be ahead of its backend
DATA = payload(MIB, 12)


def open_windowed(rig: Rig, proxy: Proxy, window: int) -> WsClient:
    """As a page does it: the name that every server knows comes first."""
    name = f"{SUBPROTOCOL_NAME}.window.{window}"
    client = rig.dial(proxy, "subprotocol")
    offer: dict[str, str | None] = {"Sec-WebSocket-Protocol": f"{SUBPROTOCOL_NAME}, {name}"}
    client.handshake(request("subprotocol", change=offer), name)
    return client


def start(rig: Rig, window: int, **options: int) -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend("tcp", **options)
    proxy = rig.proxy(backend)
    client = open_windowed(rig, proxy, window)
    return proxy, client, backend.accept()


def knock(client: WsClient) -> None:
    """All that was sent before it has been read, and answered."""
    client.raw(frame(PING, b"knock"))
    assert client.expect("pong").data == b"knock"


def fill_window(client: WsClient) -> None:
    """All that may be sent to a backend that takes nothing more: until a pong comes without a WINDOW."""
    limit = client.expect("window").number
    assert limit == OUR_WINDOW
    for _ in range(1000):
        client.send(bytes(limit - client.sent))
        client.raw(frame(PING, b"full?"))
        while (event := client.event()).kind == "window":
            assert limit < event.number <= client.sent + OUR_WINDOW
            limit = event.number
        assert event.kind == "pong"
        if limit == client.sent:
            return
    raise AssertionError("500 MB did not fill the kernel's buffers")


@pytest.mark.parametrize("window", [1, 1000, 65536, 100_001])
def test_exactly_the_window_from_the_first_byte(rig: Rig, window: int) -> None:
    """Not one byte more, while the backend would send without an end; and then by the byte."""
    data = DATA * 16
    proxy, client, connection = start(rig, window)
    connection.send_in_background(data, then=connection.finish)
    client.expect("window")
    for limit in (window, window + 1, window + 70_000, window + 500_000):
        client.window(limit)  # the first one says what the handshake has said
        client.read_data(limit)
        for _ in range(3):
            knock(client)
        assert client.received.count == limit
    client.window(len(data))
    assert client.read_until("fin").number == len(data)
    assert client.received.digest == sha256(data)
    client.fin()
    assert client.expect("close").number == 1000
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["carrier"]) == ("ok", "subprotocol")


def test_the_proxy_says_its_window_first(rig: Rig) -> None:
    """Before data, and before an end."""
    _, client, connection = start(rig, 10)
    connection.read_in_background()
    connection.send(b"welcome")
    connection.finish()
    first = client.expect("window")
    assert first.data == b"WINDOW %d" % OUR_WINDOW
    client.read_data(7)
    assert client.expect("fin").number == 7
    client.send(bytes(OUR_WINDOW))
    client.fin()
    client.read_until("close")
    assert client.received.close == 1000
    assert connection.wait_end() == "eof" and connection.count == OUR_WINDOW


def test_an_end_needs_no_window(rig: Rig) -> None:
    """Nor does the client wait for one: its FIN comes with the handshake."""
    backend = rig.backend()
    client = rig.dial(rig.proxy(backend), "subprotocol")
    name = f"{SUBPROTOCOL_NAME}.window.1"
    raw = request("subprotocol", change={"Sec-WebSocket-Protocol": name}) + frame(1, b"FIN 0")
    client.handshake(raw, name)
    connection = backend.accept()
    assert connection.wait_end() == "eof"
    connection.finish()
    client.expect("window")
    assert client.expect("fin").number == 0
    assert client.expect("close").number == 1000


def test_who_knows_nothing_of_it_is_told_nothing(rig: Rig) -> None:
    backend = rig.backend()
    client, connection = rig.pair(rig.proxy(backend), backend, "subprotocol")
    client.window(5)
    client.send(DATA)
    connection.read_in_background()
    connection.wait_count(MIB)
    connection.send(b"hello")
    connection.finish()
    client.read_data(5)
    client.expect("fin")
    assert client.received.order == ["data", "fin"]


def test_no_backend(rig: Rig, unused_tcp_address: str) -> None:
    proxy = rig.proxy(unused_tcp_address)
    client = open_windowed(rig, proxy, 5)
    assert client.expect("close").number == 4003
    assert proxy.wait_closed(client.name)["carrier"] == "subprotocol"


def test_all_that_is_behind_a_full_window_is_heard(rig: Rig) -> None:
    """The backend takes nothing, and has been given all that it may be: WINDOW, ping and FIN get through."""
    _, client, connection = start(rig, 10, rcvbuf=4096)
    fill_window(client)
    connection.send(b"0123456789abcdefghij")
    client.read_data(10)
    knock(client)
    assert client.received.count == 10
    client.window(20)
    client.read_data(20)
    connection.finish()
    assert client.expect("fin").number == 20
    client.fin()
    connection.read_in_background()
    assert connection.wait_end() == "eof" and connection.count == client.sent
    client.read_until("close")
    assert client.received.close == 1000


def test_a_client_that_disregards_our_window(rig: Rig) -> None:
    """It is read so far and no further, and nothing worse comes of it."""
    proxy, client, connection = start(rig, 10, rcvbuf=65536)
    memory = resident_bytes(proxy.pid)
    data = DATA * 64

    def send() -> None:
        client.send(data)
        client.fin()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(0.7)
    assert sender.is_alive(), "64 MiB do not fit into buffers"
    grown = resident_bytes(proxy.pid) - memory
    assert is_sanitized() or grown < 2 * MIB, f"grew by {grown // KIB} KiB"
    connection.read_in_background()
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (len(data), sha256(data))


def test_grants_pile_up_nowhere(rig: Rig) -> None:
    """A client that sends and does not read: what it could be told waits, the newest only."""
    proxy, client, connection = start(rig, 64 * MIB)
    connection.read_in_background()
    connection.send_in_background(DATA * 32)
    client.send(bytes(MIB))
    connection.wait_count(MIB)
    memory = resident_bytes(proxy.pid)
    for i in range(1, 64):
        client.send(bytes(MIB))
        connection.wait_count((i + 1) * MIB)
    grown = resident_bytes(proxy.pid) - memory
    assert is_sanitized() or grown < MIB, f"grew by {grown // KIB} KiB"
    while client.received.count < 32 * MIB:
        assert client.event().kind in ("data", "window")
    assert client.received.order.count("window") < 64  # of 256: one for each quarter of a MiB


class Exchange:
    """A client that keeps to both windows, and takes what comes at once."""

    def __init__(self, client: WsClient, window: int) -> None:
        self.client = client
        self.window = self.granted = window
        self.limit = 0
        self.news = threading.Condition()

    def send(self, data: memoryview, times: int) -> None:
        for _ in range(times):
            at = 0
            while at < len(data):
                with self.news:
                    assert self.news.wait_for(lambda: self.limit > self.client.sent, 20), "no window"
                    room = self.limit - self.client.sent
                part = data[at : at + min(room, 65536)]
                self.client.send(bytes(part))
                at += len(part)
        self.client.fin()

    def receive(self) -> None:
        client = self.client
        while client.received.fin is None:
            event = client.event()
            assert event.kind in ("data", "window", "fin"), event.kind
            if event.kind == "window":
                with self.news:
                    self.limit = event.number
                    self.news.notify()
            assert client.received.count <= self.granted
            if self.granted - client.received.count <= self.window // 2:
                self.granted = client.received.count + self.window
                client.window(self.granted)


def test_echo_of_100_mb_each_way_at_once(rig: Rig) -> None:
    """The backend does not read until its own output is taken: the client's WINDOW must not wait behind its data."""
    times = 20 if is_sanitized() else 100
    backend = rig.backend("tcp", echo)
    client = open_windowed(rig, rig.proxy(backend), 65536)
    exchange = Exchange(client, 65536)
    sender = threading.Thread(target=exchange.send, args=(memoryview(DATA), times), daemon=True)
    sender.start()
    exchange.receive()
    sender.join()
    expected = hashlib.sha256()
    for _ in range(times):
        expected.update(DATA)
    assert client.received.count == times * MIB
    assert client.received.digest == expected.hexdigest()
    assert client.read_until("close").number == 1000
