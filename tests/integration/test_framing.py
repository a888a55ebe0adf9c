"""Checklist 20 to 33: frames as the proxy reads and writes them, with a backend behind it.

The codec has tests of its own; these show that nothing of it differs inside the proxy, and that a
violation breaks the backend's connection instead of ending it.
"""

from __future__ import annotations

import struct

import pytest
from backend import BackendConnection, echo
from proxy import Proxy
from rig import Rig, over_both
from support import MIB, is_sanitized, payload, resident_bytes, sha256
from wsclient import (
    BINARY,
    CARRIERS,
    CLOSE,
    CONTINUATION,
    HALF_CLOSE,
    PING,
    PONG,
    TEXT,
    WsClient,
    frame,
)

pytestmark = over_both


def start(rig: Rig, carrier: str = "plain") -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend()
    proxy = rig.proxy(backend)
    client, connection = rig.pair(proxy, backend, carrier)
    return proxy, client, connection


def check_violation(rig: Rig, carrier: str, raw: bytes, code: int, before: bytes = b"") -> None:
    """Bytes in; out comes a Close with that code, and a reset at the backend behind what was right."""
    proxy, client, connection = start(rig, carrier)
    client.raw(raw)
    assert client.read_until("close").number == code
    assert client.collect().count == 0
    assert connection.wait_end() == "reset"
    assert before.startswith(connection.kept)  # a reset may overtake what is not read yet
    record = proxy.wait_closed(client.name)
    names = {1002: "ws-violation", 1007: "not-utf8", 4001: "half-close-violation"}
    assert (record["cause"], record["at"]) == (names[code], "client")
    assert record["bytes_to_backend"] == len(before)
    assert "first_end" not in record


def test_21_unmasked_frame(rig: Rig) -> None:
    check_violation(rig, "plain", frame(BINARY, b"ok") + frame(BINARY, b"bad", masked=False), 1002, b"ok")


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**64 - 4])
def test_22_length_with_top_bit(rig: Rig, carrier: str, length: int) -> None:
    check_violation(rig, carrier, frame(BINARY, b"", length=length, width=64), 1002)


@pytest.mark.parametrize("length", [2**63 - 1, 2**32, 2**32 - 1])
def test_22_huge_length_streams(rig: Rig, length: int) -> None:
    """Nothing is allocated by a declared length: the bytes that do come are passed on."""
    proxy, client, connection = start(rig)
    before = resident_bytes(proxy.pid)
    client.raw(frame(BINARY, payload(MIB), length=length, width=64))
    connection.read_in_background()
    connection.wait_count(MIB)
    assert (connection.count, connection.digest) == (MIB, sha256(payload(MIB)))
    if not is_sanitized():
        assert resident_bytes(proxy.pid) - before < MIB
    client.reset()
    assert connection.wait_end() == "reset"
    assert proxy.wait_closed(client.name)["bytes_to_backend"] == MIB


def test_23_continuation_that_would_wrap(rig: Rig) -> None:
    _, client, connection = start(rig)
    client.raw(frame(BINARY, b"a", fin=False) + frame(CONTINUATION, b"bcd", length=2**63 - 1, width=64))
    connection.read_in_background()
    connection.wait_count(4)
    assert connection.kept[:1] == b"a"


@pytest.mark.parametrize(("size", "width"), [(5, 16), (125, 16), (200, 64), (65535, 64), (0, 16)])
def test_24_length_not_minimal(rig: Rig, size: int, width: int) -> None:
    check_violation(rig, "plain", frame(BINARY, bytes(size), width=width), 1002)


@pytest.mark.parametrize("opcode", [*range(3, 8), *range(0xB, 0x10)])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_25_unknown_opcode(rig: Rig, carrier: str, opcode: int) -> None:
    if carrier == "extension" and opcode == HALF_CLOSE:
        check_violation(rig, carrier, frame(opcode, b""), 4001)  # known here, but says nothing
    else:
        check_violation(rig, carrier, frame(BINARY, b"ok") + frame(opcode, b""), 1002, b"ok")


