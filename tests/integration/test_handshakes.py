"""Many handshakes at once: others are not kept waiting. Checklist 57."""

from __future__ import annotations

import socket
import ssl
import struct

import pytest
from backend import echo
from proxy import Proxy
from rig import Rig, one_worker, over_both, over_wss
from support import count_sockets, dial, open_files, reset, wait_until
from tls import client_context
from wsclient import PING, WsClient, frame, request

SO_TIMESTAMPNS = 35  # asm-generic/socket.h


def client_hello() -> bytes:
    """What a TLS client says first, for a socket that only plays one."""
    out = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def receive_stamped(sock: socket.socket) -> int | None:
    """When what comes next came, by the kernel's clock, in ns; None if it does not stamp yet."""
    data, ancillary, _, _ = sock.recvmsg(65536, 1024)
    assert data
    if not ancillary:
        return None
    seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2][:16])
    return int(seconds * 1_000_000_000 + nanoseconds)


@one_worker
@over_wss
def test_57_many_handshakes_do_not_keep_an_open_connection_waiting(rig: Rig) -> None:
    """The proxy finds a ping and 150 handshakes at once, the ping last. What it answers is put in order
    by the kernel."""
    proxy = rig.proxy(rig.backend(script=echo))
    client = rig.client(proxy, "plain")
    before = len(open_files(proxy.pid))
    strangers = [dial(proxy.address) for _ in range(150)]
    wait_until(lambda: len(open_files(proxy.pid)) == before + len(strangers), "all accepted")
    raw: socket.socket = client.sock.raw  # type: ignore[attr-defined]
    for sock in (raw, *strangers):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    client.raw(frame(PING, b"first"))
    while receive_stamped(raw) is None:
        client.raw(frame(PING, b"again"))
    hello = client_hello()
    with proxy.held_up():
        for sock in strangers:
            sock.sendall(hello)
        client.raw(frame(PING, b"are you there"))
    pong = receive_stamped(raw) or 0
    answers = [receive_stamped(sock) or 0 for sock in strangers]
    assert sum(answer < pong for answer in answers) <= 2
    assert answers == sorted(answers)
    for sock in strangers:
        sock.close()


# ---- a limit ----


def start(rig: Rig, limit: int) -> Proxy:
    return rig.proxy(rig.backend(script=echo), "--max-handshakes", str(limit), "--handshake-timeout", "60s")


def open_good(rig: Rig, proxy: Proxy) -> WsClient:
    client = rig.client(proxy)
    client.send(b"hello")
    assert client.expect("data").data == b"hello"
    return client


def refused_names(rig: Rig, proxy: Proxy) -> list[str]:
    """Who has been refused, when one more good client has come and gone."""
    client = open_good(rig, proxy)
    client.fin()
    assert client.collect().close == 1000
    proxy.wait_closed(client.name)
    return [str(record["client"]) for record in proxy.find("refused")]


def assert_told(client: WsClient) -> None:
    """It is told to come back."""
    response = client.read_response()
    assert response.status == 503
    assert int(response.get("Retry-After") or 0) > 0
    assert b"too many handshakes" in client.read_rest()
    client.sock.close()


@one_worker
@over_both
def test_57_silent_strangers_do_not_keep_good_clients_out(rig: Rig) -> None:
    """The oldest of them goes. Good clients count until their 101 only."""
    proxy = start(rig, 3)
    strangers = [rig.dial_bare(proxy) for _ in range(3)]
    open_good(rig, proxy)
    record = proxy.wait_refused(strangers[0].name)
    assert (record["cause"], record["detail"]) == ("limit", "too many handshakes")
    assert record.get("status") == (None if rig.is_secure else 503)
    if rig.is_secure:  # nothing can be said to it
        with pytest.raises(ConnectionResetError):
            strangers[0].sock.recv(1)
    else:
        assert_told(strangers[0])
    open_good(rig, proxy)
    strangers.append(rig.dial_bare(proxy))
    expected = [strangers[0].name, strangers[1].name]
    for _ in range(3):
        assert refused_names(rig, proxy) == expected


@one_worker
@pytest.mark.parametrize("how", ["refused", "reset", "end"])
@over_both
def test_57_who_has_left_does_not_count(rig: Rig, how: str) -> None:
    proxy = start(rig, 2)
    silent = rig.dial_bare(proxy)
    for _ in range(4):
        client = rig.dial(proxy)
        if how == "refused":
            client.sock.sendall(b"nonsense\r\n\r\n")
            assert client.read_response().status == 400
        elif how == "reset":
            client.reset()
        else:
            client.shutdown()
        proxy.wait_refused(client.name)
        client.sock.close()
    silent.raw(client_hello() if rig.is_secure else b"GET")
    assert silent.name not in refused_names(rig, proxy)


@one_worker
@over_wss
def test_57_who_has_tls_already_is_told(rig: Rig) -> None:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # with 1.3 the client is done before the server
    proxy = start(rig, 1)
    silent = rig.dial(proxy, context=context)
    open_good(rig, proxy)
    assert_told(silent)
    assert proxy.wait_refused(silent.name)["status"] == 503


@over_both
def test_57_waiting_for_the_backend_is_no_handshake(rig: Rig, deaf_tcp_address: str) -> None:
    proxy = rig.proxy(deaf_tcp_address, "--max-handshakes", "1", "--connect-timeout", "1s")
    before = count_sockets(proxy.pid)
    client = rig.dial(proxy)
    client.sock.sendall(request())
    wait_until(lambda: count_sockets(proxy.pid) == before + 2, "the backend is dialled")
    rig.dial_bare(proxy)
    assert client.read_response().status == 504


@over_both
def test_57_a_crowd_that_leaves_at_any_moment(rig: Rig) -> None:
    """Handshakes that are dropped while they wait for their turn, and clients that vanish then."""
    proxy = start(rig, 20)
    hello = client_hello() if rig.is_secure else b"GET / HTTP/1.1\r\nHost: a\r\n"
    for _ in range(5):
        with proxy.held_up():
            crowd = [dial(proxy.address) for _ in range(40)]
            for i, sock in enumerate(crowd):
                sock.sendall(hello)
                if i % 3 == 0:
                    reset(sock)
        for i, sock in enumerate(crowd):
            if i % 3 != 0:
                sock.close()
    open_good(rig, proxy)
