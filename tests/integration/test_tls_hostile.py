"""Checklist 57 and 71: peers that are broken, slow or mean, below TLS and in it. Whatever they do is bounded,
logged, and not felt by others."""

from __future__ import annotations

import contextlib
import ssl
import subprocess

import pytest
from certificates import certificates
from crafted import Crafted, record
from proxy import Proxy, Record
from rig import Rig, over_wss
from support import KIB, MIB, default_binary, dial, is_sanitized, payload, resident_bytes
from tls import client_context
from tunnel import local, start_tunnel
from wsclient import WsClient, request

pytestmark = over_wss

ALERT, HANDSHAKE, DATA = 21, 22, 23


class Bystander:
    """A good connection, open all the time, and the memory of the proxy."""

    def __init__(self, rig: Rig, *flags: str) -> None:
        self.backend = rig.backend("tcp")
        self.proxy: Proxy = rig.proxy(self.backend, *flags)
        self.client, self.connection = rig.pair(self.proxy, self.backend)
        self._talk()
        self._memory = resident_bytes(self.proxy.pid)

    def _talk(self) -> None:
        had = self.client.received.count
        self.connection.send(b"still there?")
        self.client.read_data(had + 12)

    def check(self) -> None:
        self._talk()
        if not is_sanitized():
            grown = resident_bytes(self.proxy.pid) - self._memory
            assert grown < MIB, f"grew by {grown // KIB} KiB"
        self.client.fin()
        assert self.connection.wait_end() == "eof"
        self.connection.finish()
        assert self.client.collect().close == 1000


