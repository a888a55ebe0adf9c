"""The status port: its pages, in good times, while draining, and with peers that mean no good."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from backend import echo
from manager import handing_over
from rig import Rig, one_worker, over_both
from status import FLAGS, Metrics, Status, read_reply, unchunk, watched
from support import MIB, count_sockets, default_binary, dial, payload, reset, sha256, wait_until
from wsclient import CARRIERS, WsClient

ASK = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
PLACES = 16


def is_alive(status: Status) -> bool:
    reply = status.get("/livez")
    return (reply.status, reply.body) == (200, b"ok\n")


# ---- pages ----


def test_pages(rig: Rig) -> None:
    proxy, status = watched(rig, rig.backend())
    for path in ("/livez", "/healthz", "/readyz", "/livez?verbose", "http://any.where/readyz"):
        reply = status.get(path)
        assert (reply.status, reply.body, reply.is_whole) == (200, b"ok\n", True), path
        assert reply.fields["cache-control"] == "no-store"
        assert not [name for name in reply.fields if name.startswith("access-control")]
    for path in ("/", "/livezz", "/live", "/metrics/", "/LIVEZ", "/%6civez"):
        assert status.get(path).status == 404, path
    assert status.connections() == []


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/connections", "/none"])
def test_head(rig: Rig, path: str) -> None:
    """The same fields, and nothing behind them."""
    proxy, status = watched(rig, rig.backend())
    head, whole = status.get(path, "HEAD"), status.get(path)
    assert (head.status, head.fields, head.body) == (whole.status, whole.fields, b"")


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/connections"])
def test_http_1_0(rig: Rig, path: str) -> None:
    """No chunks for who does not know them; Host is not needed."""
    proxy, status = watched(rig, rig.backend())
    reply = status.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert reply.status == 200 and "transfer-encoding" not in reply.fields
    if path == "/metrics":
        assert Metrics(reply.body.decode()).get("tidegate_build_info") == 1
    if path == "/connections":
        assert json.loads(reply.body) == []


def test_who_has_ended_still_gets_the_answer(rig: Rig) -> None:
    proxy, status = watched(rig, rig.backend())
    with status.dial() as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_reply(sock).is_whole


def test_on_a_unix_socket(rig: Rig) -> None:
    path = f"unix:{rig.directory}/status.sock"
    proxy, status = watched(rig, rig.backend(), "--status", path)
    assert status.address == path
    assert is_alive(status)


def test_socket_of_systemd(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        proxy, status = watched(rig, rig.backend(), "--status", "systemd:probes", **handing_over((sock, "probes")))
        assert status.address == "{}:{}".format(*sock.getsockname())
        assert is_alive(status)


def test_address_in_use(rig: Rig) -> None:
    """It does not serve without it."""
    proxy, status = watched(rig, rig.backend())
    again = subprocess.run(
        [default_binary(), "serve", "--listen", ":0", "--backend", ":1", "--status", status.address],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert again.returncode == 71
    assert f"{status.address}: " in again.stderr and "in use" in again.stderr


def test_descriptors_are_kept_for_it(rig: Rig) -> None:
    """One connection needs 18 descriptors, and the port 18 of its own (test_lifecycle.py has the numbers)."""
    for limit, flags, is_good in ((18, (), True), (35, FLAGS, False), (36, FLAGS, True)):
        result = subprocess.run(
            [
                *("prlimit", f"--nofile={limit}:{limit}", default_binary(), "serve", "--listen", "256.0.0.1:1"),
                *("--backend", ":1", *flags, "--max-connections", "1", "--workers", "1"),
            ],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert ("is too small" not in result.stderr) == is_good, (limit, result.stderr)
        if not is_good:
            assert "needs 36;" in result.stderr


# ---- connections ----


@one_worker
@over_both
@pytest.mark.parametrize("carrier", CARRIERS)
def test_connections(rig: Rig, carrier: str) -> None:
    backend = rig.backend()
    proxy, status = watched(rig, backend, "--handshake-timeout", "1h")
    silent = rig.dial_bare(proxy)
    wait_until(lambda: len(status.connections()) == 1, "the silent one")
    assert status.connection(silent.name)["state"] == "handshake"
    client, connection = rig.pair(proxy, backend, carrier)
    client.send(b"12345")
    connection.read_in_background()
    connection.wait_count(5)
    first, second = status.connections()
    assert (first["client"], second["client"]) == (client.name, silent.name)
    assert first["conn"] > second["conn"] and first["age_ms"] <= second["age_ms"] + 1
    assert (first["state"], first["carrier"], first["route"]) == ("open", carrier, "default")
    assert first["backend"] == backend.address
    assert first["to_backend"] == {
        **{"state": "open", "bytes": 5, "buffered_bytes": first["to_backend"]["buffered_bytes"]},
        **{"is_paused": False, "pauses": 0},
    }
    assert "route" not in second and "to_client" not in second
    if carrier == "plain":
        client.close_frame(1000)
    else:
        client.fin()
        wait_until(lambda: status.connection(client.name)["to_backend"]["state"] == "complete", "complete")
        assert status.connection(client.name)["to_client"]["state"] == "open"
    assert connection.wait_end() == "eof"
    connection.finish()
    client.collect()
    client.sock.close()
    assert proxy.wait("closed")["conn"] == first["conn"]
    assert [c["client"] for c in status.connections()] == [silent.name]


def test_connecting(rig: Rig, deaf_tcp_address: str) -> None:
    proxy, status = watched(rig, deaf_tcp_address, "--connect-timeout", "1h")
    client = rig.dial(proxy)
    client.raw(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    client.raw(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    wait_until(lambda: [c["state"] for c in status.connections()] == ["connecting"], "on its way")
    seen = status.connection(client.name)
    assert seen["route"] == "default" and "backend" not in seen  # it has none yet


def crowd(rig: Rig, count: int, *flags: str) -> tuple[Status, list[WsClient]]:
    """A proxy with that many connections that do nothing."""
    backend = rig.backend(script=echo)
    proxy, status = watched(rig, backend, "--ping-interval", "0", *flags)
    with ThreadPoolExecutor(4) as pool:
        return status, list(pool.map(lambda _: rig.client(proxy, "extension"), range(count)))


def test_long_answer_to_a_slow_reader(rig: Rig) -> None:
    """It takes as long as the reader does: those that end meanwhile are left out, the rest is whole."""
    status, clients = crowd(rig, 600)
    with status.dial(rcvbuf=2048) as sock:
        sock.sendall(b"GET /connections HTTP/1.1\r\nHost: a\r\n\r\n")
        start = sock.recv(1000)
        assert start
        for client in clients[:300]:  # the oldest: they come last
            client.reset()
        wait_until(lambda: status.value("tidegate_connections_active") == 300, "half of them have gone")
        rest = read_all(sock)
    data, is_whole = unchunk((start + rest).partition(b"\r\n\r\n")[2])
    assert is_whole
    names = [c["client"] for c in json.loads(data)]
    assert len(names) == len(set(names))
    assert {c.name for c in clients[300:]} <= set(names) <= {c.name for c in clients}


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


# ---- draining ----


def test_ready_until_drained(rig: Rig) -> None:
    """503 during the delay, in which connections are still taken, and after it; alive all the time."""
    backend = rig.backend()
    proxy, status = watched(rig, backend, "--drain-delay", "300ms", "--drain-timeout", "1h")
    client, connection = rig.pair(proxy, backend)
    assert status.get("/readyz").status == 200
    assert status.value("tidegate_draining") == 0
    proxy.signal()
    proxy.wait("draining")
    reply = status.get("/readyz")
    assert (reply.status, reply.body) == (503, b"draining\n")

    def is_refused() -> bool:
        try:
            dial(proxy.address).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused, "the listener is closed")
    assert status.get("/readyz").status == 503
    assert is_alive(status)
    assert status.value("tidegate_draining") == 1
    assert len(status.connections()) == 1
    client.fin()
    assert connection.wait_end() == "eof"
    connection.finish()
    client.collect()
    client.sock.close()
    proxy.check_exit(0)


def test_drain_delay_is_on_with_status(rig: Rig) -> None:
    """Connections are taken after SIGTERM, although nobody has asked for a delay."""
    backend = rig.backend()
    proxy = rig.proxy(backend, "--status", "127.0.0.1:0")
    proxy.signal()
    assert proxy.wait("draining")["delay_ms"] == 5000
    rig.client(proxy)
    proxy.signal()
    proxy.check_exit(0)


@pytest.mark.parametrize("what", ["silent", "half-a-request", "unread-answer"])
def test_who_asks_does_not_keep_it_running(rig: Rig, what: str) -> None:
    proxy, status = watched(rig, rig.backend())
    with status.dial(rcvbuf=2048) as sock:
        if what == "half-a-request":
            sock.sendall(ASK[:10])
        elif what == "unread-answer":
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(1)
        assert is_alive(status)  # both have been accepted
        proxy.signal()
        proxy.check_exit(0)


def test_closed_status_port_leaves_nothing(rig: Rig) -> None:
    """Its socket file goes with it."""
    path = f"unix:{rig.directory}/status.sock"
    proxy, status = watched(rig, rig.backend(), "--status", path)
    assert is_alive(status)
    proxy.signal()
    proxy.check_exit(0)
    assert not (rig.directory / "status.sock").exists()


# ---- peers that mean no good ----

REQUESTS = {
    "post": (b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
    "delete": (b"DELETE /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "body": (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 400),
    "chunked": (b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no-http": (b"hello, is it me you are looking for?\r\n\r\n", 400),
    "star": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "0.9": (b"GET /livez\r\n\r\n", 400),
    "2.0": (b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "control-character": (b"GET /livez HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
    "bare-lf": (b"GET /livez HTTP/1.1\nHost: a\n\n", 400),
    "long-target": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
    "long-head": (b"GET /livez HTTP/1.1\r\nA: " + b"a" * 20000 + b"\r\n\r\n", 431),
    "many-fields": (b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "tls": (bytes.fromhex("16030100a5010000a10303") + bytes(160), 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_request(rig: Rig, name: str) -> None:
    raw, expected = REQUESTS[name]
    proxy, status = watched(rig, rig.backend())
    reply = status.send(raw)
    assert reply.status == expected and reply.is_whole
    assert ("allow" in reply.fields) == (expected == 405)
    assert is_alive(status)


def test_one_request_a_connection(rig: Rig) -> None:
    """What is behind the first is not looked at."""
    proxy, status = watched(rig, rig.backend())
    reply = status.send(ASK * 1000)
    assert (reply.status, reply.body) == (200, b"ok\n")


def test_byte_by_byte(rig: Rig) -> None:
    proxy, status = watched(rig, rig.backend())
    with status.dial() as sock:
        for i in range(len(ASK)):
            sock.sendall(ASK[i : i + 1])
        assert read_reply(sock).status == 200


def test_silent_strangers(rig: Rig) -> None:
    """They take no more than their places, and make room, the oldest first."""
    proxy, status = watched(rig, rig.backend())
    before = count_sockets(proxy.pid)
    strangers = [status.dial() for _ in range(100)]
    try:
        for _ in range(5):
            assert is_alive(status)
        assert count_sockets(proxy.pid) <= before + PLACES
        assert is_over(strangers[0])
        strangers[-1].sendall(ASK)
        assert read_reply(strangers[-1]).status == 200
    finally:
        for sock in strangers:
            reset(sock)


def is_over(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_silence_has_an_end(rig: Rig) -> None:
    """Ten seconds, in which others are served."""
    proxy, status = watched(rig, rig.backend())
    with status.dial() as silent, status.dial() as slow:
        slow.sendall(ASK[:20])
        assert is_over(silent)
        assert is_over(slow)
        assert is_alive(status)


def test_peer_that_resets(rig: Rig) -> None:
    """In the middle of a long answer, in the middle of a request, at once."""
    status, _ = crowd(rig, 200)
    for raw in (b"GET /connections HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n", ASK[:9], b""):
        for _ in range(20):
            sock = status.dial(rcvbuf=2048)
            sock.sendall(raw)
            if raw.endswith(b"\r\n\r\n"):
                assert sock.recv(10)
            reset(sock)
    assert len(status.connections()) == 200
    assert is_alive(status)


@over_both
def test_many_scrapes_under_load(rig: Rig) -> None:
    """Eight that ask all the time: nothing is lost or wrong on either side."""
    backend = rig.backend(script=echo)
    proxy, status = watched(rig, backend)
    data = payload(4 * MIB, 30) * 2
    clients = [rig.client(proxy) for _ in range(4)]
    is_done = threading.Event()
    total = 2 * len(data) * len(clients)

    def scrape(number: int) -> int:
        count, last = 0, 0.0
        while not is_done.is_set():
            if number % 2:
                assert len(status.connections()) <= len(clients)
            else:
                now = status.value("tidegate_bytes_total")
                assert last <= now <= total
                last = now
            count += 1
        return count

    def send(client: WsClient) -> None:
        client.send(data)
        client.fin()

    with ThreadPoolExecutor(12) as pool:
        scrapers = [pool.submit(scrape, i) for i in range(8)]
        for client in clients:
            client.collect_in_background()
        try:
            for sender in [pool.submit(send, client) for client in clients]:
                sender.result()
            for client in clients:
                got = client.wait_collected(60)
                assert (got.close, got.digest) == (1000, sha256(data))
        finally:
            is_done.set()
        assert all(scraper.result() > 0 for scraper in scrapers)
    for _ in clients:
        assert proxy.wait("closed")["cause"] == "ok"
    metrics = status.metrics()
    assert metrics.get("tidegate_bytes_total") == total
    assert metrics.get("tidegate_half_closes_total") == len(clients)
    assert metrics.get("tidegate_truncated_streams_total") == 0
    assert metrics.get("tidegate_buffered_bytes") == 0


def test_second_signal_with_a_long_answer_under_way(rig: Rig) -> None:
    status, _ = crowd(rig, 300, "--drain-timeout", "1h")
    proxy = rig.proxies[0]
    with status.dial(rcvbuf=2048) as sock:
        sock.sendall(b"GET /connections HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(10)
        proxy.signal(signal.SIGTERM)
        proxy.wait("draining")
        proxy.signal(signal.SIGTERM)
        proxy.check_exit(0)
