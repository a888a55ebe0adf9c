"""Checklist 1 to 12, 14 and 16: the upgrade request, what is answered, and what never reaches a backend."""

from __future__ import annotations

import socket
import threading

import pytest
from backend import Backend, SlowToConnect
from proxy import Proxy
from rig import Rig, over_both
from support import MIB, PATIENCE, payload, sha256
from wsclient import (
    BINARY,
    CARRIERS,
    EXTENSION_NAME,
    RFC_ACCEPT,
    SUBPROTOCOL_NAME,
    WsClient,
    frame,
    parse_response,
    request,
)


def start(rig: Rig, *flags: str) -> tuple[Proxy, Backend]:
    backend = rig.backend()
    return rig.proxy(backend, *flags), backend


def refused(rig: Rig, proxy: Proxy, raw: bytes, status: int) -> WsClient:
    """Sends it and expects this refusal, readable to its end, and the log record of it."""
    client = rig.dial(proxy)
    client.sock.sendall(raw)
    response = client.read_response()
    assert response.status == status, response.raw
    assert "close" in (response.get("Connection") or "")
    body = client.read_rest()  # up to a FIN: a reset would raise
    assert int(response.get("Content-Length") or "") == len(body)
    assert body.endswith(b"\n") and body.count(b"\n") == 1 and body.isascii()
    client.sock.close()
    record = proxy.wait_refused(client.name)
    assert (record["status"], record["cause"]) == (status, "bad-handshake")
    return client


def accepted(rig: Rig, proxy: Proxy, raw: bytes) -> WsClient:
    client = rig.dial(proxy)
    client.handshake(raw)
    return client


def test_01_rfc_key(rig: Rig) -> None:
    proxy, backend = start(rig)
    client = accepted(rig, proxy, request())
    assert client.response
    assert client.response.get("Sec-WebSocket-Accept") == RFC_ACCEPT
    assert (client.response.get("Upgrade") or "").lower() == "websocket"
    assert (client.response.get("Connection") or "").lower() == "upgrade"
    backend.accept()


@pytest.mark.parametrize(
    "key", [None, "", "AAAA", "dGhlIHNhbXBsZSBub25jZ", "dGhlIHNhbXBsZSBub25jZQ=", "!" * 24, "A" * 24]
)
def test_02_bad_key(rig: Rig, key: str | None) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, request(change={"Sec-WebSocket-Key": key}), 400)
    backend.expect_none()


def test_02_two_keys(rig: Rig) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, request(extra=[("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]), 400)
    backend.expect_none()


@pytest.mark.parametrize("version", [None, "8", "14", "013", "13, 8", "x"])
def test_03_version(rig: Rig, version: str | None) -> None:
    """Nothing is forwarded behind a refused upgrade, whatever the client believes."""
    proxy, backend = start(rig)
    raw = request(change={"Sec-WebSocket-Version": version}) + b"GET /secret HTTP/1.1\r\n\r\n"
    client = refused(rig, proxy, raw, 426)
    assert client.response
    assert client.response.get("Sec-WebSocket-Version") == "13"
    assert (client.response.get("Upgrade") or "").lower() == "websocket"
    backend.expect_none()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(method="POST"), 405),
        (request(method="HEAD"), 405),
        (request(version="HTTP/1.0"), 400),
        (request(change={"Host": None}), 400),
        (request(extra=[("Host", "other.test")]), 400),
        (request(change={"Connection": None}), 426),
        (request(change={"Connection": "keep-alive"}), 426),
        (request(change={"Upgrade": None}), 426),
        (request(change={"Upgrade": "h2c"}), 426),
        (request(change={"Upgrade": "websockets"}), 426),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
    ],
)
def test_04_not_an_upgrade(rig: Rig, raw: bytes, status: int) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, raw, status)
    backend.expect_none()


