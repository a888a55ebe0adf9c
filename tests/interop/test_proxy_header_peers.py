"""PROXY protocol headers that HAProxy and nginx write, and ours as they read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from backend import Backend, BackendConnection
from certificates import certificates
from fronts import Front
from proxy_protocol import AUTHORITY, SSL_CN, UNIQUE_ID, read_header
from rig import Rig, over_both
from support import MIB, dial, payload, sha256
from tls import TlsSocket, client_context
from wsclient import WsClient

LISTEN = ("proxy+127.0.0.1:0",)
UP, DOWN = payload(MIB, 1), payload(MIB, 2)

WRITERS = {
    "haproxy v1": ("haproxy-tcp", "send-proxy"),
    "haproxy v2": ("haproxy-tcp", "send-proxy-v2"),
    "haproxy v2 with TLVs": ("haproxy-tcp", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,authority"),
    "nginx": ("nginx-stream", ""),
}


@contextlib.contextmanager
def front(kind: str, to: str, folder: Path, extra: str = "", listen: str = "") -> Iterator[Front]:
    server = Front(kind, to, folder, extra, listen=listen)
    try:
        yield server
    finally:
        server.stop()


def through(rig: Rig, server: Front) -> WsClient:
    """A WebSocket; the front sees bytes alone."""
    sock = dial(server.address)
    rig.clients.append(WsClient(rig.secure(sock), "extension"))
    rig.clients[-1].handshake()
    return rig.clients[-1]


def exchange(client: WsClient, connection: BackendConnection) -> None:
    client.send(UP)
    client.fin()
    assert connection.read_to_end() == "eof"
    assert connection.digest == sha256(UP)
    connection.send_in_background(DOWN, connection.finish)
    got = client.collect()
    assert (got.order[:3], got.digest, got.close) == (["data", "fin", "close"], sha256(DOWN), 1000)


@over_both
@pytest.mark.parametrize("writer", WRITERS)
def test_a_front_writes_it(rig: Rig, writer: str) -> None:
    """With TLS: the header, then what the client says to us."""
    kind, extra = WRITERS[writer]
    backend = rig.backend()
    proxy = rig.proxy(backend, "--trusted-proxies", "127.0.0.0/8", listen=LISTEN)
    with front(kind, proxy.address, rig.directory, extra) as server:
        client = through(rig, server)
        exchange(client, backend.accept())
        record = proxy.wait_closed(client.name)
        assert record["peer"] != client.name and record["cause"] == "ok"
        assert record.get("unique_id", "").startswith("front-") == ("TLVs" in writer)


@over_both
@pytest.mark.parametrize("writer", ["haproxy v1", "nginx"])
@pytest.mark.parametrize("who", ["client", "backend"])
def test_breaks_behind_a_front(rig: Rig, writer: str, who: str) -> None:
    kind, extra = WRITERS[writer]
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    with front(kind, proxy.address, rig.directory, extra) as server:
        client = through(rig, server)
        connection = backend.accept()
        if who == "client":
            client.reset()
            assert connection.read_to_end() == "reset"
            assert proxy.wait_closed(client.name)["cause"] in ("lost", "reset")
        else:
            connection.reset()
            assert client.expect("close").number == 4000
            assert proxy.wait_closed(client.name)["cause"] == "reset"


def test_a_front_that_has_seen_a_certificate(rig: Rig) -> None:
    """TLS ends at HAProxy; what it says of it goes on to the backend."""
    pair = certificates().make("carol", names="DNS:carol", usage="clientAuth", subject="/O=x/CN=carol")
    both = rig.directory / "both.pem"
    both.write_text(Path(certificates().cert).read_text() + Path(certificates().key).read_text())
    backend = rig.backend()
    proxy = rig.proxy(backend, "--send-proxy", "v2", listen=LISTEN)
    listen = f" ssl crt {both} ca-file {certificates().ca} verify required"
    context = client_context()
    context.load_cert_chain(*pair)
    with front("haproxy-tcp", proxy.address, rig.directory, "send-proxy-v2-ssl-cn", listen) as server:
        client = WsClient(TlsSocket(dial(server.address), context), "extension")  # type: ignore[arg-type]
        rig.clients.append(client)
        client.handshake()
        connection = backend.accept()
        header = read_header(connection.sock)
        flags, verify, inside = header.tls()
        assert (flags & 1, verify, inside[SSL_CN]) == (1, 0, b"carol")
        assert header.source and f"{header.source[0]}:{header.source[1]}" == client.name
        assert header.tlvs[AUTHORITY] == b"proxy.test"
        exchange(client, connection)
        assert proxy.wait_closed(client.name)["unique_id"].encode() == header.tlvs[UNIQUE_ID]


READERS = {
    "haproxy": ("haproxy-tcp", "send-proxy", " accept-proxy"),
    "nginx": ("nginx-stream", "", " proxy_protocol"),
}


def accept_told(last: Backend, name: str) -> BackendConnection:
    """The connection of that client. Others come from looking whether the server is up."""
    while True:
        connection = last.accept()
        try:
            header = read_header(connection.sock)
        except (AssertionError, OSError):
            continue
        if header.source and f"{header.source[0]}:{header.source[1]}" == name:
            return connection


@over_both
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_backend_reads_ours(rig: Rig, reader: str, version: str) -> None:
    """And passes on what it has understood, in a header of its own."""
    kind, extra, listen = READERS[reader]
    last = rig.backend()
    with front(kind, last.address, rig.directory, extra, listen) as behind:
        proxy = rig.proxy(behind.address, "--send-proxy", version)
        client = rig.client(proxy)
        connection = accept_told(last, client.name)
        exchange(client, connection)
        assert proxy.wait_closed(client.name)["cause"] == "ok"