def client_hello() -> bytes:
    """A good one, as one record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, False, "localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def refused(proxy: Proxy, client: WsClient) -> Record:
    found = proxy.wait_refused(client.name)
    assert (found["cause"], found["at"]) == ("tls-failed", "client")
    assert found["detail"]
    return found


def pour(client: WsClient, data: bytes, total: int = 64 * MIB) -> None:
    """Again and again, until that is much or the other side has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(total // len(data)):
            client.sock.sendall(data)


def test_71_plain_http_gets_an_answer(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend())
    client = rig.dial_bare(proxy)
    client.raw(request("extension"))
    answer = client.read_rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"wss://" in answer
    assert "without TLS" in refused(proxy, client)["detail"]


GARBAGE = {
    "zeros": bytes(100),
    "ssh": b"SSH-2.0-x\r\n",
    "sslv2": b"\x80\x2e\x01\x00\x02" + bytes(44),
    "huge record": b"\x16\x03\x01\xff\xff" + b"x" * 70000,
    "record of another kind": record(DATA, bytes(100)),
    "alert": record(ALERT, b"\x02\x28"),
    "close_notify": record(ALERT, b"\x01\x00"),
    "empty records": record(HANDSHAKE, b"") * 1000,
    "message of another kind": record(HANDSHAKE, b"\x02\x00\x00\x26\x03\x03" + bytes(36)),
    "message without an end": record(HANDSHAKE, b"\x01\xff\xff\xff\x03\x03" + bytes(100)),
    "hello of nothing": record(HANDSHAKE, b"\x01\x00\x00\x00"),
    "hello of noise": record(HANDSHAKE, b"\x01\x00\x01\x00\x03\x03" + payload(254, 3)),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_71_garbage_for_a_handshake(rig: Rig, what: str) -> None:
    """The peer ends its direction behind it, so that nothing can wait for more of it."""
    others = Bystander(rig)
    client = rig.dial_bare(others.proxy)
    client.raw(GARBAGE[what])
    with contextlib.suppress(OSError):  # it may have been reset already
        client.shutdown()
    found = others.proxy.wait_refused(client.name)
    assert found["at"] == "client" and found["cause"] in ("tls-failed", "lost", "reset"), found
    others.check()


@pytest.mark.parametrize("stage", ["behind the hello", "for the key", "for the finish"])
@pytest.mark.parametrize("what", ["noise", "huge record", "data", "alert", "close_notify", "empty records", "fin"])
def test_71_garbage_in_the_handshake(rig: Rig, stage: str, what: str) -> None:
    """A good handshake up to there."""
    others = Bystander(rig)
    bad = {
        "noise": payload(300, 4),
        "huge record": b"\x16\x03\x03\xff\xff" + b"x" * 70000,
        "data": record(DATA, payload(100, 5)),
        "alert": record(ALERT, b"\x02\x28"),
        "close_notify": record(ALERT, b"\x01\x00"),
        "empty records": record(HANDSHAKE, b"") * 1000,
        "fin": b"",
    }[what]
    client = rig.dial_bare(others.proxy)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose flights are the same on both Debians
    tls = context.wrap_bio(incoming, outgoing, False, "localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    client.sock.sendall(outgoing.read())
    if stage != "behind the hello":
        flight = b""
        while True:  # the server's flight, to its last message
            flight += client.sock.recv(65536)
            incoming.write(flight)
            flight = b""
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            if ours := outgoing.read():
                break
        first = ours[: 5 + int.from_bytes(ours[3:5], "big")]  # ClientKeyExchange
        client.sock.sendall(first if stage == "for the finish" else b"")
    with contextlib.suppress(OSError):
        client.sock.sendall(bad)
        client.shutdown()
    found = others.proxy.wait_refused(client.name)
    assert found["at"] == "client" and found["cause"] in ("tls-failed", "lost", "reset"), found
    others.check()


@pytest.mark.parametrize("how", ["records of a byte", "one long message", "empty records", "a record that grows"])
def test_71_hello_without_an_end(rig: Rig, how: str) -> None:
    """A hello of 16 MiB by its own word, as far as they take it: not kept, and not for long."""
    others = Bystander(rig, "--handshake-timeout", "2s")
    client = rig.dial_bare(others.proxy)
    begin = b"\x01\xff\xff\xff\x03\x03"
    if how == "records of a byte":
        for byte in begin:
            client.sock.sendall(record(HANDSHAKE, bytes([byte])))
        pour(client, record(HANDSHAKE, b"x") * 1000)
    elif how == "one long message":
        client.sock.sendall(record(HANDSHAKE, begin + bytes(16000)))
        pour(client, record(HANDSHAKE, bytes(16000)))
    elif how == "empty records":
        pour(client, record(HANDSHAKE, b"") * 1000)
    else:
        client.sock.sendall(b"\x16\x03\x01\x40\x00")
        client.sock.sendall(bytes(100))
    found = others.proxy.wait_refused(client.name)
    assert found["cause"] in ("tls-failed", "handshake-timeout"), found
    others.check()


@pytest.mark.parametrize("begins", ["nothing", "three bytes", "a hello"])
def test_57_silence_ends_in_time(rig: Rig, begins: str) -> None:
    others = Bystander(rig, "--handshake-timeout", "300ms")
    silent = rig.dial_bare(others.proxy)
    silent.raw({"nothing": b"", "three bytes": b"\x16\x03\x01", "a hello": client_hello()}[begins])
    found = others.proxy.wait_refused(silent.name)
    assert found["cause"] == "handshake-timeout"
    assert 250 <= found["duration_ms"] < 5000
    others.check()


def test_57_silence_behind_the_handshake_ends_in_time(rig: Rig) -> None:
    """One timeout for both, TLS and the request."""
    others = Bystander(rig, "--handshake-timeout", "500ms")
    silent = rig.dial(others.proxy)
    assert silent.read_response().status == 408
    assert others.proxy.wait_refused(silent.name)["cause"] == "handshake-timeout"
    others.check()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED])
def test_71_handshake_byte_by_byte(rig: Rig, version: ssl.TLSVersion) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend)
    raw = dial(proxy.address)
    context = client_context()
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, False, "localhost")

    def send_bytes() -> None:
        for byte in outgoing.read():
            raw.sendall(bytes([byte]))

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            send_bytes()
            incoming.write(raw.recv(65536))
    tls.write(request("extension"))
    send_bytes()
    answer = b""
    while b"\r\n\r\n" not in answer:
        try:
            answer += tls.read(65536)
        except ssl.SSLWantReadError:
            incoming.write(raw.recv(65536))
    assert answer.startswith(b"HTTP/1.1 101 ")
    raw.close()
    assert backend.accept().wait_end() == "reset"


MID_STREAM = {
    "noise": record(DATA, payload(64, 6)),
    "nothing sealed": record(DATA, bytes(32)),
    "empty": record(DATA, b""),
    "huge record": b"\x17\x03\x03\xff\xff" + b"x" * 70000,
    "one byte too many": b"\x17\x03\x03\x48\x01" + b"x" * 0x4801,
    "no record": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "alert in the clear": record(ALERT, b"\x01\x00"),
    "hello": client_hello(),
}


