"""The configuration file: what is told of it, who wins, and reading it again."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend import answer_at_end, echo
from certificates import certificates
from config import run, serve, write
from proxy import Program
from rig import Rig
from support import dial, payload, sha256
from tls import TlsSocket, client_context
from wsclient import WsClient, request

ROOT = Path(__file__).resolve().parent.parent.parent


def file_with(rig: Rig, text: str) -> str:
    path = rig.directory / "tidegate.yaml"
    path.write_text(text)
    return str(path)


# ---- what is wrong ----


def test_check_tells_where(rig: Rig) -> None:
    path = file_with(rig, "listen: 127.0.0.1:1\nbackend: 127.0.0.1:2\nidle-timout: 3s\n")
    result = run("check", "--config", path)
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr == (
        f"tidegate: check: {path}:3:1: idle-timout: unknown key (did you mean idle-timeout?)\n"
    )


@pytest.mark.parametrize("subcommand", ["check", "serve"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen: :1\nbackend: :2\nlinger: soon\n", ":3:9: linger: "),
        ("listen: :1\nbackend: :2\ntls-cert: /nowhere\ntls-key: /nowhere\n", "/nowhere: cannot be read"),
        ("listen: :1\nbackend: :2\ntokens: /nowhere\n", ":3: tokens: /nowhere"),
        ("listen: :1\nbackend: :2\ntokens: /dev/null\n", ":3: tokens: "),
        (
            "listen: :1\nbackend: :2\nroutes:\n  - name: a\n  - name: b\n    path: /b\n    tokens: /nowhere\n",
            ":7: tokens: /nowhere",
        ),
        ("listen: :1\nroutes:\n  - name: a\n    backend: tls://x:1\n    backend-ca: /nowhere\n", ":4: backend: "),
        ("listen: :1\n", "--backend ADDR: missing"),
        ("backend: :1\n", "--listen ADDR: missing"),
        ("listen: :1\nbackend: :2\nallow-from: 10.0.0.1/8\n", ":3:13: allow-from: "),
        ("listen: :1\nbackend: :2\nallow-origin: [https://a/]\n", ":3:16: allow-origin: "),
        ("listen: :1\nbackend: :2\ntarget: 'x'\n", ":3:9: target: "),
        ("listen: :1\nbackend: :2\nallow-client-name: DNS:a\n", "needs --client-ca"),
        ("listen: 0.0.0.0:1\nbackend: :2\n", "--allow-anyone"),
    ],
)
def test_what_is_wrong_is_78(rig: Rig, subcommand: str, text: str, says: str) -> None:
    result = run(subcommand, "--config", file_with(rig, text))
    assert (result.returncode, result.stdout) == (78, "")
    assert says in result.stderr, result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_not_there_is_66() -> None:
    result = run("check", "--config", "/nowhere/tidegate.yaml")
    assert (result.returncode, result.stdout) == (66, "")
    assert "/nowhere/tidegate.yaml: cannot be read" in result.stderr


def test_check_without_a_file() -> None:
    result = run("check", "--listen", ":1", "--backend", ":2")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok, 1 route\n", "")
    assert run("check", "--listen", ":1").returncode == 64


# ---- who may come in unasked ----


@pytest.mark.parametrize("where", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "gate.test:1", "[::ffff:1.2.3.4]:1"])
def test_open_to_all_must_be_meant(rig: Rig, where: str) -> None:
    flags = ("check", "--listen", where, "--backend", ":2")
    result = run(*flags)
    assert result.returncode == 78
    assert where in result.stderr and "--allow-anyone" in result.stderr
    tokens = rig.directory / "tokens"
    tokens.write_text(f"a {'0' * 64}\n")
    for guard in (["--allow-anyone"], ["--tokens", str(tokens)], certificates().serve_flags()):
        assert run(*flags, *guard).returncode == 0, guard


@pytest.mark.parametrize("where", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", ":1", "localhost:1", "unix:/x"])
def test_this_machine_is_no_question(where: str) -> None:
    assert run("check", "--listen", where, "--backend", ":2").returncode == 0


def test_one_route_without_a_token_is_enough(rig: Rig) -> None:
    tokens = rig.directory / "tokens"
    tokens.write_text(f"a {'0' * 64}\n")
    routes: list[dict[str, Any]] = [{"name": "a", "path": "/a", "tokens": str(tokens)}, {"name": "b"}]
    path = write(rig, {"listen": "0.0.0.0:1", "backend": ":2", "routes": routes})
    result = run("check", "--config", str(path))
    assert (result.returncode, '"b"' in result.stderr) == (78, True)
    routes[1]["tokens"] = str(tokens)
    result = run("check", "--config", str(write(rig, {"listen": "0.0.0.0:1", "backend": ":2", "routes": routes})))
    assert (result.returncode, result.stdout) == (0, f"{path}: ok, 2 routes\n")


# ---- what is printed ----


def values(printed: str) -> list[str]:
    """Without comments, which say the origin."""
    return [re.sub(r"  # .*", "", line) for line in printed.splitlines() if not line.startswith("#")]


def test_print_config_is_a_configuration(rig: Rig) -> None:
    path = write(
        rig,
        {
            "listen": ["127.0.0.1:1", "[::1]:2"],
            "backend": [":3", "tls://h:4"],
            "idle-timeout": "90s",
            "tls-cert": "a 'b' \"c\" # d.pem",
            "tls-key": "e: f\\g.pem",
            "routes": [
                {"name": "a", "host": "*.example.org", "path": "/x/*", "allow-origin": ["https://a", "*"]},
                {"name": "b", "target": ["h:1,2-3", "10.0.0.0/8:*"], "plain": "refuse", "backend": []},
            ],
        },
    )
    environment = {**os.environ, "TIDEGATE_LINGER": "3s", "TIDEGATE_CONFIG": str(path)}
    for subcommand in ("serve", "check"):
        once = run(subcommand, "--ping-interval", "7s", "--print-config", env=environment)
        assert (once.returncode, once.stderr) == (0, "")
    for line in (
        "linger: 3s  # environment TIDEGATE_LINGER",
        "ping-interval: 7s  # flag --ping-interval",
        f"idle-timeout: 90s  # {path}:3",
        "# half-closed-timeout: 1h  # default",
        "# tokens:  not set",
    ):
        assert line in once.stdout.splitlines(), once.stdout
    path.write_text(once.stdout)
    twice = run("serve", "--config", str(path), "--print-config")
    assert (twice.returncode, twice.stderr) == (0, "")
    assert values(twice.stdout) == values(once.stdout)
    assert "linger: 3s" in values(twice.stdout)


# ---- the documents ----


def test_every_key_is_documented() -> None:
    """docs/config.md has one row for each flag of serve: name, where it can stand, default."""
    printed = run("serve", "--listen", ":1", "--backend", ":1", "--print-config").stdout
    keys = {re.sub(r"^# ", "", line).split(":")[0] for line in printed.splitlines()}
    defaults = dict(re.findall(r"^# ([a-z-]+): (.*)  # default$", printed, re.MULTILINE))
    rows = re.findall(
        r"^\| `([a-z-]+)` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", (ROOT / "docs/config.md").read_text(), re.MULTILINE
    )
    assert {name for name, *_ in rows} == keys
    assert len(rows) == len(keys)
    for name, value, default, scope in rows:
        assert default.strip().strip("`") == defaults.get(name, ""), name
        text = f"routes:\n  - name: a\n    {name}: {{}}\n"
        assert value.strip() and scope.strip() in ("route", "top", "start"), name
        result = run("check", "--config", "/dev/stdin", input=text)
        assert ("takes a value, not keys" in result.stderr) == (scope.strip() == "route"), name
        assert ("cannot be set for one route" in result.stderr) == (scope.strip() != "route"), name


# ---- reading it again ----


HALF_CLOSED = 510


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of as many connections, in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_closed(rig: Rig, proxy: Program, path: str) -> WsClient:
    """Has said all it had to say, and waits for the answer."""
    client = rig.dial(proxy.address, "extension")
    client.sock.sendall(request("extension", target=path))
    assert client.read_response().status == 101
    client.send(b"question")
    client.fin()
    return client


@pytest.mark.usefixtures("many_files")
def test_20_routes_reloaded_under_half_closed_connections(rig: Rig) -> None:
    """Three kinds of access and two listeners in one file. What is open goes on as it began, with the
    timers, the backend and the route that it had; what comes has the new ones."""
    reply = payload(20000, 67)
    backends = [rig.backend() for _ in range(4)]
    fresh = rig.backend("tcp", answer_at_end(reply))
    tokens = rig.directory / "tokens"
    tokens.write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")

    def routes(where: list[str]) -> list[dict[str, Any]]:
        access: list[dict[str, Any]] = [
            {"tokens": str(tokens)},
            {"allow-origin": "https://app.test"},
            {"allow-from": "127.0.0.0/8"},
            {},
        ]
        return [
            {"name": f"r{i}", "path": f"/r{i}/*", "backend": where[i % len(where)], **access[i % 4]}
            for i in range(20)
        ]

    settings = {
        "listen": ["127.0.0.1:0", f"unix:{rig.directory}/gate"],
        "routes": routes([backend.address for backend in backends]),
        "half-closed-timeout": "1h",
        "reload-interval": "0",
    }
    proxy = serve(rig, settings)
    unix = rig.dial(proxy.addresses[1], "extension")
    unix.sock.sendall(request("extension", target="/r3/"))
    assert unix.read_response().status == 101
    open_both_ways = backends[3].accept()

    open_routes = [f"r{i}" for i in range(20) if i % 4 != 0]  # those that ask for no token
    clients = [half_closed(rig, proxy, f"/{open_routes[i % 15]}/x") for i in range(HALF_CLOSED)]
    connections = [backend.accept() for backend in backends[1:] for _ in range(HALF_CLOSED // 3)]
    for connection in connections:
        assert connection.read_to_end() == "eof" and connection.kept == b"question"

    refused = rig.dial(proxy.address)
    refused.sock.sendall(request(target="/r0/"))
    assert refused.read_response().status == 401

    bad = {**settings, "routes": [{"name": "r1", "idle-timeot": "1s"}]}
    path = write(rig, bad)
    proxy.signal(signal.SIGHUP)
    record = proxy.wait("not reloaded")
    assert f"{path}:5:" in record["detail"] and "did you mean idle-timeout?" in record["detail"]

    write(rig, {**settings, "routes": routes([fresh.address])[1:2], "half-closed-timeout": "1ms", "linger": "1s"})
    proxy.signal(signal.SIGHUP)
    assert proxy.wait("needs a restart")["key"] == "linger"
    assert proxy.wait("reloaded")["routes"] == 1
    client = rig.dial(proxy.address, "extension")
    client.sock.sendall(request("extension", target="/r2/"))
    assert client.read_response().status == 404

    for i, connection in enumerate(connections):
        connection.send(reply[i:])
        connection.finish()
    left = {sha256(reply[i:]) for i in range(HALF_CLOSED)}
    for client in clients:
        got = client.collect()
        assert (got.close, got.fin) == (1000, got.count)
        left.remove(got.digest)
    unix.fin()
    assert open_both_ways.wait_end() == "eof"
    open_both_ways.finish()
    assert unix.collect().close == 1000
    records = {r["client"]: r for r in (proxy.wait_closed() for _ in range(HALF_CLOSED + 1))}
    for i, client in enumerate(clients):
        record = records[client.name]
        assert (record["route"], record["cause"]) == (open_routes[i % 15], "ok")
    for connection in connections:
        connection.close()


def test_reload_of_access_and_backends(rig: Rig) -> None:
    """Each key that can change, does; SIGHUP needs no TLS."""
    first, second = rig.backend("tcp", echo), rig.backend("tcp", echo)
    proxy = serve(rig, {"backend": first.address, "log-level": "info", "reload-interval": "0"})

    def talk(expected: int = 101, **fields: str) -> str | None:
        client = rig.dial(proxy.address, "extension")
        client.sock.sendall(request("extension", change={**fields}))
        assert client.read_response().status == expected
        if expected != 101:
            return None
        client.send(b"x")
        client.fin()
        assert client.collect().close == 1000
        return str(proxy.wait_closed(client.name)["backend"])

    def reload(settings: dict[str, Any]) -> None:
        write(rig, {"linger": "2s", "reload-interval": "0", **settings})
        proxy.signal(signal.SIGHUP)
        proxy.wait("reloaded")

    assert talk() == first.address
    reload({"backend": second.address})
    assert talk() == second.address
    reload({"backend": second.address, "allow-from": "10.0.0.0/8"})
    talk(403)
    reload({"backend": first.address, "allow-origin": "https://a.test"})
    talk(403, Origin="https://b.test")
    assert talk(Origin="https://a.test") == first.address
    tokens = rig.directory / "tokens"
    tokens.write_text(f"alice {hashlib.sha256(b'one').hexdigest()}\n")
    reload({"backend": first.address, "tokens": str(tokens)})
    talk(401)
    talk(Authorization="Bearer one")
    tokens.write_text(f"bob {hashlib.sha256(b'two').hexdigest()}\n")
    proxy.signal(signal.SIGHUP)
    proxy.wait("reloaded")
    talk(401, Authorization="Bearer one")
    talk(Authorization="Bearer two")
    tokens.write_text("")
    proxy.signal(signal.SIGHUP)
    assert str(tokens) in proxy.wait("not reloaded")["detail"]
    talk(Authorization="Bearer two")
    os.unlink(rig.directory / "tidegate.yaml")
    proxy.signal(signal.SIGHUP)
    assert "cannot be read" in proxy.wait("not reloaded")["detail"]
    talk(Authorization="Bearer two")


def test_tokens_are_read_again_by_themselves(rig: Rig) -> None:
    tokens = rig.directory / "tokens"
    tokens.write_text(f"alice {hashlib.sha256(b'one').hexdigest()}\n")
    proxy = serve(rig, {"backend": rig.backend().address, "tokens": str(tokens), "reload-interval": "100ms"})
    fresh = rig.directory / "fresh"
    fresh.write_text(f"bob {hashlib.sha256(b'two').hexdigest()}\n")
    fresh.rename(tokens)
    proxy.wait("reloaded")
    for token, status in (("one", 401), ("two", 101)):
        client = rig.dial(proxy.address)
        client.sock.sendall(request(change={"Authorization": f"Bearer {token}"}))
        assert client.read_response().status == status


def test_reload_to_tls_and_back(rig: Rig) -> None:
    """The listeners stay; what they speak to those who come is of the configuration."""
    proxy = serve(rig, {"backend": rig.backend("tcp", echo).address, "reload-interval": "0"})
    pair = certificates()
    for is_secure in (True, False):
        tls = {"tls-cert": pair.cert, "tls-key": pair.key} if is_secure else {}
        write(rig, {"linger": "2s", "backend": rig.backends[0].address, "reload-interval": "0", **tls})
        proxy.signal(signal.SIGHUP)
        proxy.wait("reloaded")
        sock = dial(proxy.address)
        if is_secure:
            sock = TlsSocket(sock, client_context())  # type: ignore[assignment]
        rig.clients.append(WsClient(sock, "extension"))
        rig.clients[-1].handshake()
