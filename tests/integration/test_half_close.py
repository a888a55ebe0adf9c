"""Checklist 34 to 42 beyond the matrix: ends at odd moments, wrong ends, half-closed for long."""

from __future__ import annotations

import time

import pytest
from backend import BackendConnection, answer_at_end
from proxy import Proxy
from rig import Rig, over_both, over_ws
from support import MIB, payload, sha256
from wsclient import (
    BINARY,
    CARRIERS,
    CONTINUATION,
    CONTROL_OPCODE,
    HALF_CLOSE,
    HALF_CLOSE_CARRIERS,
    PING,
    TEXT,
    WsClient,
    frame,
    request,
)

pytestmark = over_both

both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)


def start(
    rig: Rig, carrier: str, *flags: str, kind: str = "tcp"
) -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend(kind)
    proxy = rig.proxy(backend, *flags)
    client, connection = rig.pair(proxy, backend, carrier)
    return proxy, client, connection


@both_carriers
def test_34_answer_at_end_of_input(rig: Rig, carrier: str) -> None:
    """What no bridge without half-close can do."""
    reply = payload(3 * MIB, 7)
    backend = rig.backend("tcp", answer_at_end(reply))
    proxy = rig.proxy(backend)
    client = rig.client(proxy, carrier)
    client.send(payload(MIB, 8))
    client.fin()
    got = client.collect()
    assert got.order == ["data", "fin", "close", "eof"]
    assert (got.fin, got.close, got.digest) == (len(reply), 1000, sha256(reply))
    assert backend.accept().digest == sha256(payload(MIB, 8))


