"""Under a service manager: what it is told, and the sockets that it hands over."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend import answer_at_end, echo
from manager import Manager, handing_over
from proxy import Program
from rig import Rig, over_both
from support import MIB, cpu_seconds, default_binary, dial, open_files, payload, sha256, wait_until
from tunnel import local


@pytest.fixture(params=["path", "abstract"])
def manager(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Manager]:
    path: Path | str = rig.directory / "notify"
    if request.param == "abstract":
        path = f"@tidegate-{os.getpid()}-{rig.directory.name}"
    with Manager(path) as m:
        yield m


def listening(*, path: Path | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    sock.bind(str(path) if path else ("127.0.0.1", 0))
    sock.listen()
    return sock


def name_of(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    return "{}:{}".format(*sock.getsockname())


# ---- what it is told ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_notify_of_serve(rig: Rig, manager: Manager, number: signal.Signals) -> None:
    proxy = rig.proxy(
        rig.backend(), prefix=manager.prefix(), listen=("127.0.0.1:0", "127.0.0.1:0")
    )
    ready = manager.next()
    assert ready == {"READY": "1", "STATUS": "2 listeners, 0 connections"}
    for address in proxy.addresses:
        dial(address).close()
    proxy.signal(signal.SIGHUP)
    reloading = manager.next()
    assert reloading["RELOADING"] == "1"
    assert 0 < int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.next()["READY"] == "1"
    client = rig.client(proxy)
    proxy.signal(number)
    assert manager.next() == {"STOPPING": "1", "STATUS": "draining, 1 connection"}
    assert int(manager.next()["EXTEND_TIMEOUT_USEC"]) > 5_000_000  # there is a next one before that
    client.reset()
    proxy.check_exit(0)


def test_notify_goes_on_in_a_drain(rig: Rig, manager: Manager) -> None:
    proxy = rig.proxy(rig.backend(), "--drain-timeout", "1h", prefix=manager.prefix(WATCHDOG_USEC="100000"))
    rig.client(proxy)
    proxy.signal()
    manager.wait("STOPPING")
    for _ in range(3):
        manager.wait("EXTEND_TIMEOUT_USEC")
        manager.wait("WATCHDOG")
    proxy.signal()
    proxy.check_exit(0)


@over_both
def test_notify_of_tunnel(rig: Rig, manager: Manager) -> None:
    """SIGHUP does no harm where there is nothing to read again."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    command = [default_binary(), "tunnel", *rig.trust(), rig.url(proxy.address)]
    tunnel = Program([*manager.prefix(), *command])
    rig.proxies.append(tunnel)  # type: ignore[arg-type]
    assert manager.next() == {"READY": "1", "STATUS": "1 listener, 0 connections"}
    tunnel.signal(signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    assert manager.next()["READY"] == "1"
    tunnel.signal()
    assert manager.next()["STOPPING"] == "1"
    tunnel.check_exit(0)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_tunnel_on_an_inherited_socket(rig: Rig, kind: str) -> None:
    """Of a unix one it says what it cannot do, as of one of its own."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    path = rig.directory / "local.sock" if kind == "unix" else None
    with listening(path=path) as sock:
        options = handing_over((sock, "local"))
        command = [*options["prefix"], default_binary(), "tunnel", rig.url(proxy.address)]
        tunnel = Program(command, listen=("systemd:local",), pass_fds=options["pass_fds"])
        rig.proxies.append(tunnel)  # type: ignore[arg-type]
        program = local(rig, name_of(sock))
        program.send(b"through")
        program.finish()
        assert program.wait_end() == "eof"
        assert program.count == 7
        tunnel.wait("closed")
        assert bool([r for r in tunnel.records if "unix socket" in r["msg"]]) == (kind == "unix")


def test_watchdog(rig: Rig, manager: Manager) -> None:
    """As long as the loop goes round, and no longer."""
    proxy = rig.proxy(rig.backend(), prefix=manager.prefix(WATCHDOG_USEC="200000"))
    for _ in range(5):
        assert manager.wait("WATCHDOG")["WATCHDOG"] == "1"
    with proxy.held_up():
        manager.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            for _ in range(1000):  # those that had been sent by then
                manager.next()
    manager.sock.settimeout(20)
    manager.wait("WATCHDOG")


def test_status_is_kept_up_to_date(rig: Rig, manager: Manager) -> None:
    """At most each ten seconds."""
    proxy = rig.proxy(rig.backend(), prefix=manager.prefix())
    manager.wait("READY")
    clients = [rig.client(proxy) for _ in range(3)]
    assert manager.next() == {"STATUS": "1 listener, 3 connections"}
    for client in clients:
        client.reset()


def test_a_manager_that_is_gone(rig: Rig, manager: Manager) -> None:
    """Harms nothing; one record says so."""
    manager.sock.close()
    backend = rig.backend("tcp", answer_at_end(b"yes"))
    proxy = rig.proxy(backend, prefix=manager.prefix(WATCHDOG_USEC="20000"))
    assert proxy.wait("the service manager cannot be told")["level"] == "warn"
    client = rig.client(proxy)
    client.fin()
    assert client.collect().close == 1000
    proxy.finish()
    assert len(proxy.find("the service manager cannot be told")) == 1


# ---- sockets that it hands over ----


def test_sockets_of_one_name(rig: Rig) -> None:
    """All of them; others are closed, and told of. Socket files stay."""
    path = rig.directory / "front.sock"
    backend = rig.backend("tcp", echo)
    with listening() as first, listening(path=path) as second, listening() as other:
        proxy = rig.proxy(
            backend, listen=("systemd:web",), **handing_over((first, "web"), (other, "other"), (second, "web"))
        )
        assert proxy.address == f"{name_of(first)} {name_of(second)}"
        record = proxy.wait("inherited socket is not listened on: closed")
        assert (record["level"], record["fd"], record["name"]) == ("warn", 4, "other")
        for sock in (first, second):
            client = rig.client(name_of(sock))
            client.send(b"through")
            client.read_data(7)
            client.fin()
            assert client.collect().close == 1000
        proxy.finish()
    assert path.exists()


def test_sockets_beside_our_own(rig: Rig) -> None:
    with listening() as sock:
        proxy = rig.proxy(rig.backend("tcp", echo), listen=("127.0.0.1:0", "systemd:web"), **handing_over((sock, "web")))
        for address in proxy.addresses:
            client = rig.client(address)
            client.fin()
            assert client.collect().close == 1000


def test_status_on_a_socket_too(rig: Rig) -> None:
    with listening() as web, listening() as status:
        proxy = rig.proxy(
            rig.backend(), "--status", "systemd:status", listen=("systemd:web",),
            **handing_over((status, "status"), (web, "web")),
        )  # fmt: skip
        assert proxy.address == name_of(web)
        assert proxy.wait("status")["address"] == name_of(status)
        with dial(name_of(status)) as sock:
            sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def start(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """With sockets, as one that is to fail."""
    prefix = options.pop("prefix", ())
    command = [*prefix, default_binary(), "serve", "--backend", "127.0.0.1:9", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, **options)


def test_no_such_socket(rig: Rig) -> None:
    with listening() as sock:
        result = start("--listen", "systemd:web", **handing_over((sock, "http"), (sock, "status"), (sock, "http")))
    assert result.returncode == 71
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("tidegate: serve: systemd:web: no socket of that name was handed over")
    assert "(there are: http, status; " in result.stderr
    result = start("--listen", "systemd:web")
    assert result.returncode == 71 and result.stderr.count("\n") == 1
    assert "systemd:web: no socket was handed over" in result.stderr


def test_sockets_of_the_wrong_kind(rig: Rig) -> None:
    with socket.socket() as bound, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        bound.bind(("127.0.0.1", 0))
        datagram.bind(("127.0.0.1", 0))
        for sock in (bound, datagram):
            result = start("--listen", "systemd:web", **handing_over((sock, "web")))
            assert result.returncode == 71 and result.stderr.count("\n") == 1
            assert "systemd:web: not a listening TCP or unix stream socket" in result.stderr


def test_sockets_meant_for_somebody_else(rig: Rig) -> None:
    """LISTEN_PID is another process': what is open at 3 is not touched."""
    with listening() as sock:
        result = start(
            "--listen", "systemd:web",
            prefix=("env", "LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=web"), pass_fds=(sock.fileno(),),
        )  # fmt: skip
    assert result.returncode == 71
    assert "no socket was handed over" in result.stderr


def test_inherited_sockets_are_judged_by_where_they_are(rig: Rig) -> None:
    """Beyond loopback without anything that guards it: only if that is meant."""
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        sock.listen()
        result = start("--listen", "systemd:web", **handing_over((sock, "web")))
        assert result.returncode == 78 and "--allow-anyone" in result.stderr
        options = handing_over((sock, "web"))
        rig.proxy(rig.backend(), "--allow-anyone", listen=("systemd:web",), **options)


def test_restart_without_loss(rig: Rig) -> None:
    """The first drains, the second starts, and who comes in between waits in the socket's queue. What is
    open at the first goes on to its end."""
    reply = payload(MIB, 40)
    backend = rig.backend("tcp", answer_at_end(reply))
    with listening() as sock:
        address = name_of(sock)
        first = rig.proxy(
            backend, "--drain-timeout", "1h", listen=("systemd:web",), **handing_over((sock, "web"))
        )
        old = rig.client(address)
        inode = f"socket:[{os.fstat(sock.fileno()).st_ino}]"
        first.signal()
        wait_until(lambda: inode not in open_files(first.pid), "the first still listens")
        waiting = [rig.dial(address, "extension") for _ in range(5)]
        used = cpu_seconds(first.pid)
        second = rig.proxy(backend, listen=("systemd:web",), **handing_over((sock, "web")))
        for client in waiting:
            client.handshake()
            client.fin()
            got = client.collect()
            assert (got.close, got.digest) == (1000, sha256(reply))
            client.sock.close()
        assert len({second.wait_closed()["conn"] for _ in waiting}) == 5
        assert cpu_seconds(first.pid) - used < 1  # what waits there is no concern of the first
        old.fin()
        got = old.collect()
        assert (got.close, got.digest) == (1000, sha256(reply))
        old.sock.close()
        first.check_exit(0)
        second.finish()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="no systemd-socket-activate")
