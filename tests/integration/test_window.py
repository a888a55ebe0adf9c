"""WINDOW (protocol.md section 4): the sender's count never passes the largest number received."""

from __future__ import annotations

import pytest
from backend import BackendConnection
from proxy import Proxy
from rig import Rig, over_both
from support import MIB, payload, sha256
from wsclient import CONTROL_OPCODE, HALF_CLOSE_CARRIERS, PING, WsClient, frame, request

pytestmark = over_both

both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
DATA = payload(MIB, 11)


def start(rig: Rig, carrier: str, window: int) -> tuple[Proxy, WsClient, BackendConnection]:
    """The window is there before anything else: behind the request, in its segment."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    client = rig.dial(proxy, carrier)
    client.handshake(request(carrier) + frame(CONTROL_OPCODE[carrier] or 0, b"WINDOW %d" % window))
    return proxy, client, backend.accept()


def expect_stop(client: WsClient, count: int) -> None:
    """The window is full to the byte, and nothing passes it. A pong orders: it was sent behind."""
    client.read_data(count)
    assert client.received.count == count
    for _ in range(3):
        client.raw(frame(PING, b""))
        assert client.expect("pong").data == b""
    assert client.received.count == count


@both_carriers
@pytest.mark.parametrize("window", [1, 1000, 65536, 100_001])
def test_window_holds_from_the_first_byte(rig: Rig, carrier: str, window: int) -> None:
    _, client, connection = start(rig, carrier, window)
    connection.send_in_background(DATA, then=connection.finish)
    expect_stop(client, window)


@both_carriers
def test_window_zero(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier, 0)
    connection.send(b"x")
    expect_stop(client, 0)
    client.window(1)
    assert client.expect("data").data == b"x"


@both_carriers
def test_window_grows(rig: Rig, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier, 10)
    connection.send_in_background(DATA, then=connection.finish)
    for window in (10, 11, 5000, 70_000, 500_000):
        client.window(window)
        expect_stop(client, window)
    client.window(10 * MIB)
    assert client.read_until("fin").number == MIB
    assert client.received.digest == sha256(DATA)
    client.fin()
    assert client.expect("close").number == 1000
    assert proxy.wait_closed(client.name)["bytes_to_client"] == MIB


@both_carriers
def test_window_smaller_is_ignored(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier, 1000)
    client.window(10)
    connection.send_in_background(DATA)
    expect_stop(client, 1000)
    client.window(999)
    expect_stop(client, 1000)


@both_carriers
def test_window_fin_needs_none(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier, 5)
    connection.send(b"12345")
    connection.finish()
    client.read_data(5)
    assert client.expect("fin").number == 5


@both_carriers
def test_window_fin_waits_for_the_data_before_it(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier, 4)
    connection.send(b"12345")
    connection.finish()
    expect_stop(client, 4)
    client.window(5)
    client.read_data(5)
    assert client.expect("fin").number == 5


@both_carriers
def test_window_first_one_later(rig: Rig, carrier: str) -> None:
    """Without a WINDOW there is no limit; the first one holds from when it is heard."""
    backend = rig.backend()
    client, connection = rig.pair(rig.proxy(backend), backend, carrier)
    connection.send(DATA)
    client.read_data(MIB)
    client.window(MIB + 10)
    client.raw(frame(PING, b"heard"))
    assert client.expect("pong").data == b"heard"
    connection.send(b"a" * 11)
    expect_stop(client, MIB + 10)


@both_carriers
def test_window_below_what_was_sent(rig: Rig, carrier: str) -> None:
    """Not a violation: the sender only stops."""
    backend = rig.backend()
    client, connection = rig.pair(rig.proxy(backend), backend, carrier)
    connection.send(b"0123456789")
    client.read_data(10)
    client.window(3)
    client.raw(frame(PING, b"heard"))
    assert client.expect("pong").data == b"heard"
    connection.send(b"x")
    expect_stop(client, 10)
    client.window(11)
    client.read_data(11)


@both_carriers
def test_window_holds_the_backend_back(rig: Rig, carrier: str) -> None:
    """A closed window is back-pressure: the backend's sending blocks, its reading goes on."""
    data = DATA * 16
    _, client, connection = start(rig, carrier, 0)
    sender = connection.send_in_background(data, then=connection.finish)
    connection.read_in_background()
    client.send(DATA)
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(DATA)
    assert sender.is_alive()
    client.window(len(data))
    assert client.read_until("fin").number == len(data)
    assert client.received.digest == sha256(data)
    assert client.expect("close").number == 1000


@both_carriers
def test_window_does_not_outlive_a_reset_backend(rig: Rig, carrier: str) -> None:
    """A reset while we do not read is no event; the next write finds it, and Close needs no window."""
    proxy, client, connection = start(rig, carrier, 2)
    connection.send(b"12345")
    expect_stop(client, 2)
    connection.reset()
    client.send(b"anybody there?")
    client.read_until("close")
    assert client.received.close == 4000
    assert proxy.wait_closed(client.name)["cause"] == "reset"
