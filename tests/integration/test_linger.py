"""Nobody can hold a descriptor of the proxy by doing nothing: what is left to do at the end of a
connection is bounded by --linger, and the answer still gets through to those who listen."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from backend import BackendConnection, echo
from proxy import Proxy
from rig import Rig, over_both, over_ws, over_wss
from support import MIB, payload, sha256
from wsclient import BINARY, CARRIERS, PONG, WsClient, frame, request

pytestmark = over_both

LINGER = ("--linger", "1s")
BOUND = 4.0  # seconds, generously above the linger time


def is_over(proxy: Proxy, since: float, at_least: float = 0.0) -> None:
    proxy.wait_idle(BOUND)
    assert time.monotonic() - since >= at_least


# Each makes the proxy end the connection while the client just sits there, its socket open.
HANGING: dict[str, Callable[[WsClient, BackendConnection], None]] = {
    "backend reset": lambda client, connection: connection.reset(),
    "violation": lambda client, connection: client.raw(b"\xff\xff\xff\xff"),
    "wrong count": lambda client, connection: client.control("FIN 1"),
    "close": lambda client, connection: client.close_frame(1001),
}


@pytest.mark.parametrize("reason", HANGING)
def test_client_that_just_sits_there(rig: Rig, reason: str) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, *LINGER)
    _client, connection = rig.pair(proxy, backend)
    started = time.monotonic()
    HANGING[reason](_client, connection)
    proxy.wait_closed()
    is_over(proxy, started)


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", request(method="POST")], ids=["bad", "post"])
def test_refused_client_that_just_sits_there(rig: Rig, raw: bytes) -> None:
    proxy = rig.proxy(rig.backend(), *LINGER)
    client = rig.dial(proxy)
    started = time.monotonic()
    client.sock.sendall(raw)
    assert client.read_response().status in (400, 405)
    is_over(proxy, started)


def test_refused_client_that_never_stops_sending(rig: Rig) -> None:
    """Every byte of it is read away, but not for ever."""
    proxy = rig.proxy(rig.backend(), *LINGER)
    client = rig.dial(proxy)
    started = time.monotonic()
    client.sock.sendall(request(method="POST"))
    with pytest.raises(OSError):  # noqa: PT011: reset or broken pipe
        while time.monotonic() - started < BOUND:
            client.sock.sendall(bytes(1000))
            time.sleep(0.005)
    is_over(proxy, started, 0.9)


def test_plain_client_that_sends_behind_its_close(rig: Rig) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, *LINGER)
    client = rig.client(proxy, "plain")
    client.answers_close = False
    started = time.monotonic()
    client.close_frame(1000)
    with pytest.raises(OSError):  # noqa: PT011: reset or broken pipe
        while time.monotonic() - started < BOUND:
            client.raw(frame(BINARY, bytes(1000)))
            time.sleep(0.005)
    assert proxy.wait_closed()["bytes_to_backend"] == 0
    is_over(proxy, started)


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_46_client_resets_while_the_backend_does_not_read(rig: Rig, carrier: str) -> None:
    """Nobody reads from the client then, so nobody sees its reset; the next ping does."""
    backend = rig.backend(rcvbuf=65536)
    proxy = rig.proxy(backend, *LINGER, "--ping-interval", "300ms")
    client, connection = rig.pair(proxy, backend, carrier)
    data = payload(MIB, 70) * 60
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.send(data)
    started = time.monotonic()
    client.reset()
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("reset", "client")
    is_over(proxy, started)
    assert connection.wait_end() == "reset"
    assert sha256(data[: connection.count]) == connection.digest


@over_wss
def test_46_wss_client_resets_while_the_backend_does_not_read(rig: Rig) -> None:
    """The same with TLS."""
    test_46_client_resets_while_the_backend_does_not_read(rig, "extension")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_48_backend_resets_while_the_client_does_not_read(rig: Rig, carrier: str) -> None:
    """It is found when the client reads on; what had come before is delivered."""
    backend = rig.backend()
    proxy = rig.proxy(backend, *LINGER)
    client, connection = rig.pair(proxy, backend, carrier, rcvbuf=65536)
    data = payload(MIB, 71) * 60
    sender = connection.send_in_background(data)
    sender.join(0.5)
    assert sender.is_alive()
    connection.drop()
    client.read_until("close")
    assert client.received.close == 4000
    assert client.received.digest == sha256(data[: client.received.count])
    assert proxy.wait_closed()["cause"] == "reset"


@over_ws
@pytest.mark.parametrize("says", ["nothing", "pong"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_38_slow_client_loses_nothing_behind_the_ends(rig: Rig, carrier: str, says: str) -> None:
    """Both streams are complete, but 2 MiB and Close 1000 still wait for a client that is busy for longer
    than the proxy waits for an answer to its Close. A TCP server's kernel would have kept them."""
    data = payload(2 * MIB, 72)
    backend = rig.backend()
    proxy = rig.proxy(backend, *LINGER)
    client, connection = rig.pair(proxy, backend, carrier, rcvbuf=16384)
    if carrier != "plain":
        client.fin()
        assert connection.wait_end() == "eof"
    connection.send(data)
    connection.finish()
    time.sleep(7.5)  # the subject of the test
    if says == "pong":
        client.raw(frame(PONG))
    got = client.collect()
    assert (got.count, got.digest) == (len(data), sha256(data))
    assert (got.close, got.end) == (1000, "eof")
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@over_wss
def test_38_slow_wss_client_loses_nothing_behind_the_ends(rig: Rig) -> None:
    """Nor of what is sealed already, and close_notify comes behind it."""
    test_38_slow_client_loses_nothing_behind_the_ends(rig, "extension", "nothing")


@over_ws
@pytest.mark.parametrize("carrier", ["extension", "subprotocol"])
def test_38_close_1000_waits_for_the_backends_kernel(rig: Rig, carrier: str) -> None:
    """It confirms delivery, so it does not come while a backend that is busy has room for a part only,
    for longer than any lingering; and nothing is lost meanwhile."""
    data = payload(2 * MIB, 73)
    backend = rig.backend(rcvbuf=16384)
    proxy = rig.proxy(backend, *LINGER)
    client, connection = rig.pair(proxy, backend, carrier)
    connection.send(b"all said")
    connection.finish()
    client.read_until("fin")
    client.send(data)
    client.fin()
    client.sock.settimeout(2.5)
    with pytest.raises(TimeoutError):
        client.event()
    client.sock.settimeout(20)
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (len(data), sha256(data))
    assert client.expect("close").number == 1000
    assert proxy.wait_closed(client.name)["cause"] == "ok"
