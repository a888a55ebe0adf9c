"""Checklist 66, 68, 69: signals, draining, bad starts, unix listeners; and what the command line refuses."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time

import pytest
from backend import answer_at_end
from proxy import Proxy
from rig import Rig, one_worker, over_both, over_ws
from support import MIB, default_binary, dial, payload, sha256, wait_until
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, request

pytestmark = over_both


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [default_binary(), *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def is_refused(address: str) -> bool:
    try:
        dial(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue of a listener that has just been closed
        return False
    return False


# ---- SIGTERM ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_66_stops_when_idle(rig: Rig, number: signal.Signals) -> None:
    proxy = rig.proxy(rig.backend())
    proxy.signal(number)
    proxy.check_stopped()
    assert proxy.find("draining")[0]["connections"] == 0


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_66_drains(rig: Rig, carrier: str) -> None:
    """No new connections; the open one goes on to its good end; exit long before the deadline."""
    reply = payload(3 * MIB, 30)
    backend = rig.backend("tcp", answer_at_end(reply))
    proxy = rig.proxy(backend)
    client = rig.client(proxy, carrier)
    client.send(b"before, ")
    proxy.signal()
    assert proxy.wait("draining")["connections"] == 1
    wait_until(lambda: is_refused(proxy.address), "it still listens")
    client.send(b"after")
    client.fin()
    got = client.collect()
    assert (got.close, got.digest) == (1000, sha256(reply))
    client.sock.close()
    proxy.check_stopped()
    assert proxy.find("closed")[0]["cause"] == "ok"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_66_drain_deadline(rig: Rig, carrier: str) -> None:
    """What is still open gets Close 1001, its backend a reset."""
    backend = rig.backend()
    proxy = rig.proxy(backend, "--drain-timeout", "300ms")
    client, connection = rig.pair(proxy, backend, carrier)
    started = time.monotonic()
    proxy.signal()
    assert client.expect("close").number == 1001
    assert time.monotonic() - started > 0.2
    assert connection.wait_end() == "reset"
    client.collect()
    client.sock.close()
    proxy.check_stopped()
    record = proxy.find("closed")[0]
    assert (record["cause"], record["at"]) == ("shutdown", "proxy")


def test_66_second_signal_ends_at_once(rig: Rig) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, "--drain-timeout", "1h")
    client, connection = rig.pair(proxy, backend)
    proxy.signal()
    proxy.wait("draining")
    proxy.signal()
    started = time.monotonic()
    assert client.expect("close").number == 1001
    proxy.check_stopped()
    assert time.monotonic() - started < 5
    assert connection.wait_end() == "reset"


@one_worker  # which has read what came first
def test_66_drain_refuses_who_is_still_shaking_hands(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend())
    client = rig.dial(proxy)
    client.sock.sendall(request()[:20])
    rig.client(proxy).reset()  # both have been accepted when this one has
    proxy.wait("closed")
    proxy.signal()
    response = client.read_response()
    assert response.status == 503 and response.get("Retry-After")
    client.read_rest()
    client.sock.close()
    proxy.check_stopped()


def test_66_drain_while_connecting(rig: Rig, deaf_tcp_address: str) -> None:
    proxy = rig.proxy(deaf_tcp_address, "--connect-timeout", "1h")
    client = rig.dial(proxy)
    client.sock.sendall(request())
    time.sleep(0.1)  # on its way to the backend, most likely; the answer is the same if not
    proxy.signal()
    assert client.read_response().status == 503
    client.sock.close()
    proxy.check_stopped()


@pytest.mark.parametrize("stalled", ["client", "backend"])
@pytest.mark.parametrize("signals", [1, 2])
def test_69_exit_during_a_flush(rig: Rig, stalled: str, signals: int) -> None:
    """Megabytes are queued for somebody who does not read. No leak, no crash, no hanging."""
    backend = rig.backend(rcvbuf=65536)
    proxy = rig.proxy(backend, "--drain-timeout", "200ms")
    client, connection = rig.pair(proxy, backend)
    data = payload(MIB, 31) * 60
    if stalled == "client":
        connection.send_in_background(data, then=connection.finish)
        client.read_data(MIB)
    else:
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.send(data)
    proxy.signal()
    proxy.wait("draining")
    if signals == 2:
        proxy.signal()
    started = time.monotonic()
    proxy.check_stopped()
    assert time.monotonic() - started < 5
    assert proxy.find("closed")[0]["cause"] == "shutdown"


def test_69_exit_right_after_start(rig: Rig) -> None:
    """"listening" means ready: a signal from then on is handled."""
    for _ in range(5):
        proxy = Proxy(rig.backend().address)
        proxy.signal()
        proxy.check_stopped()


# ---- starting badly ----


def test_68_port_in_use() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        result = run("serve", "--listen", address, "--backend", "127.0.0.1:9")
    assert result.returncode == 71
    assert result.stderr.count("\n") == 1 and address in result.stderr
    assert result.stderr.startswith("tidegate: serve: ")
    assert result.stdout == ""


@over_ws
@pytest.mark.parametrize(
    ("limit", "flags", "words"),
    [
        (17, ("--workers=1",), "1 connection needs 18;"),
        (63, ("--workers=1", "--max-connections=24"), "24 connections need 64;"),
        (78, ("--workers=1", "--max-connections", "30"), "30 connections need 79;"),
        (254, ("--workers=1", "--max-connections", "96"), "96 connections need 255;"),
        (73, ("--workers=3", "--max-connections=24"), "24 connections need 74;"),
    ],
)
def test_68_too_few_descriptors(rig: Rig, limit: int, flags: tuple[str, ...], words: str) -> None:
    """The least limit is named, and it is enough."""
    result = subprocess.run(
        ["prlimit", f"--nofile={limit}:{limit}", default_binary(), "serve", "--listen", ":0", "--backend", ":9", *flags],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert result.returncode == 71
    assert result.stderr.count("\n") == 1 and words in result.stderr and "ulimit" in result.stderr
    assert f"limit of {limit} " in result.stderr
    rig.proxy(":9", *flags, prefix=("prlimit", f"--nofile={limit + 1}:{limit + 1}"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve"], ["--listen"]),
        (["serve", "--listen", ":0"], ["--backend"]),
        (["serve", "--listen", ":0", "--backend", ":9", "--pingg", "3s"], ["--pingg", "--ping-"]),
        (["serve", "--listen", ":0", "--backend", ":9", "--ping-interval", "3"], ["--ping-interval"]),
        (["serve", "--listen", ":0", "--backend", ":9", "--ping-interval"], ["--ping-interval"]),
        (["serve", "--listen", ":0", "--backend", ":99999"], ["--backend", ":99999"]),
        (["serve", "--listen", "here", "--backend", ":9"], ["--listen", "here"]),
        (["serve", "--listen", ":0", "--backend", ":9", "--log-format", "xml"], ["--log-format", "xml"]),
        (["serve", "--listen", ":0", "--backend", ":9", "--max-connections", "-1"], ["--max-connections"]),
        (["serve", "--listen", ":0", "--backend", ":9", "extra"], ["extra"]),
        (["swerve"], ["swerve", "serve"]),
        ([], []),
    ],
    ids=str,
)
def test_68_usage_errors(arguments: list[str], words: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 64
    assert result.stdout == ""
    if arguments:
        assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


def test_68_help_and_version() -> None:
    assert run("--version").stdout.startswith("tidegate ")
    for arguments in (["--help"], ["serve", "--help"], ["demo", "--help"]):
        result = run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert "tidegate" in result.stdout
    text = run("serve", "--help").stdout
    for flag in ("--listen", "--backend", "--half-closed-timeout", "--drain-timeout", "--linger"):
        assert flag in text


@over_ws
def test_68_flag_with_equals_sign(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend(), "--idle-timeout=300ms")
    assert rig.client(proxy).expect("close").number == 4005


def test_68_sigpipe_is_ignored(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend())
    proxy.signal(signal.SIGPIPE)
    rig.client(proxy)


# ---- listeners ----


def test_several_listeners(rig: Rig) -> None:
    backend = rig.backend()
    path = f"unix:{rig.directory}/front.sock"
    proxy = rig.proxy(backend, listen=("127.0.0.1:0", path, "127.0.0.1:0"))
    assert len(set(proxy.addresses)) == 3 and proxy.addresses[1] == path
    for address in proxy.addresses:
        client = rig.client(address)
        connection = backend.accept()
        client.send(b"hello")
        client.fin()
        assert connection.wait_end() == "eof"
        connection.send(b"bye")
        connection.finish()
        assert client.collect().order == ["data", "fin", "close", "eof"]
        proxy.wait_closed(client.name)


def test_ipv6_listener(rig: Rig) -> None:
    try:
        proxy = rig.proxy(rig.backend(), listen=("[::1]:0",))
    except AssertionError as error:
        if "Cannot assign" in str(error) or "not supported" in str(error):
            pytest.skip("this machine has no IPv6 loopback")
        raise
    assert proxy.address.startswith("[::1]:")
    client = rig.client(proxy)
    client.reset()
    assert proxy.wait("closed")["client"].startswith("[::1]:")


def test_68_stale_unix_socket_is_replaced_and_a_live_one_refused(rig: Rig) -> None:
    path = rig.directory / "front.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=(f"unix:{path}",))
    rig.client(f"unix:{path}").drop()
    result = run("serve", "--listen", f"unix:{path}", "--backend", ":9")
    assert result.returncode == 71 and str(path) in result.stderr
    rig.client(f"unix:{path}").drop()
    proxy.wait_idle()
    proxy.signal()
    proxy.check_stopped()
    assert not path.exists(), "its socket file goes with it"


@over_ws
def test_68_a_file_that_is_no_socket_is_left_alone(rig: Rig) -> None:
    path = rig.directory / "precious.txt"
    path.write_text("do not touch")
    result = run("serve", "--listen", f"unix:{path}", "--backend", ":9")
    assert result.returncode == 71 and str(path) in result.stderr
    assert stat.S_ISREG(os.stat(path).st_mode) and path.read_text() == "do not touch"
