"""Checklist 47, 73, 74: ends of TLS, and ends that are none. The half-close matrix is in test_matrix.py."""

from __future__ import annotations

import socket
import threading

import pytest
from backend import BackendConnection
from proxy import Proxy
from rig import Rig, over_wss
from support import dial, payload
from tls import has_tls_1_3
from tunnel import local, start_tunnel
from wsclient import BINARY, CARRIERS, WsClient, frame

pytestmark = over_wss


def start(
    rig: Rig, carrier: str = "extension", kind: str = "tcp", *flags: str
) -> tuple[Proxy, WsClient, BackendConnection]:
    backend = rig.backend(kind)
    proxy = rig.proxy(backend, *flags)
    client, connection = rig.pair(proxy, backend, carrier)
    return proxy, client, connection


def test_backend_tls_finish_notify(rig: Rig) -> None:
    """close_notify alone: the backend's kernel has not seen a FIN when its TLS has seen the end."""
    proxy, client, connection = start(rig, "extension", "tls", "--backend-tls-finish", "notify")
    client.send(b"question")
    client.fin()
    assert connection.wait_end() == "eof"
    raw = connection.sock.raw  # type: ignore[attr-defined]
    raw.settimeout(0.5)
    with pytest.raises(TimeoutError):
        raw.recv(1)
    raw.settimeout(20)
    connection.send(b"answer")
    connection.finish()
    assert client.expect("data").data == b"answer"
    assert client.expect("fin").number == 6
    assert client.expect("close").number == 1000
    assert proxy.wait_closed()["cause"] == "ok"


def test_backend_tls_finish_notify_fin(rig: Rig) -> None:
    """The default: FIN right behind close_notify, and the other direction goes on."""
    proxy, client, connection = start(rig, "extension", "tls")
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.sock.raw.recv(1) == b""  # type: ignore[attr-defined]
    connection.send(payload(100_000, 1))
    connection.finish()
    client.read_data(100_000)
    assert client.expect("fin").number == 100_000
    assert client.collect().close == 1000
    assert proxy.wait_closed()["cause"] == "ok"


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("how", ["fin", "close_notify", "close_notify and fin", "reset"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_47_client_leaves_without_an_end(rig: Rig, carrier: str, how: str, kind: str) -> None:
    proxy, client, connection = start(rig, carrier, kind)
    client.send(b"half of it")
    connection.read_in_background()
    connection.wait_count(10)
    if "close_notify" in how:
        client.sock.close_notify()  # type: ignore[attr-defined]
    if "fin" in how:
        client.sock.raw.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
    if how == "reset":
        client.reset()
    assert connection.wait_end() == "reset"
    assert connection.kept == b"half of it"
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("reset" if how == "reset" else "lost", "client")


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_47_backend_leaves_without_close_notify(rig: Rig, how: str, carrier: str) -> None:
    proxy, client, connection = start(rig, carrier, "tls")
    connection.send(b"half of it")
    assert client.expect("data").data == b"half of it"
    if how == "fin":
        connection.sock.raw.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
    else:
        connection.reset()
    assert client.expect("close").number == 4000
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("lost" if how == "fin" else "reset", "backend")


def test_47_backend_cut_inside_a_record(rig: Rig) -> None:
    """What came in whole records is delivered, and no end behind it."""
    proxy, client, connection = start(rig, "extension", "tls")
    connection.send(b"whole")
    client.read_data(5)
    sock = connection.sock
    sock.tls.write(payload(10_000, 2))  # type: ignore[attr-defined]
    sealed = sock._out.read()  # type: ignore[attr-defined]
    sock.raw.sendall(sealed[:5000])  # type: ignore[attr-defined]
    sock.raw.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
    assert client.expect("close").number == 4000
    assert client.received.count == 5
    assert proxy.wait_closed()["cause"] == "lost"


def test_47_tunnel_hears_no_close_notify(rig: Rig) -> None:
    """The third side: what a local program of a tunnel sees when its wss server is cut."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with Cutter(proxy.address) as cutter:
        tunnel = start_tunnel(rig, cutter.address)
        program = local(rig, tunnel)
        program.send(b"hello")
        connection = backend.accept()
        connection.read_some(5)
        connection.send(b"half of it")
        program.read_in_background()
        program.wait_count(10)
        cutter.cut()
        assert program.wait_end() == "reset"
        record = tunnel.wait_closed()
        assert (record["cause"], record["at"]) == ("lost", "server")
        assert connection.wait_end() == "reset"


class Cutter:
    """Passes bytes on in both directions until told to end them with FIN, for both at once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._socks: list[socket.socket] = []

    def __enter__(self) -> Cutter:
        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while piece := source.recv(65536):
                    sink.sendall(piece)
            except OSError:
                pass

        def run() -> None:
            near, _ = self._listener.accept()
            far = dial(self._target)
            self._socks += [near, far]
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            pump(far, near)

        threading.Thread(target=run, daemon=True).start()
        return self

    def cut(self) -> None:
        for sock in self._socks:
            sock.shutdown(socket.SHUT_WR)

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for sock in self._socks:
            sock.close()


def test_74_two_frames_in_one_record(rig: Rig) -> None:
    """A record of 16 KiB with many messages: none of them waits for another packet."""
    _, client, connection = start(rig)
    one = payload(100, 6)
    client.raw(frame(BINARY, one) * 150)
    connection.read_in_background()
    connection.wait_count(15000)
    connection.send(b"go on")
    assert client.expect("data").data == b"go on"


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_74_ends_in_one_record(rig: Rig, kind: str) -> None:
    """Data, FIN and all in one record, and the socket quiet afterwards."""
    proxy, client, connection = start(rig, "extension", kind)
    client.raw(b"".join(frame(BINARY, b"12345") for _ in range(200)) + frame(0xB, b"FIN 1000"))
    assert connection.wait_end() == "eof"
    assert connection.count == 1000
    connection.finish()
    assert client.collect().close == 1000
    assert proxy.wait_closed()["cause"] == "ok"


def test_73_best_version_and_tickets(rig: Rig) -> None:
    """The newest TLS that the library has; with 1.3, OpenSSL's tickets come in mid-stream."""
    best = "TLSv1.3" if has_tls_1_3() else "TLSv1.2"
    proxy, client, connection = start(rig, "extension", "tls")
    assert client.sock.tls.version() == best  # type: ignore[attr-defined]
    assert connection.sock.tls.version() == best  # type: ignore[attr-defined]
    connection.send(b"hello")
    assert client.expect("data").data == b"hello"
    client.fin()
    connection.finish()
    assert client.collect().close == 1000
    assert proxy.wait_closed()["cause"] == "ok"