@pytest.mark.parametrize("rsv", range(1, 8))
def test_25_reserved_bits(rig: Rig, rsv: int) -> None:
    check_violation(rig, "extension", frame(BINARY, b"", rsv=rsv), 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("how", ["long", "fragmented"])
def test_26_bad_control_frame(rig: Rig, opcode: int, how: str) -> None:
    bad = frame(opcode, bytes(126)) if how == "long" else frame(opcode, b"", fin=False)
    check_violation(rig, "extension", bad, 1002)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_26_ping_is_echoed_and_pong_ignored(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    client.raw(frame(PONG, b"nobody asked"))
    for data in (b"", b"x", bytes(range(125))):
        client.raw(frame(PING, data))
        assert client.expect("pong").data == data
    client.send(b"still here")
    connection.read_in_background()
    connection.wait_count(10)


@pytest.mark.parametrize(
    "raw",
    [
        frame(CONTINUATION, b"x"),
        frame(BINARY, b"", fin=False) + frame(BINARY, b""),
        frame(BINARY, b"", fin=False) + frame(TEXT, b""),
        frame(BINARY, b"", fin=False) + frame(CONTINUATION, b"") + frame(CONTINUATION, b""),
    ],
    ids=["no-start", "new-binary", "new-text", "one-too-many"],
)
def test_27_bad_order_of_fragments(rig: Rig, raw: bytes) -> None:
    check_violation(rig, "plain", raw, 1002)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_27_control_between_fragments(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    client.raw(frame(BINARY, b"one ", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"two "))
    client.raw(frame(BINARY, b"three"))
    assert client.expect("pong").data == b"p"
    connection.read_in_background()
    connection.wait_count(13)
    assert connection.kept == b"one two three"


def test_28_endless_tiny_fragments(rig: Rig) -> None:
    """130,000 fragments of 0 or 1 byte and no end: forwarded, and nothing is kept."""
    proxy, client, connection = start(rig)
    connection.read_in_background()
    client.raw(frame(BINARY, b"", fin=False))
    both = frame(CONTINUATION, b"", fin=False) + frame(CONTINUATION, b"z", fin=False)
    client.raw(both * 1000)
    connection.wait_count(1000)
    before = resident_bytes(proxy.pid)
    for _ in range(64):
        client.raw(both * 1000)
    connection.wait_count(65_000)
    if not is_sanitized():
        assert resident_bytes(proxy.pid) - before < MIB  # of which over TLS half is for all connections
    client.raw(frame(CONTINUATION, b""))
    client.close_frame(1000)
    assert connection.wait_end() == "eof"
    assert connection.count == 65_000


@pytest.mark.parametrize("carrier", ["plain", "extension"])
@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x82"], ids=repr
)
def test_29_text_must_be_utf8(rig: Rig, carrier: str, bad: bytes) -> None:
    check_violation(rig, carrier, frame(TEXT, b"good") + frame(TEXT, bad), 1007, b"good")


def test_29_utf8_fails_fast(rig: Rig) -> None:
    """At the first byte that nothing could mend, in the middle of an unfinished frame."""
    _, client, connection = start(rig)
    client.raw(frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xf8", length=1000))
    assert client.read_until("close").number == 1007
    assert connection.wait_end() == "reset"


@pytest.mark.parametrize("carrier", ["plain", "extension"])
def test_29_text_is_data(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    text = "Gezeitentor \u6f6e\u9580 \U0001f30a".encode()
    client.raw(frame(TEXT, text[:14], fin=False) + frame(CONTINUATION, text[14:]))
    connection.read_in_background()
    connection.wait_count(len(text))
    assert connection.kept == text


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"\x03", 1002)]
    + [
        (struct.pack(">H", c), 1002)
        for c in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ]
    + [(b"\x03\xe8\xff", 1007)],
)
def test_30_bad_close(rig: Rig, body: bytes, code: int) -> None:
    """Never echoed, and never taken for an end."""
    check_violation(rig, "plain", frame(CLOSE, body), code)


@pytest.mark.parametrize("code", [None, 1000])
def test_30_good_close_is_echoed(rig: Rig, code: int | None) -> None:
    _, client, connection = start(rig)
    client.answers_close = False
    client.close_frame(code, b"bye" if code else b"")
    assert client.read_until("close").number == (code or 1005)
    assert client.collect().end == "eof"
    assert connection.wait_end() == "eof"


def test_31_nothing_counts_behind_close(rig: Rig) -> None:
    proxy, client, connection = start(rig)
    client.answers_close = False
    close = frame(CLOSE, struct.pack(">H", 1000))
    client.raw(frame(BINARY, b"before") + close + frame(BINARY, b"after") + close + frame(PING, b""))
    got = client.collect()
    assert got.order == ["close", "eof"]
    assert connection.wait_end() == "eof"
    assert connection.kept == b"before"
    connection.finish()
    assert proxy.wait_closed(client.name)["bytes_to_backend"] == 6


@pytest.mark.parametrize("carrier", CARRIERS)
def test_32_split_at_every_byte(rig: Rig, carrier: str) -> None:
    _, client, connection = start(rig, carrier)
    connection.read_in_background()
    raw = frame(BINARY, b"a" * 5) + frame(BINARY, b"b" * 130) + frame(PING, b"p") + frame(BINARY, b"c")
    want = (b"a" * 5 + b"b" * 130 + b"c") * len(raw)
    for cut in range(len(raw)):
        client.raw(raw[:cut])
        client.raw(raw[cut:])
    connection.wait_count(len(want))
    assert connection.digest == sha256(want)


def test_32_ten_thousand_frames_at_once(rig: Rig) -> None:
    _, client, connection = start(rig, "extension")
    connection.read_in_background()
    data = payload(30_000, 3)
    client.raw(b"".join(frame(BINARY, data[i : i + 3]) for i in range(0, len(data), 3)))
    client.control("FIN 30000")
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (30_000, sha256(data))


@pytest.mark.parametrize("carrier", CARRIERS)
def test_33_empty_messages(rig: Rig, carrier: str) -> None:
    backend = rig.backend("tcp", echo)
    client = rig.client(rig.proxy(backend), carrier)
    client.raw(frame(BINARY, b"") * 1000 + frame(BINARY, b"", fin=False) + frame(CONTINUATION, b""))
    client.send(b"not an end")
    assert client.expect("data").data == b"not an end"
