"""Checklist 58, 60, 61: descriptors run out, connections come and go by the thousand, backends flap."""

from __future__ import annotations

import resource
import socket
import threading
import time

import pytest
from backend import answer_at_end, echo
from proxy import Proxy
from rig import Rig, one_worker
from support import KIB, cpu_seconds, dial, is_sanitized, reset, resident_bytes, wait_until
from wsclient import CARRIERS, WsClient, open_ws, request

LIMIT = 64  # descriptors
ROOM = 24  # connections that these allow: 16 are kept for other things


@one_worker
def test_58_out_of_descriptors(rig: Rig) -> None:
    """100 connections at 64 descriptors: alive, not spinning, not chatty, and well again afterwards."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, prefix=("prlimit", f"--nofile={LIMIT}:{LIMIT}"))
    held = [rig.dial(proxy) for _ in range(100)]
    for client in held:
        client.sock.sendall(request())
    used, lines = cpu_seconds(proxy.pid), len(proxy.lines)
    time.sleep(1.5)  # the subject of the test: what it does in the meantime
    used = cpu_seconds(proxy.pid) - used
    assert used < 0.05 * 1.5, f"{used} s of CPU in 1.5 s"
    assert len(proxy.lines) - lines <= 100 + 10, "log records are rate-limited"
    assert proxy.process.poll() is None
    assert {client.read_response().status for client in held[:ROOM]} == {101}
    assert held[ROOM].read_response().status == 503
    assert not proxy.find("cannot accept"), "those who are turned away use spare descriptors only"
    for client in held:
        client.reset()
    # those who were still waiting in the kernel are accepted now, and found gone
    wait_until(lambda: is_served(proxy), "room again")
    proxy.wait_idle()
    good = rig.client(proxy, "extension")
    good.send(b"well again")
    assert good.expect("data").data == b"well again"


def is_served(proxy: Proxy) -> bool:
    client = WsClient(dial(proxy.address))
    client.sock.sendall(request())
    status = client.read_response().status
    client.reset()
    return status == 101


def test_58_accept_fails(rig: Rig) -> None:
    """The limit is lowered under a running proxy, so that accept itself says EMFILE."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend)
    holder = rig.client(proxy, "extension")
    limits = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (8, limits[1]))
    waiting = rig.dial(proxy, "extension")
    waiting.sock.sendall(request("extension"))
    warning = proxy.wait("cannot accept")
    assert warning["level"] == "warn" and "open files" in warning["error"]
    used, lines = cpu_seconds(proxy.pid), len(proxy.lines)
    holder.send(b"others go on")
    holder.read_data(12)
    time.sleep(1.2)  # the subject of the test
    assert cpu_seconds(proxy.pid) - used < 0.3
    assert len(proxy.lines) - lines <= 3
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, limits)
    waiting.handshake(b"")
    waiting.send(b"recovered")
    waiting.read_data(9)


def churn(proxy: Proxy, count: int, failures: list[BaseException], seed: int) -> None:
    """Short connections of every kind: clean, reset, refused, closed, lost."""
    try:
        for i in range(count):
            kind = (i + seed) % 5
            if kind == 3:
                sock = dial(proxy.address)
                sock.sendall(b"nonsense\r\n\r\n")
                sock.recv(100)
                reset(sock)
                continue
            client = open_ws(proxy.address, CARRIERS[i % 3])
            if kind == 0 and client.carrier != "plain":
                client.fin()
                assert client.collect().close == 1000
            elif kind == 1:
                client.send(b"x")
            elif kind == 2:
                client.close_frame(1001)
                client.collect()
            elif kind == 4:
                client.shutdown()
                client.collect()
            client.reset()
    except BaseException as failure:
        failures.append(failure)


def test_60_churn(rig: Rig) -> None:
    """2,000 short connections; descriptors back to where they were, memory too."""
    backend = rig.backend("tcp", answer_at_end(b"ok"))
    proxy = rig.proxy(backend)
    failures: list[BaseException] = []
    churn(proxy, 200, failures, 0)
    proxy.wait_idle()
    before = resident_bytes(proxy.pid)
    threads = [threading.Thread(target=churn, args=(proxy, 450, failures, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    proxy.wait_idle()
    if not is_sanitized():
        grown = resident_bytes(proxy.pid) - before
        assert grown < 512 * KIB, f"{grown // KIB} KiB more after 1,800 connections"
    count = len(proxy.find("closed")) + len(proxy.find("refused"))
    wait_until(lambda: len(proxy.find("closed")) + len(proxy.find("refused")) == 2000, f"{count}")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_61_backend_flaps(rig: Rig, carrier: str) -> None:
    """Down, then accept-and-reset, then up: each client meets the state of its moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        proxy = rig.proxy(address)
        for _ in range(5):
            expect_unreachable(rig, proxy, carrier)
        sock.listen(8)
        for _ in range(5):
            client = rig.client(proxy, carrier)
            taken, _ = sock.accept()
            reset(taken)
            assert client.expect("close").number == 4000
            assert proxy.wait_closed(client.name)["cause"] == "reset"
        client = rig.client(proxy, carrier)
        taken, _ = sock.accept()
        taken.sendall(b"back")
        client.read_data(4)
        client.reset()
        taken.close()
    expect_unreachable(rig, proxy, carrier)


def expect_unreachable(rig: Rig, proxy: Proxy, carrier: str) -> None:
    client: WsClient = rig.dial(proxy, carrier)
    if carrier == "subprotocol":
        client.handshake()
        assert client.expect("close").number == 4003
    else:
        client.sock.sendall(request(carrier))
        assert client.read_response().status == 502