@pytest.mark.parametrize("what", MID_STREAM)
@pytest.mark.parametrize("where", ["client", "backend"])
def test_71_garbage_in_mid_stream(rig: Rig, where: str, what: str) -> None:
    """Never an end for the other side."""
    backend = rig.backend("tls")
    proxy = rig.proxy(backend)
    client, connection = rig.pair(proxy, backend)
    client.send(b"good")
    connection.read_in_background()
    connection.wait_count(4)
    side = client if where == "client" else connection
    side.sock.raw.sendall(MID_STREAM[what])  # type: ignore[union-attr]
    if where == "client":
        assert connection.wait_end() == "reset"
        assert connection.kept == b"good"
    else:
        assert client.expect("close").number == 4008
    found = proxy.wait_closed()
    assert (found["cause"], found["at"]) == ("tls-failed", where), found


def test_71_garbage_from_a_server(rig: Rig) -> None:
    """The third side: the server of a tunnel."""
    server = rig.backend("tls")
    tunnel = start_tunnel(rig, server.address.removeprefix("tls://"))
    program = local(rig, tunnel)
    server.accept().sock.raw.sendall(record(DATA, bytes(64)))  # type: ignore[attr-defined]
    assert program.wait_end() == "reset"
    found = tunnel.wait_failed()
    assert (found["cause"], found["at"]) == ("tls-failed", "server"), found


# ---- empty records that are good ones ----


def test_71_a_few_empty_records(rig: Rig) -> None:
    """They are legal, and no end."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    client = Crafted(rig, proxy)
    client.sock.sendall(client.seal(b"") + client.seal(request("plain")))
    assert client.read().startswith(b"HTTP/1.1 101 ")
    connection = backend.accept()
    connection.read_in_background()
    for byte in b"abc":
        client.sock.sendall(client.seal(b"") + client.seal(b"\x82\x81\0\0\0\0" + bytes([byte])))
    connection.wait_count(3)
    assert connection.kept == b"abc"
    assert connection.end is None


@pytest.mark.parametrize("when", ["before the request", "in mid-stream"])
def test_71_flood_of_empty_records(rig: Rig, when: str) -> None:
    others = Bystander(rig)
    client = Crafted(rig, others.proxy)
    if when == "in mid-stream":
        client.sock.sendall(client.seal(request("plain")))
        assert client.read().startswith(b"HTTP/1.1 101 ")
        connection = others.backend.accept()
    try:
        for _ in range(200):
            client.sock.sendall(b"".join(client.seal(b"") for _ in range(100)))
    except OSError:
        pass
    found = others.proxy.wait(("refused", "closed"), lambda r: r["client"] == client.name)
    assert (found["cause"], found["at"]) == ("tls-failed", "client"), found
    if when == "in mid-stream":
        assert connection.wait_end() == "reset"
    others.check()


# ---- backends and servers that do not speak TLS, and the limit ----


def test_71_backend_that_does_not_speak_tls(rig: Rig) -> None:
    backend = rig.backend("tcp", lambda connection: connection.send(b"220 hello, this is SMTP\r\n"))
    proxy = rig.proxy(f"tls://{backend.address}", "--backend-ca", certificates().ca)
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 502
    assert "not TLS" in proxy.wait_refused()["detail"]


def test_71_backend_that_does_not_shake_hands(rig: Rig) -> None:
    backend = rig.backend()
    flags = ("--backend-ca", certificates().ca, "--connect-timeout", "300ms")
    proxy = rig.proxy(f"tls://{backend.address}", *flags)
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 504
    assert proxy.wait_refused()["cause"] == "connect-timeout"


def test_71_probe_finds_no_tls(rig: Rig) -> None:
    server = rig.backend("tcp", lambda connection: connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    command = [default_binary(), "probe", "--linger", "1s", *rig.trust(), rig.url(server.address)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert process.returncode == 76
    assert "not TLS" in process.stderr


def test_59_too_many_connections(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend(), "--max-connections", "1")
    rig.client(proxy)
    with pytest.raises(OSError):  # noqa: PT011: reset, or an end
        rig.dial(proxy)
    assert proxy.wait_refused()["cause"] == "limit"