@pytest.mark.parametrize(
    "raw",
    [
        request(change={"Upgrade": "proto1, websocket"}),
        request(change={"Upgrade": "proto1"}, extra=[("Upgrade", "websocket")]),
        request(change={"Connection": "keep-alive"}, extra=[("Connection", "Upgrade")]),
    ],
)
def test_05_lists_and_split_fields(rig: Rig, raw: bytes) -> None:
    """The documented way: fields of one name are one list, and ours may be anywhere in it."""
    proxy, backend = start(rig)
    accepted(rig, proxy, raw)
    backend.accept()


@pytest.mark.parametrize(
    "raw",
    [
        request(change={"Connection": "keep-alive, Upgrade"}),  # Firefox
        request().replace(b"Sec-WebSocket-", b"SEC-WEBSOCKET-"),
        b"".join(  # undici
            line.partition(b":")[0].lower() + line[line.find(b":") :] if b": " in line else line
            for line in request().splitlines(keepends=True)
        ),
        request(change={"Upgrade": "WebSocket", "Connection": "upgrade"}),
        request(extra=[("Content-Length", "0")]),  # Java
        request(change={"Host": "[::1]:8080"}),
        request(target="/some/path?query=%00&x=y"),
        request(target="http://proxy.test/absolute"),
    ],
)
def test_06_all_kinds_of_clients(rig: Rig, raw: bytes) -> None:
    proxy, backend = start(rig)
    accepted(rig, proxy, raw)
    backend.accept()


@pytest.mark.parametrize(
    "field",
    [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")],
)
def test_07_body_on_upgrade(rig: Rig, field: tuple[str, str]) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, request(extra=[field]) + b"5\r\nhello\r\n0\r\n\r\n", 400)
    backend.expect_none()


HEAD = request().removesuffix(b"\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        request(extra=[("Content-Length", "0"), ("Transfer-Encoding", "chunked")]),
        request(extra=[("Transfer-Encoding", "chunked, identity")]),
        request(extra=[("Content-Length", "0"), ("Content-Length", "5")]),
        request(extra=[("Content-Length", "+0")]),
        HEAD + b"X-Space : a\r\n\r\n",
        HEAD + b"X-A: b\n\r\n",
        HEAD + b"X-A: b\rX-C: d\r\n\r\n",
        HEAD.replace(b"\r\n", b"\n") + b"\n",
        HEAD + b"X-Folded: a\r\n b\r\n\r\n",
        HEAD + b"X-Nul: a\0b\r\n\r\n",
        HEAD + b"X-Bell: a\x07b\r\n\r\n",
        HEAD + b": empty name\r\n\r\n",
        HEAD + b"X-B\xe4d: a\r\n\r\n",
        HEAD + b"no colon at all\r\n\r\n",
        request(target="/a b"),
        request(target="/#fragment"),
        request(target="no-slash"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # a TLS ClientHello
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
def test_08_malformed(rig: Rig, raw: bytes) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, raw, 400)
    backend.expect_none()


@over_both
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(extra=[("X-Long", "a" * 20000)]), 431),
        (request(extra=[(f"X-{i}", "a") for i in range(200)]), 431),
        (request(target="/" + "a" * 6000), 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200_000, 431),
    ],
    ids=["bytes", "count", "target", "endless"],
)
def test_09_too_large(rig: Rig, raw: bytes, status: int) -> None:
    proxy, backend = start(rig)
    refused(rig, proxy, raw, status)
    backend.expect_none()


@over_both
@pytest.mark.parametrize("carrier", CARRIERS)
def test_10_frames_in_the_segment_of_the_request(rig: Rig, carrier: str) -> None:
    proxy, backend = start(rig)
    client = rig.dial(proxy, carrier)
    client.handshake(request(carrier) + frame(BINARY, b"early ") + frame(BINARY, b"bird"))
    connection = backend.accept()
    connection.read_in_background()
    connection.wait_count(10)
    assert connection.kept == b"early bird"