def test_by_systemd_itself(rig: Rig) -> None:
    """systemd's own tool for trying out socket activation: it starts us at the first connection."""
    backend = rig.backend("tcp", answer_at_end(b"by systemd"))
    path = rig.directory / "activated.sock"
    process = subprocess.Popen(
        ["systemd-socket-activate", f"--listen={path}", "--fdname=web", *passed_on(), default_binary(),
         "serve", "--listen", "systemd:web", "--backend", backend.address],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(path.exists, "the socket")
        wait_until(lambda: is_served(rig, f"unix:{path}"), "a connection")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert path.exists()
    finally:
        process.kill()
        process.wait()


def passed_on() -> list[str]:
    return [f"--setenv={name}" for name in os.environ if name.endswith("SAN_OPTIONS")]


def is_served(rig: Rig, address: str) -> bool:
    try:
        client = rig.client(address)
    except ConnectionRefusedError:  # bound, and not listening yet
        return False
    client.fin()
    return client.collect().close == 1000


# ---- as it runs there ----


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_93_without_any_right(rig: Rig, tmp_path: Path) -> None:
    """Any user, no capability, no new ones, and nothing that can be written to."""
    confined = (
        "unshare", "--mount", "sh", "-c",
        "mount --make-rprivate / && for at in $(findmnt -rno TARGET | grep -v '^/proc\\|^/sys'); do "
        "mount -o remount,bind,ro \"$at\" 2>/dev/null || :; done; "
        "exec setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set -all --inh-caps -all "
        "--no-new-privs \"$@\"", "sh",
    )  # fmt: skip
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mounts of one's own here (in a chroot there are none)")
    probe = subprocess.run([*confined, "sh", "-c", f"touch {tmp_path}/x || touch /tmp/x"], check=False, stderr=subprocess.DEVNULL)
    if probe.returncode == 0:
        pytest.skip("file systems cannot be made read-only here")
    if subprocess.run([*confined, default_binary(), "version"], check=False, capture_output=True).returncode != 0:
        pytest.skip("the program lies where another user cannot get at it")
    proxy = rig.proxy(rig.backend("tcp", answer_at_end(b"unprivileged")), prefix=confined)
    status = Path(f"/proc/{proxy.pid}/status").read_text()
    assert "Uid:\t65532\t65532" in status and "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    client = rig.client(proxy)
    client.fin()
    got = client.collect()
    assert (got.close, got.count) == (1000, len(b"unprivileged"))
