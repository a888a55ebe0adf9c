"""Checklist 46, 48, 49, 50: a failure is never turned into an end."""

from __future__ import annotations

import fcntl
import struct
import termios
import time

import pytest
from backend import BackendConnection
from proxy import Proxy
from rig import Rig, over_both
from support import MIB, payload, sha256
from wsclient import BINARY, CARRIERS, CLOSE, HALF_CLOSE_CARRIERS, WsClient, frame

pytestmark = over_both


def start(rig: Rig, carrier: str, *flags: str) -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend()
    proxy = rig.proxy(backend, *flags)
    client, connection = rig.pair(proxy, backend, carrier)
    return proxy, client, connection


LOSSES = {
    "fin": b"",
    "rst": b"",
    "fin-inside-a-header": frame(BINARY, payload(200))[:3],
    "fin-inside-a-payload": frame(BINARY, payload(1000))[:500],
    "rst-inside-a-payload": frame(BINARY, payload(1000))[:500],
    "fin-between-fragments": frame(BINARY, b"half a message", fin=False),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_46_websocket_lost(rig: Rig, carrier: str, loss: str) -> None:
    """The backend's recv fails with ECONNRESET; it never returns 0."""
    proxy, client, connection = start(rig, carrier)
    client.send(payload(1000))
    connection.read_in_background()
    connection.wait_count(1000)
    client.raw(LOSSES[loss])
    if loss.startswith("fin"):
        client.shutdown()
    else:
        client.reset()
    assert connection.wait_end() == "reset"
    assert connection.kept[:1000] == payload(1000)
    record = proxy.wait_closed(client.name)
    assert record["cause"] == ("lost" if loss.startswith("fin") else "reset")
    assert record["at"] == "client" and "first_end" not in record


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_46_tcp_fin_behind_our_fin_only(rig: Rig, carrier: str) -> None:
    """The up stream is complete, but nobody can hear the answer: broken, though the backend had its end."""
    proxy, client, connection = start(rig, carrier)
    client.send(b"question")
    client.fin()
    assert connection.wait_end() == "eof"
    client.shutdown()
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"]) == ("lost", "client")
    assert connection.wait_broken() in ("ECONNRESET", "EPIPE")


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("how", ["fin", "rst", "no-answer", "wrong-answer"])
def test_46_loss_behind_both_ends_harms_nothing(rig: Rig, carrier: str, how: str) -> None:
    proxy, client, connection = start(rig, carrier)
    client.answers_close = False
    client.fin()
    assert connection.wait_end() == "eof"
    connection.finish()
    assert client.read_until("close").number == 1000
    if how == "fin":
        client.shutdown()
    elif how == "rst":
        client.reset()
    elif how == "wrong-answer":
        client.close_frame(4000)
    if how == "no-answer":
        started = time.monotonic()
        assert client.collect().end == "eof"
        assert 4 < time.monotonic() - started < 8, "the server waits 5 s for the answer"
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_48_backend_reset(rig: Rig, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier)
    connection.send(b"last words")
    client.read_data(10)
    connection.reset()
    assert client.expect("close").number == 4000
    assert "fin" not in client.collect().order
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"], record["native"]) == ("reset", "backend", -104)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_48_what_came_before_the_reset_is_delivered(rig: Rig, carrier: str) -> None:
    """All of it had left the backend's kernel: a reset discards only what the sender still has."""
    proxy, client, connection = start(rig, carrier)
    data = payload(200_000, 12)
    connection.send(data)
    wait_sent(connection)
    connection.reset()
    client.read_until("close")
    assert client.received.close == 4000
    assert (client.received.count, client.received.digest) == (len(data), sha256(data))
    assert proxy.wait_closed(client.name)["bytes_to_client"] == len(data)


def wait_sent(connection: BackendConnection) -> None:
    deadline = time.monotonic() + 10
    while struct.unpack("i", fcntl.ioctl(connection.sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_48_up_bytes_before_a_client_loss_are_delivered(rig: Rig, carrier: str) -> None:
    """The other way round: the proxy holds the reset back until the backend's kernel has the bytes."""
    proxy, client, connection = start(rig, carrier)
    data = payload(MIB, 13)
    client.send(data)
    client.shutdown()
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["bytes_to_backend"]) == ("lost", len(data))
    assert connection.wait_end() == "reset"
    assert sha256(data[: connection.count]) == connection.digest


@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4000])
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_49_close_before_the_ends_breaks(rig: Rig, carrier: str, code: int | None) -> None:
    """Under half-close no Close is an end, not even 1000."""
    proxy, client, connection = start(rig, carrier)
    client.send(b"half")
    client.close_frame(code)
    assert connection.wait_end() == "reset"
    assert client.collect().order == ["close", client.received.end]
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("closed", "client")
    assert record["native"] == (code or 1005)


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("first", ["client", "backend"])
def test_49_close_with_one_end_missing_breaks(rig: Rig, carrier: str, first: str) -> None:
    proxy, client, connection = start(rig, carrier)
    if first == "client":
        client.fin()
        assert connection.wait_end() == "eof"
    else:
        connection.finish()
        client.read_until("fin")
    client.close_frame(1000)
    client.read_until("close")
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"]) == ("closed", first)
    if first == "client":
        assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
    else:
        assert connection.wait_end() == "reset"


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_49_close_in_the_segment_of_the_last_fin(rig: Rig, carrier: str) -> None:
    """A client that does not wait for the server's Close, with both streams complete, harms nothing."""
    proxy, client, connection = start(rig, carrier)
    client.answers_close = False
    connection.send(b"bye")
    connection.finish()
    client.read_until("fin")
    opcode = 0xB if carrier == "extension" else 1
    client.raw(frame(opcode, b"FIN 0") + frame(CLOSE, struct.pack(">H", 1000)))
    assert client.collect().close == 1000
    assert connection.wait_end() == "eof"
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_50_killed_proxy_is_no_success(rig: Rig, carrier: str) -> None:
    """Nobody is told that all went well: no FIN message, no Close 1000, and at the backend a reset."""
    proxy, client, connection = start(rig, carrier)
    connection.send_in_background(payload(MIB, 14) * 20)
    client.send(payload(MIB, 15))
    client.read_data(MIB)
    connection.read_some(4096)
    proxy.kill()
    rig.proxies.remove(proxy)
    got = client.received
    try:
        client.collect()
    except AssertionError as error:
        assert "inside a frame" in str(error)
    assert got.fin is None and got.close is None
    assert connection.wait_end() == "reset"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("state", ["open", "backend-ended"])
def test_50_killed_between_two_bytes(rig: Rig, carrier: str, state: str) -> None:
    """Nothing is in flight, nothing unread: a kernel that closes for a dead process sends FIN, and the backend
    takes half an upload for a whole one, unless the socket was told from the beginning to reset."""
    proxy, client, connection = start(rig, carrier)
    client.send(b"half of an upl")
    connection.read_in_background()
    connection.wait_count(14)
    if state == "backend-ended":
        connection.finish()
        client.answers_close = False
        client.read_until("close" if carrier == "plain" else "fin")
    proxy.kill()
    rig.proxies.remove(proxy)
    assert connection.wait_end() == "reset"
