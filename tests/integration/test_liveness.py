"""Liveness and timers (protocol.md section 7), checklist 57 and 62, seen from outside."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from backend import BackendConnection, echo
from proxy import Proxy
from rig import Rig, over_both, over_ws, over_wss
from support import MIB, payload, sha256
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, PONG, WsClient, frame, request

pytestmark = over_both

PINGS = ("--ping-interval", "200ms", "--ping-timeout", "300ms")
ANSWERED = ("--ping-interval", "200ms", "--ping-timeout", "1s")  # by us, who may be slow


def start(
    rig: Rig, carrier: str, *flags: str, rcvbuf: int | None = None
) -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend(rcvbuf=rcvbuf)
    proxy = rig.proxy(backend, *flags)
    client, connection = rig.pair(proxy, backend, carrier, rcvbuf=rcvbuf)
    return proxy, client, connection


@pytest.mark.parametrize("carrier", CARRIERS)
def test_ping_is_sent_and_a_pong_keeps_it_open(rig: Rig, carrier: str) -> None:
    proxy, client, _ = start(rig, carrier, *ANSWERED)
    for _ in range(7):  # longer than interval and timeout together
        client.expect("ping")
    assert not proxy.find("closed")


@over_ws
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("first", ["client", "backend"])
def test_ping_answered_half_closed_keeps_it_open(rig: Rig, carrier: str, first: str) -> None:
    proxy, client, connection = start(rig, carrier, *ANSWERED)
    if first == "client":
        client.fin()
        assert connection.wait_end() == "eof"
    else:
        connection.finish()
        client.read_until("fin")
    for _ in range(7):
        client.expect("ping")
    assert not proxy.find("closed")


@pytest.mark.parametrize("state", ["open", "client-ended", "backend-ended"])
def test_62_dead_client_is_closed(rig: Rig, state: str) -> None:
    """Its kernel still acknowledges, but nobody answers."""
    proxy, client, connection = start(rig, "extension", *PINGS)
    client.answers_ping = False
    if state == "client-ended":
        client.fin()
        assert connection.wait_end() == "eof"
    elif state == "backend-ended":
        connection.finish()
        client.read_until("fin")
    started = time.monotonic()
    assert client.read_until("close").number == 4000
    assert time.monotonic() - started < 5
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("ping-timeout", "client")
    if state == "client-ended":
        assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
    else:
        assert connection.wait_end() == "reset"


def test_62_silent_client_that_reads_nothing(rig: Rig) -> None:
    """Nothing to deliver, so no back-pressure excuses it."""
    proxy, client, connection = start(rig, "extension", *PINGS)
    record = proxy.wait_closed(client.name, timeout=5)
    assert record["cause"] == "ping-timeout"
    assert connection.wait_end() == "reset"


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_62_pong_delayed_behind_data(rig: Rig, carrier: str) -> None:
    """A client whose pong waits behind megabytes that we do not read is alive: the backend is slow."""
    data = payload(10 * MIB, 6) * 6
    raw = frame(2, data)  # takes a while: before there are pings to answer
    proxy, client, connection = start(rig, carrier, *ANSWERED, rcvbuf=65536)
    sent = 0
    client.sock.settimeout(0.3)
    try:
        while sent < len(raw):  # until the kernel's buffers are full, with the backend not reading
            sent += client.sock.send(raw[sent : sent + 65536])
    except TimeoutError:
        pass
    assert 0 < sent < len(raw)
    time.sleep(2.5)  # the subject of the test: more than two ping timeouts
    assert not proxy.find("closed")
    client.sock.settimeout(20)
    connection.read_in_background()
    client.raw(raw[sent:] + frame(PONG, b""))
    client.read_until("ping")
    connection.wait_count(len(data))
    assert not proxy.find("closed")
    assert connection.digest == sha256(data)


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
def test_62_client_busy_with_what_we_sent_is_not_killed(rig: Rig, carrier: str) -> None:
    """It does not read for more than two ping timeouts, with megabytes on their way to it."""
    data = payload(10 * MIB, 6) * 2  # takes a while: before there are pings to answer
    proxy, client, connection = start(rig, carrier, *ANSWERED)
    connection.send_in_background(data, then=connection.finish)
    time.sleep(2.5)  # the subject of the test
    assert not proxy.find("closed")
    client.read_until("fin" if carrier != "plain" else "close")
    assert (client.received.count, client.received.digest) == (len(data), sha256(data))


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_62_pong_that_came_while_we_were_held_up(rig: Rig, carrier: str) -> None:
    """It lies in our socket when its time is over, and is read before the client is called dead."""
    proxy, client, connection = start(rig, carrier, *ANSWERED)
    client.answers_ping = False
    ping = client.expect("ping")
    with proxy.held_up():
        client.raw(frame(PONG, ping.data))
        time.sleep(1.5)  # the subject of the test
    client.answers_ping = True
    for _ in range(3):
        client.expect("ping")
    client.fin()
    assert connection.wait_end() == "eof"


@over_ws
def test_41_bytes_that_came_while_we_were_held_up(rig: Rig) -> None:
    """They lie in our sockets when the idle timeouts are over: nobody was idle."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--idle-timeout", "1s")
    clients = [rig.client(proxy, carrier) for carrier in CARRIERS]
    with proxy.held_up():
        for client in clients:
            client.send(b"here")
        time.sleep(1.5)  # the subject of the test
    for client in clients:
        client.read_data(4)
    assert not proxy.find("closed")


