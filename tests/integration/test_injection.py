"""Checklist 55 and 58: system calls of the running program fail, as they do on a bad day."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import IO

import pytest
from backend import answer_at_end, echo
from injection import inject
from rig import Rig, one_worker, over_both, over_ws
from support import MIB, PATIENCE, cpu_seconds, default_binary, open_files, payload, sha256
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, request

pytestmark = [over_both, one_worker]

UP, DOWN = payload(2 * MIB, 70), payload(3 * MIB, 71)
CALLS = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg"
LOOK = 1.2  # seconds of accept failing all the time


@over_ws
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_58_accept_fails_for_a_while(rig: Rig, error: str) -> None:
    """No spinning, a line a second, open connections go on; nobody who waited is lost."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    holder = rig.client(proxy)
    with inject(proxy.pid, rig.directory, "accept4", f"error={error}") as injection:
        waiting = [rig.dial(proxy, "extension") for _ in range(20)]
        assert proxy.wait("cannot accept")["level"] == "warn"
        used, lines = cpu_seconds(proxy.pid), len(proxy.lines)
        time.sleep(LOOK)  # the subject of the test
        used = cpu_seconds(proxy.pid) - used
        holder.send(b"others go on")
        holder.read_data(12)
        assert used < 0.05 * LOOK, f"{used} s of CPU in {LOOK} s"
        assert len(proxy.lines) - lines <= 3, proxy.lines[lines:]
    assert 5 <= injection.count() <= 40, "tries again, but not all the time"
    for client in waiting:
        client.handshake()
        client.send(b"served after all")
    for client in waiting:
        client.read_data(16)
    assert len(proxy.lines) - lines <= 3, proxy.lines[lines:]


@over_ws
@pytest.mark.parametrize("error", ["EMFILE", "ENOBUFS"])
def test_58_accept_fails_three_times(rig: Rig, error: str) -> None:
    """It needs no other event than time to come back."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    with inject(proxy.pid, rig.directory, "accept4", f"error={error}:when=1..3") as injection:
        client = rig.client(proxy)
        client.send(b"at the fourth")
        client.read_data(13)
    assert injection.count() == 3


@over_ws
@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "EINTR"])
def test_58_accept_meets_lost_connections(rig: Rig, error: str) -> None:
    """An error of one connection is not one of the listener: no pause, no warning."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    started = time.monotonic()
    with inject(proxy.pid, rig.directory, "accept4", f"error={error}:when=1..200") as injection:
        clients = [rig.client(proxy) for _ in range(5)]
        for client in clients:
            client.send(b"next")
            client.read_data(4)
    assert injection.count() == 200
    assert time.monotonic() - started < 5
    assert not proxy.find("cannot accept")


@over_ws
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_58_no_socket_for_the_backend(rig: Rig, error: str, carrier: str) -> None:
    """That is ours, not the backend's: come again later, on every carrier; the next one gets through, and
    the backend is not held to have failed."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    with inject(proxy.pid, rig.directory, "socket", f"error={error}:when=1") as injection:
        client = rig.dial(proxy, carrier)
        client.sock.sendall(request(carrier))
        response = client.read_response()
        assert response.status == 503 and int(response.get("Retry-After") or 0) > 0
        record = proxy.wait_refused(client.name)
        assert (record["cause"], record["at"]) == ("no-memory", "backend")
        assert record["detail"] == ("out of descriptors" if error.endswith("FILE") else "out of memory")
        again = rig.client(proxy, carrier)
        again.send(b"through")
        again.read_data(7)
    assert injection.count() == 1
    assert not proxy.find("backend failed")


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("error", ["EAGAIN", "EINTR"])
@pytest.mark.parametrize("when", ["1+2", "2+3"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_55_calls_fail_in_between(rig: Rig, kind: str, when: str, error: str, carrier: str) -> None:
    """Every second or third read and write fails: the same bytes arrive, and the ends behind them."""
    backend = rig.backend(kind, rcvbuf=16384 if kind == "tcp" else None)
    proxy = rig.proxy(backend)
    client, connection = rig.pair(proxy, backend, carrier, rcvbuf=16384)
    sockets = [name for name in open_files(proxy.pid) if name.startswith("socket:")]
    with inject(proxy.pid, rig.directory, CALLS, f"error={error}:when={when}", sockets) as injection:
        connection.read_in_background()
        connection.send_in_background(DOWN, then=connection.finish)
        client.collect_in_background()
        client.send(UP)
        client.fin()
        assert connection.wait_end() == "eof"
        got = client.wait_collected()
    assert (connection.count, connection.digest) == (len(UP), sha256(UP))
    assert (got.count, got.digest, got.fin) == (len(DOWN), sha256(DOWN), len(DOWN))
    assert (got.close, got.end) == (1000, "eof")
    assert injection.count("read") > 10 and injection.count("writev?") > 10
    record = proxy.wait_closed()
    assert (record["cause"], record["bytes_to_backend"]) == ("ok", len(UP))


def test_55_backend_queue_is_full_for_a_moment(rig: Rig) -> None:
    """A unix backend says EAGAIN then, and nothing tells when that is over."""
    backend = rig.backend("unix", answer_at_end(DOWN))
    proxy = rig.proxy(backend)
    with inject(proxy.pid, rig.directory, "connect", "error=EAGAIN:when=1..3") as injection:
        client = rig.client(proxy)
        client.send(UP)
        client.fin()
        assert client.collect().digest == sha256(DOWN)
    assert injection.count() == 3


@pytest.mark.parametrize("error", ["EAGAIN", "EINTR"])
def test_55_stdio_calls_fail_in_between(rig: Rig, error: str) -> None:
    """The same for the pipes of `stdio`."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    command = [default_binary(), "stdio", *rig.trust(), rig.url(proxy.address)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        send_all(process.stdin, b"connected")
        assert process.stdout.read(9) == b"connected"
        names = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1)]
        names += [name for name in open_files(process.pid) if name.startswith("socket:")]
        with inject(process.pid, rig.directory, CALLS, f"error={error}:when=1+2", names) as injection:
            writer = threading.Thread(target=send_all, args=(process.stdin, UP), daemon=True)
            writer.start()
            back = process.stdout.read(len(UP))
            writer.join(PATIENCE)
        process.stdin.close()
        assert process.stdout.read() == b"" and process.wait(PATIENCE) == 0
    assert sha256(back) == sha256(UP)
    assert injection.count("read") > 10 and injection.count("writev?") > 10
    assert proxy.wait_closed()["cause"] == "ok"


def send_all(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(data)
    pipe.flush()
