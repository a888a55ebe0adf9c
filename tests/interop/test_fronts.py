"""Checklist 45: half-close works with other servers in front, because it travels in frames.

What is sent on the way: 1 MiB up, FIN, 3 MiB down that the backend sends only after the end of its
input, Close 1000.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
from backend import answer_at_end
from fronts import Front
from proxy import Proxy
from rig import Rig, over_wss
from support import MIB, PATIENCE, dial, payload, sha256
from wsclient import HALF_CLOSE_CARRIERS, WsClient

UP, DOWN = payload(MIB, 50), payload(3 * MIB, 51)
FRONTS = ("directly", "nginx", "nginx-tls", "haproxy", "varnish", "stunnel")
AT_A_TIME = {"varnish": 20, "stunnel": 20, "nginx-tls": 20}  # others: 200

through_all = pytest.mark.parametrize("kind", FRONTS)
through_fronts = pytest.mark.parametrize("kind", ["nginx", "nginx-tls", "haproxy", "stunnel"])
both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)


Connect = Callable[..., WsClient]


@contextlib.contextmanager
def front(rig: Rig, proxy: Proxy, kind: str) -> Iterator[Connect]:
    """What opens a WebSocket through it: connect(carrier, timeout)."""
    server = None if kind == "directly" else Front(kind, proxy.address, rig.directory, to_tls=rig.is_secure)

    def connect(carrier: str = "extension", timeout: float = PATIENCE) -> WsClient:
        sock = server.dial(timeout) if server else rig.secure(dial(proxy.address, timeout=timeout))
        rig.clients.append(WsClient(sock, carrier))
        rig.clients[-1].handshake()
        return rig.clients[-1]

    try:
        yield connect
        for client in rig.clients:
            client.drop()
    finally:
        if server:
            server.stop()


def exchange(client: WsClient) -> None:
    client.send(UP)
    client.fin()
    got = client.collect()
    assert got.order[:3] == ["data", "fin", "close"], got.order
    assert len(got.order) == 4  # and then an end: a busy front may reset when it is all over
    assert (got.fin, got.close, got.digest) == (len(DOWN), 1000, sha256(DOWN))


@through_all
@both_carriers
def test_45_answer_at_end_of_input(rig: Rig, kind: str, carrier: str) -> None:
    backend = rig.backend("tcp", answer_at_end(DOWN))
    proxy = rig.proxy(backend)
    with front(rig, proxy, kind) as connect:
        exchange(connect(carrier))
        assert backend.accept().digest == sha256(UP)
        record = proxy.wait_closed()
        assert (record["cause"], record["first_end"]) == ("ok", "client")
        assert (record["bytes_to_backend"], record["bytes_to_client"]) == (len(UP), len(DOWN))


@through_all
@both_carriers
def test_45_many_at_a_time(rig: Rig, kind: str, carrier: str) -> None:
    count = AT_A_TIME.get(kind, 200)
    backend = rig.backend("tcp", answer_at_end(DOWN))
    proxy = rig.proxy(backend)
    failures: list[BaseException] = []

    def run(client: WsClient) -> None:
        try:
            exchange(client)
        except BaseException as failure:
            failures.append(failure)

    with front(rig, proxy, kind) as connect:
        clients = [connect(carrier, 60) for _ in range(count)]
        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures, f"{len(failures)} of {count}: {failures[0]!r}"
        for _ in range(count):
            connection = backend.accept()
            assert (connection.end, connection.digest) == ("eof", sha256(UP))
            assert proxy.wait_closed()["cause"] == "ok"


@through_all
@both_carriers
def test_45_backend_ends_first(rig: Rig, kind: str, carrier: str) -> None:
    """Then 3 MiB up, all of which arrive."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with front(rig, proxy, kind) as connect:
        client = connect(carrier)
        connection = backend.accept()
        connection.read_in_background()
        connection.send(UP)
        connection.finish()
        assert client.read_until("fin").number == len(UP)
        assert client.received.digest == sha256(UP)
        client.send(DOWN)
        client.fin()
        assert connection.wait_end() == "eof"
        assert (connection.count, connection.digest) == (len(DOWN), sha256(DOWN))
        assert client.collect().close == 1000
        record = proxy.wait_closed()
        assert (record["cause"], record["first_end"]) == ("ok", "backend")


@over_wss
@pytest.mark.parametrize("kind", ["nginx", "nginx-tls"])
@both_carriers
def test_45_front_finds_tls(rig: Rig, kind: str, carrier: str) -> None:
    """As the second hop, and perhaps the first."""
    test_45_answer_at_end_of_input(rig, kind, carrier)
    rig.clients.clear()
    (rig.directory / kind).rename(rig.directory / "done")
    test_45_backend_ends_first(rig, kind, carrier)


@over_wss
def test_45_many_at_a_time_over_wss(rig: Rig) -> None:
    test_45_many_at_a_time(rig, "directly", "extension")


@through_fronts
@both_carriers
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_46_client_lost_behind_a_front(rig: Rig, kind: str, carrier: str, how: str) -> None:
    """Whatever the front makes of it, the backend sees no end."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with front(rig, proxy, kind) as connect:
        client = connect(carrier)
        connection = backend.accept()
        connection.read_in_background()
        client.send(UP)
        connection.wait_count(len(UP))
        if how == "fin":
            client.shutdown()
        else:
            client.reset()
        assert connection.wait_end() == "reset"
        assert proxy.wait_closed()["cause"] in ("lost", "reset")


@through_fronts
@both_carriers
def test_48_backend_reset_behind_a_front(rig: Rig, kind: str, carrier: str) -> None:
    """Close 4000 reaches the client."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with front(rig, proxy, kind) as connect:
        client = connect(carrier)
        connection = backend.accept()
        connection.send(b"last words")
        client.read_data(10)
        connection.reset()
        assert client.expect("close").number == 4000
        assert proxy.wait_closed()["cause"] == "reset"


@through_fronts
def test_proxy_gone_behind_a_front(rig: Rig, kind: str) -> None:
    """A killed proxy is no success: no FIN message, no Close 1000."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with front(rig, proxy, kind) as connect:
        client = connect()
        backend.accept().send(b"half")
        client.read_data(4)
        proxy.kill()
        rig.proxies.remove(proxy)
        got = client.collect()
        assert got.fin is None and got.close is None