@over_ws
@both_carriers
def test_35_data_two_seconds_after_backend_end(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    connection.send(b"bye")
    connection.finish()
    assert client.expect("data").data == b"bye"
    assert client.expect("fin").number == 3
    time.sleep(2)  # the subject of the test: long after
    client.send(b"late")
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.kept == b"late"
    assert client.expect("close").number == 1000


@both_carriers
def test_36_crossing_ends_many_times(rig: Rig, carrier: str) -> None:
    """Close 1000 once, whichever end the proxy hears of first."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    for i in range(40):
        client, connection = rig.pair(proxy, backend, carrier)
        if i % 2:
            connection.finish()
            client.fin()
        else:
            client.fin()
            connection.finish()
        assert client.collect().order == ["fin", "close", "eof"]
        assert connection.wait_end() == "eof"
        assert proxy.wait_closed(client.name)["cause"] == "ok"


@both_carriers
@pytest.mark.parametrize("banner", [b"", b"220 banner\r\n"])
def test_37_fin_with_banner(rig: Rig, carrier: str, banner: bytes) -> None:
    """The backend's end comes with its first bytes, or instead of them, before the client has sent any."""

    def script(connection: BackendConnection) -> None:
        if banner:
            connection.send(banner)
        connection.finish()

    backend = rig.backend("tcp", script)
    proxy = rig.proxy(backend)
    client = rig.client(proxy, carrier)
    assert client.read_until("fin").number == len(banner)
    assert client.received.count == len(banner)
    client.fin()
    assert client.collect().close == 1000
    assert backend.accept().wait_end() == "eof"
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"]) == ("ok", "backend")


@both_carriers
def test_37_client_end_in_the_segment_of_the_request(rig: Rig, carrier: str) -> None:
    """It is remembered until the backend is connected, then applied."""
    backend = rig.backend("tcp", answer_at_end(b"nothing?"))
    proxy = rig.proxy(backend)
    client = rig.dial(proxy, carrier)
    client.handshake(request(carrier) + frame(CONTROL_OPCODE[carrier] or 0, b"FIN 0"))
    got = client.collect()
    assert (got.order, got.count) == (["data", "fin", "close", "eof"], 8)
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"], record["bytes_to_backend"]) == ("ok", "client", 0)


@both_carriers
def test_37_nothing_either_way(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    client.fin()
    assert connection.wait_end() == "eof"
    connection.finish()
    assert client.collect().order == ["fin", "close", "eof"]


@both_carriers
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_38_end_behind_50_mb(rig: Rig, carrier: str, kind: str) -> None:
    """The end waits behind all that a client which has stopped reading has not taken yet."""
    data = payload(10 * MIB, 4) * 5
    proxy, client, connection = start(rig, carrier, kind=kind)
    sender = connection.send_in_background(data, then=connection.finish)
    sender.join(0.5)
    assert sender.is_alive(), "50 MB cannot fit into buffers: the backend must be held up"
    client.read_until("fin")
    assert (client.received.count, client.received.fin) == (len(data), len(data))
    assert client.received.digest == sha256(data)
    client.fin()
    assert client.expect("close").number == 1000
    assert proxy.wait_closed(client.name)["bytes_to_client"] == len(data)


@both_carriers
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_38_end_behind_50_mb_up(rig: Rig, carrier: str, kind: str) -> None:
    data = payload(10 * MIB, 5)
    _, client, connection = start(rig, carrier, kind=kind)
    for i in range(5):
        if i == 1:
            connection.read_in_background()
        client.send(data) if i else client.send(data[: MIB // 4])
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(data[: MIB // 4] + data * 4)


VIOLATIONS = {
    "fin-twice": (["FIN 0", "FIN 0"], 4001),
    "wrong-count": (["FIN 1"], 4002),
    "count-too-small": ([b"data", "FIN 3"], 4002),
    "data-after-fin": (["FIN 0", b"more"], 4001),
    "empty-after-fin": (["FIN 0", b""], 4001),
    "leading-zero": (["FIN 00"], 4001),
    "plus": (["FIN +0"], 4001),
    "two-spaces": (["FIN  0"], 4001),
    "no-argument": (["FIN"], 4001),
    "empty-argument": (["FIN "], 4001),
    "trailing": (["FIN 0 "], 4001),
    "newline": (["FIN 0\n"], 4001),
    "too-big": (["FIN 9007199254740992"], 4001),
    "much-too-big": (["FIN 18446744073709551616"], 4001),
    "small-letters-only-word": (["fin 0"], None),
    "unknown-critical": (["RESET 1"], 4001),
    "unknown-optional": (["note whatever it says"], None),
    "window-bad": (["WINDOW x"], 4001),
    "empty": ([""], 4001),
}


@both_carriers
@pytest.mark.parametrize("case", VIOLATIONS)
def test_39_control_messages(rig: Rig, carrier: str, case: str) -> None:
    messages, code = VIOLATIONS[case]
    proxy, client, connection = start(rig, carrier)
    sent = 0
    for message in messages:
        if isinstance(message, bytes):
            client.raw(frame(BINARY, message))
            sent += len(message)
        else:
            client.control(message)
    if code is None:  # an unknown word in lower case is ignored
        client.fin()
        assert connection.wait_end() == "eof"
        return
    assert client.read_until("close").number == code
    client.collect()
    has_ended = messages[0] == "FIN 0"
    if has_ended:  # the end was rightly applied before; then the connection breaks
        connection.wait_end()
        assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
    else:
        assert connection.wait_end() == "reset"
    record = proxy.wait_closed(client.name)
    assert record["cause"] == ("truncated" if code == 4002 else "half-close-violation")
    assert record["at"] == "client"


@both_carriers
def test_39_fragmented_control(rig: Rig, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier)
    opcode = CONTROL_OPCODE[carrier] or 0
    client.raw(frame(opcode, b"FIN", fin=False) + frame(CONTINUATION, b" 0"))
    assert client.read_until("close").number == 4001
    assert connection.wait_end() == "reset"
    assert proxy.wait_closed(client.name)["cause"] == "half-close-violation"


@both_carriers
def test_39_control_too_long(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    client.control("x " + "a" * 124)
    assert client.read_until("close").number == 4001
    assert connection.wait_end() == "reset"


def test_39_control_between_fragments(rig: Rig) -> None:
    """Opcode 0xB is ordered with the data, though RFC 6455 calls it a control frame."""
    _, client, connection = start(rig, "extension")
    client.raw(frame(BINARY, b"half", fin=False) + frame(HALF_CLOSE, b"FIN 4"))
    assert client.read_until("close").number == 4001
    assert connection.wait_end() == "reset"


@pytest.mark.parametrize("carrier", ["subprotocol", "plain"])
def test_39_opcode_not_negotiated(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    client.raw(frame(HALF_CLOSE, b"FIN 0"))
    assert client.read_until("close").number == 1002
    assert connection.wait_end() == "reset"


def test_39_fin_as_text_is_data_elsewhere(rig: Rig) -> None:
    _, client, connection = start(rig, "extension")
    client.raw(frame(TEXT, b"FIN 0"))
    connection.read_in_background()
    connection.wait_count(5)
    assert connection.kept == b"FIN 0"
    client.control("FIN 5")
    assert connection.wait_end() == "eof"


@both_carriers
@pytest.mark.parametrize("first", ["client", "backend"])
def test_40_pings_while_half_closed(rig: Rig, carrier: str, first: str) -> None:
    _, client, connection = start(rig, carrier, "--ping-interval", "100ms", "--ping-timeout", "1s")
    if first == "client":
        client.fin()
        assert connection.wait_end() == "eof"
    else:
        connection.finish()
        client.read_until("fin")
    client.raw(frame(PING, b"alive?"))
    assert client.read_until("pong").data == b"alive?"
    for _ in range(3):
        client.read_until("ping")  # answered by event()
    if first == "client":
        connection.send(b"and still data")
        client.read_data(14)
        connection.finish()
    else:
        client.send(b"and still data")
        client.fin()
        assert connection.wait_end() == "eof"
    assert client.read_until("close").number == 1000


@both_carriers
@pytest.mark.parametrize("first", ["client", "backend"])
def test_41_half_closed_too_long(rig: Rig, carrier: str, first: str) -> None:
    proxy, client, connection = start(rig, carrier, "--half-closed-timeout", "500ms")
    client.send(b"x")
    if first == "client":
        client.fin()
        assert connection.wait_end() == "eof"
    else:
        connection.finish()
        client.read_until("fin")
    started = time.monotonic()
    assert client.read_until("close").number == 4006
    assert time.monotonic() - started > 0.3
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("half-closed-timeout", "proxy")
    assert record["first_end"] == first and record["half_closed_ms"] >= 400
    if first == "client":
        assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
    else:
        assert connection.wait_end() == "reset"


@over_ws
@both_carriers
@pytest.mark.parametrize("first", ["client", "backend"])
def test_41_trickle_keeps_it_open(rig: Rig, carrier: str, first: str) -> None:
    """Every byte restarts the timer: 3 s of trickle against a limit of 2 s."""
    proxy, client, connection = start(rig, carrier, "--half-closed-timeout", "2s")
    if first == "client":
        client.fin()
        assert connection.wait_end() == "eof"
    else:
        connection.finish()
        client.read_until("fin")
    for _ in range(12):
        time.sleep(0.25)  # the subject of the test
        if first == "client":
            connection.send(b".")
        else:
            client.send(b".")
    if first == "client":
        connection.finish()
        client.read_until("fin")
    else:
        client.fin()
        assert connection.wait_end() == "eof"
    assert client.expect("close").number == 1000
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@pytest.mark.parametrize("code", [None, 1000])
def test_42_plain_close_ends_the_clients_stream(rig: Rig, code: int | None) -> None:
    proxy, client, connection = start(rig, "plain")
    client.send(payload(MIB, 9))
    client.close_frame(code)
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(payload(MIB, 9))
    got = client.collect()
    assert (got.close, got.end) == (code or 1005, "eof")
    connection.send(b"nobody listens")
    connection.finish()
    assert proxy.wait_closed(client.name)["cause"] == "ok"


@pytest.mark.parametrize("code", [1001, 1011, 3000, 4000])
def test_42_plain_close_with_another_code_breaks(rig: Rig, code: int) -> None:
    """A page that was left says nothing of completeness."""
    proxy, client, connection = start(rig, "plain")
    client.send(b"half a letter")
    client.close_frame(code)
    assert connection.wait_end() == "reset"
    assert client.collect().close == code
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"], record["native"]) == ("closed", "client", code)


def test_42_plain_backend_end_comes_behind_all_data(rig: Rig) -> None:
    data = payload(10 * MIB, 4)
    _, client, connection = start(rig, "plain")
    connection.send_in_background(data, then=connection.finish)
    got = client.collect()
    assert (got.order, got.close) == (["data", "close", "eof"], 1000)
    assert (got.count, got.digest) == (len(data), sha256(data))
    assert connection.wait_end() == "eof"


@over_ws
def test_42_plain_unanswered_close_does_not_hang(rig: Rig) -> None:
    """A client that never answers our Close 1000 is let go of; its stream was not complete."""
    proxy, client, connection = start(rig, "plain")
    client.answers_close = False
    client.send(b"x")
    connection.finish()
    assert client.expect("close").number == 1000
    record = proxy.wait_closed(client.name)
    assert record["cause"] == "lost" and record["duration_ms"] >= 4000
    assert connection.wait_end() == "reset"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_42_backend_that_never_ends_does_not_hang_after_client_left(rig: Rig, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier, "--half-closed-timeout", "500ms")
    if carrier == "plain":
        client.close_frame(1000)
    else:
        client.fin()
    assert connection.wait_end() == "eof"
    assert proxy.wait_closed(client.name)["cause"] == "half-closed-timeout"
    assert connection.wait_broken() in ("ECONNRESET", "EPIPE")