@over_wss
def test_62_busy_over_wss(rig: Rig) -> None:
    """Both, once."""
    test_62_client_busy_with_what_we_sent_is_not_killed(rig, "extension")
    test_62_pong_delayed_behind_data(rig, "extension")


@over_ws
def test_pings_off(rig: Rig) -> None:
    _, client, connection = start(rig, "extension", "--ping-interval", "0")
    client.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        client.event()
    client.sock.settimeout(20)
    connection.finish()
    client.expect("fin")


# ---- timers ----


@pytest.mark.parametrize("carrier", CARRIERS)
def test_idle_timeout(rig: Rig, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier, "--idle-timeout", "500ms")
    assert client.expect("close").number == 4005
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("idle", "proxy")
    assert record["duration_ms"] >= 400 and "first_end" not in record
    assert connection.wait_end() == "reset"


@over_ws
@pytest.mark.parametrize("who", ["client", "backend"])
def test_idle_timeout_restarts_with_every_byte(rig: Rig, who: str) -> None:
    proxy, client, connection = start(rig, "extension", "--idle-timeout", "800ms")
    connection.read_in_background()
    for i in range(10):
        time.sleep(0.2)  # the subject of the test
        if who == "client":
            client.send(b".")
            connection.wait_count(i + 1)
        else:
            connection.send(b".")
            client.read_data(i + 1)
    assert client.expect("close").number == 4005
    record = proxy.wait_closed(client.name)
    assert record["cause"] == "idle" and record["duration_ms"] >= 2600


@over_ws
def test_idle_timeout_is_not_fed_by_pings(rig: Rig) -> None:
    _, client, _ = start(rig, "extension", "--idle-timeout", "700ms", "--ping-interval", "100ms")
    client.read_until("ping")
    assert client.read_until("close").number == 4005


@over_ws
def test_idle_timeout_is_not_for_the_half_closed(rig: Rig) -> None:
    _, client, connection = start(rig, "extension", "--idle-timeout", "300ms")
    client.fin()
    assert connection.wait_end() == "eof"
    time.sleep(1)  # the subject of the test
    connection.send(b"at last")
    connection.finish()
    assert client.collect().order == ["data", "fin", "close", "eof"]


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_57_handshake_timeout(rig: Rig, sent: bytes) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, "--handshake-timeout", "400ms")
    client = rig.dial(proxy)
    client.sock.sendall(sent)
    assert client.read_response().status == 408
    client.read_rest()
    client.sock.close()
    record = proxy.wait_refused(client.name)
    assert (record["status"], record["cause"]) == (408, "handshake-timeout")
    backend.expect_none()


def test_57_slow_header_dribble(rig: Rig) -> None:
    """A byte now and then does not restart the timer; others are served meanwhile."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--handshake-timeout", "1s")
    dribblers = [rig.dial(proxy) for _ in range(50)]
    raw = request()
    started = time.monotonic()
    for i in range(8):
        for dribbler in dribblers:
            with contextlib.suppress(OSError):  # on a slow machine the first have had their time
                dribbler.sock.sendall(raw[i : i + 1])
        good = rig.client(proxy, "extension")
        good.send(b"quick")
        assert good.expect("data").data == b"quick"
        time.sleep(0.1)  # dribbling
    for dribbler in dribblers:
        assert dribbler.read_response().status == 408
    assert time.monotonic() - started < 10


def test_57_stalled_after_101_is_reaped(rig: Rig) -> None:
    proxy, client, connection = start(rig, "plain", *PINGS)
    client.sock.sendall(b"\x82\xfe")  # the beginning of a frame, and nothing more
    assert proxy.wait_closed(client.name, timeout=5)["cause"] == "ping-timeout"
    assert connection.wait_end() == "reset"


@over_ws
@pytest.mark.parametrize("flag", ["--idle-timeout", "--half-closed-timeout"])
@pytest.mark.parametrize("reader", ["client", "backend"])
def test_41_slow_reader_is_not_idle(rig: Rig, flag: str, reader: str) -> None:
    """Bytes move all the time, 100 kB/s, only none is read from the other side meanwhile."""
    proxy, client, connection = start(rig, "extension", flag, "2s", rcvbuf=16384)
    data = payload(10 * MIB, 6) * 2
    if reader == "client":
        if flag == "--half-closed-timeout":
            client.fin()
            assert connection.wait_end() == "eof"
        connection.send_in_background(data)
    else:
        if flag == "--half-closed-timeout":
            connection.finish()
            client.read_until("fin")
        threading.Thread(target=send_quietly, args=(client, data), daemon=True).start()
    sock = client.sock if reader == "client" else connection.sock
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not proxy.find("closed"):
        sock.recv(5000)
        time.sleep(0.05)  # a slow reader
    assert not proxy.find("closed")


@over_wss
def test_41_slow_reader_is_not_idle_over_wss(rig: Rig) -> None:
    """What TLS holds back counts, too."""
    test_41_slow_reader_is_not_idle(rig, "--half-closed-timeout", "client")


def send_quietly(client: WsClient, data: bytes) -> None:
    try:
        client.send(data)
    except OSError:  # the test is over
        pass
