"""Limits on what one client, and one route, may have. Checklist 59."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import pytest
from backend import echo
from config import serve, write
from proxy import Program, Record
from rig import Rig, one_worker, over_both, over_ws
from support import dial, parse_address, payload, sha256, wait_until
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient, request

pytestmark = one_worker  # with several see test_workers.py

TOO_MANY = "too many connections of this client"
TOO_FAST = "too many new connections of this client"
ROUTE_FULL = "too many connections of this route"


def from_address(rig: Rig, proxy: Program, source: str, carrier: str = "plain") -> WsClient:
    """A client of its own, on loopback: 127.0.0.2, ..."""
    rig.clients.append(WsClient(rig.secure(dial(proxy.address, source=source)), carrier))
    return rig.clients[-1]


def expect_told(proxy: Program, client: WsClient, detail: str) -> Record:
    """503 and when to come again, without TLS; else it is reset."""
    response = client.read_response()
    assert response.status == 503
    assert int(response.get("Retry-After") or 0) > 0
    assert detail.encode() in client.read_rest()
    client.sock.close()
    record = proxy.wait_refused(client.name)
    assert (record["cause"], record["detail"], record["at"]) == ("limit", detail, "proxy")
    assert "backend" not in record
    return record


def expect_reset(proxy: Program, detail: str) -> None:
    """That may come before connect(2) has returned."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(ConnectionResetError):
            sock.connect(parse_address(proxy.address)[1])
            sock.recv(1)
    record = proxy.wait_refused(name)
    assert (record["cause"], record["detail"], "status" in record) == ("limit", detail, False)


def end(proxy: Program, client: WsClient, how: str) -> None:
    if how == "reset":
        client.reset()
    elif how == "fin":
        client.shutdown()
        client.collect()
    elif how == "violation":
        client.raw(b"\xff\xff\xff\xff")
        client.collect()
    elif how == "close":
        client.close_frame(1001)
        client.collect()
    elif how == "complete":
        client.fin()
        assert client.collect().close == 1000
    proxy.wait_closed(client.name)
    client.sock.close()


# ---- connections of a client ----


@over_both
def test_59_connections_of_a_client(rig: Rig) -> None:
    """Silent ones count, and a stranger at another address does not."""
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-connections-per-client", "2")
    first, silent = rig.client(proxy), rig.dial_bare(proxy)
    if rig.is_secure:
        expect_reset(proxy, TOO_MANY)
    else:
        expect_told(proxy, rig.dial(proxy), TOO_MANY)
    other = from_address(rig, proxy, "127.0.0.2")
    other.handshake()
    other.send(b"me too")
    other.read_data(6)
    silent.reset()
    proxy.wait_refused(silent.name)
    rig.client(proxy).send(b"room again")
    first.send(b"and still here")
    first.read_data(14)


@over_ws
@pytest.mark.parametrize("how", ["reset", "fin", "violation", "close", "complete"])
def test_59_room_returns_after_every_end(rig: Rig, how: str) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-connections-per-client", "3", "--max-connections-per-route", "3")
    for _ in range(5):
        clients = [rig.client(proxy) for _ in range(3)]
        for client in clients:
            end(proxy, client, how)


@over_ws
def test_59_room_returns_from_who_never_got_in(rig: Rig, unused_tcp_address: str) -> None:
    """Backends that fail, bad requests, routes that are not there, clients that vanish."""
    limits = ("--max-connections-per-client", "1", "--max-connections-per-route", "1")
    proxy = rig.proxy(unused_tcp_address, *limits)
    for i in range(12):
        client = rig.dial(proxy, CARRIERS[i % 3])
        if i % 4 == 3:
            client.sock.sendall(b"nonsense\r\n\r\n")
            assert client.read_response().status == 400
        elif i % 4 == 2:
            client.sock.sendall(request(client.carrier)[:-7])
        else:
            client.sock.sendall(request(client.carrier))
            assert client.read_response().status in (101, 502)
        client.reset()
        proxy.wait_any("refused", "closed")


@over_ws
def test_59_churn_at_the_limit(rig: Rig) -> None:
    """Four clients of three connections each, at random ends, and as many strangers in between: at the
    end each may have its three again."""
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-connections-per-client", "3")
    failures: list[BaseException] = []

    def churn(number: int) -> None:
        try:
            for i in range(40):
                client = WsClient(dial(proxy.address, source=f"127.0.0.{2 + number}"), HALF_CLOSE_CARRIERS[i % 2])
                client.sock.sendall(request(client.carrier)[: None if i % 4 else 30])
                if i % 4:
                    client.handshake(b"")
                if i % 4 == 1:
                    client.fin()
                    assert client.collect().close == 1000
                elif i % 4 == 2:
                    client.raw(b"\xff\xff\xff\xff")
                    client.collect()
                client.reset()
                proxy.wait(("closed", "refused"), lambda r, name=client.name: r["client"] == name)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=churn, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    for number in range(4):
        source = f"127.0.0.{2 + number}"
        held = [from_address(rig, proxy, source, "extension") for _ in range(3)]
        for client in held:
            client.handshake()
        expect_told(proxy, from_address(rig, proxy, source), TOO_MANY)


