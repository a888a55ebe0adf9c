"""Failing to open (protocol.md section 6), checklist 15 and 59: statuses, Close codes, limits."""

from __future__ import annotations

import socket
import time

import pytest
from backend import Backend
from proxy import Proxy
from rig import Rig, one_worker, over_both, over_ws
from support import count_sockets, wait_until
from wsclient import CARRIERS, WsClient, request

pytestmark = over_both


def check_failure(rig: Rig, proxy: Proxy, carrier: str, status: int, code: int, cause: str) -> None:
    """In HTTP, or for a page, which cannot read a status, in a Close behind 101."""
    client = rig.dial(proxy, carrier)
    if carrier == "subprotocol":
        client.handshake()
        assert client.expect("close").number == code
        assert client.collect().end == "eof"
        record = proxy.wait_closed(client.name)
        assert (record["bytes_to_backend"], record["bytes_to_client"]) == (0, 0)
        assert not proxy.find("refused")
    else:
        client.sock.sendall(request(carrier))
        response = client.read_response()
        assert response.status == status
        assert response.get("Connection") == "close"
        client.read_rest()
        client.sock.close()
        record = proxy.wait_refused(client.name)
        assert record["status"] == status
        assert not proxy.find("closed")
    assert (record["cause"], record["at"]) == (cause, "backend")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_15_backend_refuses(rig: Rig, unused_tcp_address: str, carrier: str) -> None:
    check_failure(rig, rig.proxy(unused_tcp_address), carrier, 502, 4003, "unreachable")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_15_backend_socket_is_missing(rig: Rig, carrier: str) -> None:
    proxy = rig.proxy(f"unix:{rig.directory}/nobody.sock")
    check_failure(rig, proxy, carrier, 502, 4003, "unreachable")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_15_backend_socket_is_stale(rig: Rig, carrier: str) -> None:
    path = rig.directory / "stale.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    check_failure(rig, rig.proxy(f"unix:{path}"), carrier, 502, 4003, "unreachable")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_15_backend_name_is_unknown(rig: Rig, carrier: str) -> None:
    check_failure(rig, rig.proxy("no-such-host.invalid:9"), carrier, 502, 4003, "unreachable")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_15_backend_is_too_slow(rig: Rig, deaf_tcp_address: str, carrier: str) -> None:
    proxy = rig.proxy(deaf_tcp_address, "--connect-timeout", "400ms")
    started = time.monotonic()
    check_failure(rig, proxy, carrier, 504, 4004, "connect-timeout")
    assert 0.3 < time.monotonic() - started < 5


def test_15_bad_request_never_asks_the_backend(rig: Rig, unused_tcp_address: str) -> None:
    """A refusal that does not depend on the backend does not wait for it."""
    proxy = rig.proxy(unused_tcp_address)
    client = rig.dial(proxy)
    client.sock.sendall(request("subprotocol", change={"Sec-WebSocket-Version": "12"}))
    assert client.read_response().status == 426


# ---- limits ----


def busy(rig: Rig, proxy: Proxy) -> None:
    """One more than the limit is told to come again later."""
    client = rig.dial(proxy)
    client.sock.sendall(request())
    response = client.read_response()
    assert response.status == 503
    assert int(response.get("Retry-After") or "") > 0
    client.read_rest()
    client.sock.close()
    record = proxy.wait_refused(client.name)
    assert (record["status"], record["cause"]) == (503, "limit")


def limited(rig: Rig, limit: int) -> tuple[Proxy, Backend]:
    backend = rig.backend()
    return rig.proxy(backend, "--max-connections", str(limit)), backend


@one_worker
@over_ws
def test_59_above_the_limit(rig: Rig) -> None:
    proxy, _ = limited(rig, 2)
    idle = count_sockets(proxy.pid)
    first, _ = rig.client(proxy), rig.client(proxy)
    busy(rig, proxy)
    busy(rig, proxy)
    first.fin()
    rig.backends[0].accept().finish()
    assert first.collect().close == 1000
    first.sock.close()
    proxy.wait_closed(first.name)
    wait_until(lambda: count_sockets(proxy.pid) == idle + 2, "the slot is free")
    rig.client(proxy, "plain")


def end_abnormally(client: WsClient, how: str) -> None:
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


@one_worker
@pytest.mark.parametrize("how", ["reset", "fin", "violation", "close"])
def test_59_slots_return_after_abnormal_ends(rig: Rig, how: str) -> None:
    proxy, _ = limited(rig, 3)
    for _ in range(5):
        clients = [rig.client(proxy) for _ in range(3)]
        for client in clients:
            end_abnormally(client, how)
        for client in clients:
            client.sock.close()
            proxy.wait_closed(client.name)
        proxy.wait_idle()


@one_worker
def test_59_slots_return_from_those_who_never_got_one(rig: Rig, unused_tcp_address: str) -> None:
    """Failed backends, bad requests and vanished clients all give their slot back."""
    proxy = rig.proxy(unused_tcp_address, "--max-connections", "1")
    for i in range(12):
        client = rig.dial(proxy, CARRIERS[i % 3])
        if i % 4 == 3:
            client.sock.sendall(b"nonsense\r\n\r\n")
            assert client.read_response().status == 400
        else:
            client.sock.sendall(request(client.carrier))
            assert client.read_response().status in (101, 502)
        client.reset()
        proxy.wait_idle()


@one_worker
@over_ws
def test_59_many_above_the_limit_are_answered_or_wait(rig: Rig) -> None:
    """More than the proxy cares to tell at once: the rest waits in the kernel, nobody is lost."""
    proxy, backend = limited(rig, 1)
    holder, connection = rig.pair(proxy, backend)
    extra = [rig.dial(proxy) for _ in range(60)]
    for client in extra:
        client.sock.sendall(request())
    for client in extra:
        assert client.read_response().status == 503
        client.read_rest()
        client.sock.close()
    holder.fin()
    connection.finish()
    assert holder.collect().close == 1000
    holder.sock.close()
    wait_until(lambda: len(proxy.find("refused")) == len(extra), "a record for each")
    proxy.wait_idle()
    rig.client(proxy)