@over_both
@pytest.mark.parametrize("carrier", CARRIERS)
def test_10_backend_speaks_first(rig: Rig, carrier: str) -> None:
    """Its banner comes with the very connection, perhaps in one segment with our 101."""
    backend = rig.backend("tcp", lambda connection: connection.send(b"220 ready\r\n"))
    client = rig.client(rig.proxy(backend), carrier)
    assert client.expect("data").data == b"220 ready\r\n"


@over_both
@pytest.mark.parametrize("carrier", ["extension", "subprotocol"])
def test_10_a_megabyte_before_the_backend_is_connected(rig: Rig, carrier: str) -> None:
    """More than is kept early: the rest waits in the kernel, and nothing is lost, nor the end behind it."""
    data = payload(MIB, 80)
    with SlowToConnect() as slow:
        proxy = rig.proxy(slow.address)
        client = rig.dial(proxy, carrier)
        client.sock.sendall(request(carrier))
        control = 0xB if carrier == "extension" else 1
        rest = frame(BINARY, data) + frame(control, b"FIN %d" % len(data))
        sender = threading.Thread(target=client.sock.sendall, args=(rest,), daemon=True)
        sender.start()
        connection = slow.accept()
        client.handshake(b"")
        assert connection.wait_end() == "eof"
        assert (connection.count, connection.digest) == (len(data), sha256(data))
        connection.finish()
        assert client.collect().close == 1000
        connection.drop()
        sender.join(PATIENCE)


@over_both
@pytest.mark.parametrize("carrier", CARRIERS)
def test_11_byte_by_byte(rig: Rig, carrier: str) -> None:
    proxy, backend = start(rig)
    client = rig.dial(proxy, carrier)
    raw = request(carrier)
    for i in range(len(raw)):
        client.sock.sendall(raw[i : i + 1])
    client.handshake(b"")
    for byte in frame(BINARY, b"slow"):
        client.raw(bytes([byte]))
    connection = backend.accept()
    connection.read_in_background()
    connection.wait_count(4)
    assert connection.kept == b"slow"