@over_ws
def test_59_a_crowd_beyond_the_limit_is_reset(rig: Rig) -> None:
    """Telling costs a descriptor for a while: some are told, the rest is not, and others go on."""
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-connections-per-client", "1")
    holder = rig.client(proxy)
    told = 0
    for _ in range(60):
        try:
            client = rig.dial(proxy)
            told += client.sock.recv(20).startswith(b"HTTP/1.1 503")
            client.reset()
        except ConnectionResetError:
            pass
    assert 10 <= told < 60
    wait_until(lambda: len(proxy.find("refused")) == told, "a record for each that was told")
    holder.send(b"undisturbed")
    holder.read_data(11)
    from_address(rig, proxy, "127.0.0.9").handshake()


@over_ws
def test_59_a_unix_peer_has_no_address(rig: Rig) -> None:
    listen = f"unix:{rig.directory}/in.sock"
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-connections-per-client", "1", listen=(listen,))
    for _ in range(3):
        rig.client(proxy)


# ---- new ones per second ----


@over_ws
def test_rate_of_a_client(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-rate-per-client", "1")
    rig.client(proxy)
    for _ in range(50):  # unless a second passes between two of them, which happens now and then
        client = rig.dial(proxy)
        client.sock.sendall(request())
        if client.read_response().status == 503:
            break
        client.reset()
    assert TOO_FAST.encode() in client.read_rest()
    assert proxy.wait_refused(client.name)["detail"] == TOO_FAST
    from_address(rig, proxy, "127.0.0.2").handshake()

    def is_let_in() -> bool:
        try:
            again = rig.dial(proxy)
            again.sock.sendall(request())
            return again.read_response().status == 101
        except (ConnectionResetError, BrokenPipeError):
            return False

    wait_until(is_let_in, "a second later")
    for each in rig.clients:
        each.drop()


# ---- connections of a route ----


@over_both
@pytest.mark.parametrize("carrier", CARRIERS)
def test_59_connections_of_a_route(rig: Rig, carrier: str) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--max-connections-per-route", "1")
    holder = rig.client(proxy)
    backend.accept()
    excess = rig.dial(proxy, carrier)
    excess.sock.sendall(request(carrier))
    assert expect_told(proxy, excess, ROUTE_FULL)["route"] == "default"
    backend.expect_none()
    end(proxy, holder, "complete")
    rig.client(proxy, carrier)


def routes(rig: Rig, limit: str) -> dict[str, Any]:
    backend = rig.backend("tcp", echo)
    return {
        "backend": [backend.address],
        "max-connections-per-route": limit,
        "routes": [
            {"name": "a", "path": "/a"},
            {"name": "b", "path": "/b", "max-connections-per-route": "2"},
            {"name": "c", "path": "/c", "max-connections-per-route": "0"},
        ],
    }


def status_of(rig: Rig, proxy: Program, path: str) -> int:
    client = rig.dial(proxy.address)
    client.sock.sendall(request(target=path))
    return client.read_response().status


def test_59_each_route_has_its_own(rig: Rig) -> None:
    proxy = serve(rig, routes(rig, "1"))
    answers = {path: [status_of(rig, proxy, path) for _ in range(4)] for path in ("/a", "/b", "/c")}
    assert answers == {"/a": [101, 503, 503, 503], "/b": [101, 101, 503, 503], "/c": [101] * 4}
    for client in rig.clients:
        client.drop()


def test_59_a_reload_does_not_begin_to_count_anew(rig: Rig) -> None:
    settings = routes(rig, "2")
    proxy = serve(rig, settings)
    assert [status_of(rig, proxy, "/a") for _ in range(3)] == [101, 101, 503]
    write(rig, {"linger": "2s", **settings, "max-connections-per-route": "3", "max-connections-per-client": "4"})
    proxy.signal(signal.SIGHUP)
    proxy.wait("reloaded")
    assert [status_of(rig, proxy, "/a") for _ in range(2)] == [101, 503]
    assert status_of(rig, proxy, "/c") == 101
    assert status_of(rig, proxy, "/c") == 503, "the fifth of this client"
    for client in rig.clients:
        client.drop()


# ---- half-closed ones of a client ----


@over_both
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_59_half_closed_of_a_client(rig: Rig, carrier: str) -> None:
    """The third makes the one go that has been quiet longest: a break on both sides, never an end."""
    backend = rig.backend()
    proxy = rig.proxy(backend, "--max-half-closed-per-client", "2")
    pairs = [rig.pair(proxy, backend, carrier) for _ in range(3)]
    open_one, open_connection = rig.pair(proxy, backend, carrier)
    for client, connection in pairs[:2]:
        client.fin()
        assert connection.wait_end() == "eof"
    pairs[0][1].send(b"not quiet")  # so that the second is it
    pairs[0][0].read_data(9)
    pairs[2][0].fin()
    assert pairs[1][0].expect("close").number == 1013
    assert pairs[1][1].wait_broken() in ("ECONNRESET", "EPIPE")
    record = proxy.wait_closed(pairs[1][0].name)
    assert (record["cause"], record["at"]) == ("half-closed-limit", "proxy")
    data = payload(300_000, 5)
    for before, (client, connection) in ((b"not quiet", pairs[0]), (b"", pairs[2])):
        connection.send_in_background(data, then=connection.finish)
        got = client.collect()
        assert (got.close, got.digest) == (1000, sha256(before + data))
    open_connection.send(b"both ways")
    open_one.read_data(9)