def test_11_pipelined_request_is_frame_data(rig: Rig) -> None:
    """What follows the upgrade is WebSocket, and a "G" is no good frame."""
    proxy, backend = start(rig)
    client = accepted(rig, proxy, request() + request())
    assert client.read_until("close").number == 1002
    assert backend.accept().wait_end() == "reset"
    assert proxy.wait_closed(client.name)["cause"] == "ws-violation"


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("v1.tidegate", "v1.tidegate"),
        ("chat, v1.tidegate", "v1.tidegate"),
        ("binary", "binary"),
        ("binary, base64", "binary"),
        ("binary, v1.tidegate", "v1.tidegate"),
        ("v1.tidegate, v1.tidegate.window.9", "v1.tidegate.window.9"),
        ("v1.tidegate.window.9, v1.tidegate", "v1.tidegate.window.9"),
        ("v1.tidegate.window.9007199254740991, v1.tidegate.window.1", "v1.tidegate.window.9007199254740991"),
        ("v1.tidegate, v1.tidegate.window.9007199254740992", "v1.tidegate"),
        ("v1.tidegate.window.0, binary", "binary"),
        ("v1.tidegate.window.09", None),
        ("chat", None),
        ("V1.TIDEGATE", None),
        (", ,v1.tidegate,,", "v1.tidegate"),
        ("x, " * 2000 + "v1.tidegate", "v1.tidegate"),
        ('"' + "a" * 8000, None),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_12_subprotocol(rig: Rig, offered: str, answered: str | None) -> None:
    proxy, _ = start(rig)
    client = rig.dial(proxy)
    client.sock.sendall(request(change={"Sec-WebSocket-Protocol": offered}))
    response = client.read_response()
    assert response.status == 101
    assert response.get("Sec-WebSocket-Protocol") == answered
    assert response.get("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize(
    ("offered", "is_granted"),
    [
        (EXTENSION_NAME, True),
        (f"permessage-deflate; client_max_window_bits, {EXTENSION_NAME}", True),
        (f'other; a="x, {EXTENSION_NAME}, y"', False),
        (f"{EXTENSION_NAME}; level=9", False),
        (f"{EXTENSION_NAME}; level=9, {EXTENSION_NAME}", True),
        ("permessage-deflate", False),
        ('x="' + "a, " * 5000, False),
        ('x; y="\\' + '\\"' * 5000, False),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_13_14_extensions(rig: Rig, offered: str, is_granted: bool) -> None:
    proxy, _ = start(rig)
    client = rig.dial(proxy)
    client.sock.sendall(request(change={"Sec-WebSocket-Extensions": offered}))
    response = client.read_response()
    assert response.status == 101
    assert response.get("Sec-WebSocket-Extensions") == (EXTENSION_NAME if is_granted else None)


def test_12_both_carriers_offered(rig: Rig) -> None:
    """The extension is taken, v1.tidegate not answered; another subprotocol still may be."""
    proxy, backend = start(rig)
    client = rig.dial(proxy, "extension")
    both = {"Sec-WebSocket-Protocol": f"{SUBPROTOCOL_NAME}, {SUBPROTOCOL_NAME}.window.9, binary"}
    response = client.handshake(request("extension", change=both))  # type: ignore[arg-type]
    assert response.get("Sec-WebSocket-Protocol") == "binary"
    client.fin()
    assert backend.accept().wait_end() == "eof"


def test_14_rsv1_frame(rig: Rig) -> None:
    proxy, backend = start(rig)
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    client = accepted(rig, proxy, request(change=offer))  # type: ignore[arg-type]
    client.raw(frame(BINARY, b"\xaa\x56\x4a\xad\x28\x56\x02\x00", rsv=4))
    assert client.read_until("close").number == 1002
    assert backend.accept().wait_end() == "reset"


@over_both
@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("sent", [b"", b"GET / HT", request()[:-2]], ids=["nothing", "word", "most"])
def test_16_client_vanishes_in_the_handshake(rig: Rig, how: str, sent: bytes) -> None:
    proxy, backend = start(rig)
    client = rig.dial(proxy)
    client.sock.sendall(sent)
    if how == "fin":
        client.shutdown()
        client.read_rest()
        client.sock.close()
    else:
        client.reset()
    record = proxy.wait_refused()
    assert record["cause"] == ("closed" if how == "fin" else "reset")
    assert record["at"] == "client" and "status" not in record
    assert record["client"] == client.name
    backend.expect_none()


@over_both
@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_16_client_vanishes_while_connecting(
    rig: Rig, deaf_tcp_address: str, carrier: str, how: str
) -> None:
    proxy = rig.proxy(deaf_tcp_address, "--connect-timeout", "1m")
    client = rig.dial(proxy, carrier)
    client.sock.sendall(request(carrier))
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):  # no answer before the backend is there
        client.sock.recv(1)
    client.sock.settimeout(PATIENCE)
    if how == "fin":
        client.shutdown()
        assert client.read_rest() == b""
        client.sock.close()
    else:
        client.reset()
    record = proxy.wait_refused(client.name)
    assert record["cause"] == ("closed" if how == "fin" else "reset")
    proxy.wait_idle()


@over_both
def test_18_refusal_survives_a_client_that_still_sends(rig: Rig) -> None:
    """Closing with unread input resets, and a reset destroys the answer: so it must be read away."""
    proxy, backend = start(rig)
    client = rig.dial(proxy)
    client.sock.sendall(request(method="POST", extra=[("Content-Length", "1000000")]))
    try:
        for _ in range(200):
            client.sock.sendall(bytes(5000))
    except OSError as error:
        raise AssertionError("the proxy reset a client that was sending its body") from error
    client.sock.shutdown(socket.SHUT_WR)
    head, _, body = client.read_rest().partition(b"\r\n\r\n")
    response = parse_response(head)
    assert response.status in (400, 405)
    assert "close" in (response.get("Connection") or "")
    assert int(response.get("Content-Length") or "") == len(body)
    backend.expect_none()
