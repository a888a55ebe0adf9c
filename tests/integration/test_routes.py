"""Routes: which one a request takes, what is its own, and several backends behind one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from backend import SlowToConnect, answer_at_end, echo
from certificates import Certificates, certificates
from config import serve
from proxy import Program
from rig import Rig
from support import payload, sha256
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient, request


def ask(
    rig: Rig, proxy: Program, carrier: str = "plain", *, host: str = "h", path: str = "/", **fields: str
) -> WsClient:
    """A client that has sent its request, and read the head of the answer."""
    client = rig.dial(proxy.address, carrier)
    change: dict[str, str | None] = {"Host": host}
    change.update({name.replace("_", "-"): value for name, value in fields.items()})
    client.sock.sendall(request(carrier, target=path, change=change))
    client.read_response()
    return client


def status(client: WsClient) -> int:
    assert client.response
    if client.response.status != 101:
        client.read_rest()
    return client.response.status


def named(rig: Rig, name: str) -> dict[str, Any]:
    """A route to a backend that says its name."""

    def script(connection: Any) -> None:
        connection.send(name.encode())
        connection.read_to_end()
        connection.close()

    return {"name": name, "backend": [rig.backend("tcp", script).address]}


# ---- which one ----


def test_chosen_by_host_and_path(rig: Rig) -> None:
    proxy = serve(
        rig,
        {
            "routes": [
                {**named(rig, "deep"), "path": "/db/deep/*"},
                {**named(rig, "exact"), "path": "/db"},
                {**named(rig, "below"), "path": "/db/*"},
                {**named(rig, "host"), "host": "A.Example.org", "path": "/db/*"},
                {**named(rig, "suffix"), "host": "*.example.org"},
                {**named(rig, "number"), "host": "[::1]", "path": "/"},
            ]
        },
    )
    cases = [
        ("h", "/db", "exact"),
        ("h", "/db?to=/db/deep/x", "exact"),
        ("h", "/db/", "below"),
        ("h", "/db/x", "below"),
        ("h", "/db/deep/x", "deep"),
        ("a.example.ORG:8080", "/db/x", "host"),
        ("a.example.org.", "/db", "host"),
        ("a.example.org", "/x", "suffix"),
        ("b.a.example.org", "/db", "suffix"),
        ("[::1]:80", "/", "number"),
        ("h", "/", None),
        ("h", "/dbx", None),
        ("h", "/DB", None),
        ("h", "/d%62", None),
        ("h", "//db", None),
        ("example.org", "/x", None),
        ("xexample.org", "/x", None),
        ("[::1]", "/x", None),
    ]
    for host, path, name in cases:
        client = ask(rig, proxy, host=host, path=path)
        if name is None:
            assert status(client) == 404, (host, path)
            record = proxy.wait_refused(client.name)
            assert (record["cause"], record["status"], "route" in record) == ("denied", 404, False)
            continue
        assert client.expect("data").data.decode() == name, (host, path)
        client.close_frame(1000)
        client.collect()
        assert proxy.wait_closed(client.name)["route"] == name
    for client in rig.clients:
        client.drop()


@pytest.mark.parametrize(
    "path", ["/%2e%2e/db", "/./db", "/a/../db", "/db%2fx", "/db%2Fx", "/db%00", "/db\\x", "/db%5cx", "/%", "/%zz"]
)
def test_82_paths_with_two_readings_are_refused(rig: Rig, path: str) -> None:
    backend = rig.backend()
    proxy = serve(rig, {"backend": [backend.address]})
    assert status(ask(rig, proxy, path=path)) == 400
    assert proxy.wait_refused()["cause"] == "bad-handshake"
    backend.expect_none()


@pytest.mark.parametrize("carrier", CARRIERS)
def test_no_route_is_404_on_every_carrier(rig: Rig, carrier: str) -> None:
    backend = rig.backend()
    proxy = serve(rig, {"backend": [backend.address], "routes": [{"name": "a", "host": "a"}]})
    assert status(ask(rig, proxy, carrier, host="b")) == 404
    backend.expect_none()


def test_the_target_names_the_host(rig: Rig) -> None:
    """RFC 9112 3.2.2: in absolute form, and the field Host says the same."""
    proxy = serve(rig, {"routes": [{**named(rig, "a"), "host": "a.test"}]})
    client = ask(rig, proxy, host="a.test", path="http://a.test/x")
    assert client.expect("data").data == b"a"


# ---- what is its own ----


def test_timers_and_plain_by_route(rig: Rig) -> None:
    backend = rig.backend()
    proxy = serve(
        rig,
        {
            "backend": [backend.address],
            "idle-timeout": "1h",
            "routes": [
                {"name": "short", "path": "/short", "idle-timeout": "150ms"},
                {"name": "long", "path": "/long"},
                {"name": "strict", "path": "/strict", "plain": "refuse"},
            ],
        },
    )
    short = ask(rig, proxy, "extension", path="/short")
    long = ask(rig, proxy, "extension", path="/long")
    connections = [backend.accept(), backend.accept()]
    assert short.expect("close").number == 4005
    assert proxy.wait_closed(short.name)["cause"] == "idle"
    long.send(b"still there")
    long.fin()
    for connection in connections:
        connection.wait_end()
        connection.finish()
    assert long.collect().close == 1000
    refused = ask(rig, proxy, path="/strict")
    assert status(refused) == 426
    assert proxy.wait_refused(refused.name)["cause"] == "denied"
    for carrier in HALF_CLOSE_CARRIERS:
        assert status(ask(rig, proxy, carrier, path="/strict")) == 101


def test_tcp_unix_and_tls_behind_one_port(rig: Rig) -> None:
    reply = payload(100000, 5)
    kinds = ("tcp", "unix", "tls")
    routes = [
        {"name": kind, "path": f"/{kind}", "backend": rig.backend(kind, answer_at_end(reply)).address}
        for kind in kinds
    ]
    routes.append({"name": "distrusts", "path": "/distrusts", "backend": routes[2]["backend"]})
    routes[2]["backend-ca"] = certificates().ca
    stranger = Certificates()
    proxy = serve(rig, {"backend-ca": stranger.ca, "routes": routes})
    assert status(ask(rig, proxy, path="/distrusts")) == 502
    for path in ("/tcp", "/unix", "/tls"):
        client = ask(rig, proxy, "extension", path=path)
        client.send(b"all of it")
        client.fin()
        got = client.collect()
        assert (got.close, got.digest) == (1000, sha256(reply))


# ---- several backends ----


def talk(client: WsClient) -> None:
    client.send(b"hello")
    client.fin()
    got = client.collect()
    assert (got.close, got.count) == (1000, 5)


def test_in_turn(rig: Rig) -> None:
    backends = [rig.backend("tcp", echo) for _ in range(3)]
    proxy = serve(rig, {"backend": [backend.address for backend in backends]})
    names = []
    for _ in range(6):
        client = ask(rig, proxy, "extension")
        talk(client)
        names.append(proxy.wait_closed(client.name)["backend"])
    assert names == [backend.address for backend in backends] * 2


def test_least_connections(rig: Rig) -> None:
    backends = [rig.backend() for _ in range(2)]
    proxy = serve(
        rig, {"balance": "leastconn", "backend": [backend.address for backend in backends], "ping-interval": "0"}
    )
    first = ask(rig, proxy, "extension")
    backends[0].accept()
    second = ask(rig, proxy, "extension")
    connection = backends[1].accept()
    second.fin()
    connection.wait_end()
    connection.finish()
    assert second.collect().close == 1000
    proxy.wait_closed(second.name)
    ask(rig, proxy, "extension")  # the second has none now
    backends[1].accept()
    ask(rig, proxy, "extension")  # one each: in turn
    ask(rig, proxy, "extension")
    backends[0].accept()
    backends[1].accept()
    first.reset()


def test_the_next_one_if_one_cannot_be_had(rig: Rig, unused_tcp_address: str) -> None:
    backend = rig.backend("tcp", echo)
    proxy = serve(rig, {"backend": [unused_tcp_address, backend.address]})
    for _ in range(4):
        client = ask(rig, proxy, "extension")
        talk(client)
        assert proxy.wait_closed(client.name)["backend"] == backend.address
    failed = proxy.find("backend failed")
    assert [(r["backend"], r["cause"]) for r in failed] == [(unused_tcp_address, "unreachable")]  # once


def test_the_next_one_if_one_does_not_answer(rig: Rig) -> None:
    """Each has its share of the connect timeout."""
    backend = rig.backend("tcp", echo)
    with SlowToConnect() as deaf:
        proxy = serve(rig, {"backend": [deaf.address, backend.address], "connect-timeout": "600ms"})
        talk(ask(rig, proxy, "extension"))
        assert proxy.wait("backend failed")["cause"] == "connect-timeout"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_all_of_them_gone(rig: Rig, unused_tcp_address: str, carrier: str) -> None:
    """Each is tried once, and the last one's reason is told."""
    path = f"unix:{rig.directory}/nobody"
    proxy = serve(rig, {"backend": [unused_tcp_address, path]})
    client = ask(rig, proxy, carrier)
    if carrier == "subprotocol":
        assert client.expect("close").number == 4003
        record = proxy.wait_closed(client.name)
        assert record["backend"] == path
    else:
        assert status(client) == 502
        record = proxy.wait_refused(client.name)
    assert record["cause"] == "unreachable"
    assert len(proxy.find("backend failed")) == 2


def test_a_backend_that_is_back(rig: Rig) -> None:
    """With one backend there is nothing to leave it for: it is tried whatever happened before."""
    path = rig.directory / "later"
    proxy = serve(rig, {"backend": [f"unix:{path}"]})
    assert status(ask(rig, proxy)) == 502
    backend = rig.backend("unix", echo)
    path.symlink_to(backend.address.removeprefix("unix:"))
    talk(ask(rig, proxy, "extension"))


# ---- who may ----


def test_three_kinds_of_access(rig: Rig) -> None:
    """Origin, token and network, each of its own route; the backend sees nobody who is refused."""
    token = "correct-horse"
    tokens = rig.directory / "tokens"
    tokens.write_text(f"alice {hashlib.sha256(token.encode()).hexdigest()}\n")
    backend = rig.backend()
    proxy = serve(
        rig,
        {
            "backend": [backend.address],
            "routes": [
                {"name": "pages", "path": "/pages", "allow-origin": ["https://app.test"]},
                {"name": "bearers", "path": "/bearers", "tokens": str(tokens)},
                {"name": "network", "path": "/network", "allow-from": "10.0.0.0/8"},
                {"name": "here", "path": "/here", "allow-from": ["10.0.0.0/8", "127.0.0.0/8"]},
            ],
        },
    )
    cases = [
        (403, "/pages", {"Origin": "https://evil.test"}),
        (403, "/pages", {"Origin": "https://app.test.evil.test"}),
        (401, "/bearers", {}),
        (401, "/bearers", {"Authorization": "Bearer wrong"}),
        (401, "/bearers", {"Authorization": f"Basic {token}"}),
        (400, "/bearers", {"Authorization": "Bearer a b"}),
        (403, "/network", {}),
        (403, "/here", {"Origin": "https://evil.test"}),
    ]
    for expected, path, fields in cases:
        client = ask(rig, proxy, path=path, **fields)
        assert status(client) == expected, (path, fields)
        record = proxy.wait_refused(client.name)
        assert record["cause"] == ("bad-handshake" if expected == 400 else "denied")
        assert (record["route"], "backend" in record) == (path[1:], False)
        if expected == 401:
            assert client.response and client.response.get("WWW-Authenticate") == "Bearer"
    backend.expect_none()
    good = [
        ("/pages", {"Origin": "https://app.test"}),
        ("/bearers", {"Authorization": f"Bearer {token}"}),
        ("/here", {"Origin": "http://h"}),
    ]
    for path, fields in good:
        client = ask(rig, proxy, path=path, **fields)
        assert status(client) == 101, (path, fields)
        connection = backend.accept()
        client.close_frame(1000)
        assert connection.wait_end() == "eof"
        connection.finish()
        record = proxy.wait_closed(client.name)
        assert record.get("token") == ("alice" if path == "/bearers" else None)
    assert token not in json.dumps(proxy.records)


def test_targets(rig: Rig) -> None:
    """Where the client says: within the list only, by the path behind the route's own."""
    backend = rig.backend("tcp", echo)
    other = rig.backend()
    host, port = backend.address.split(":")
    proxy = serve(
        rig, {"routes": [{"name": "any", "path": "/to/*", "target": [f"127.0.0.1:{port}", "good.test:1-3"]}]}
    )
    client = ask(rig, proxy, "extension", path=f"/to/tcp/{host}/{port}")
    talk(client)
    assert proxy.wait_closed(client.name)["backend"] == backend.address
    other_port = other.address.split(":")[1]
    refused = [
        (403, f"/to/tcp/127.0.0.1/{other_port}"),
        (403, "/to/tcp/evil.test/2"),
        (403, f"/to/tcp/127.0.0.2/{port}"),
        (403, f"/to/tcp/::1/{port}"),
        (403, "/to/tcp/good.test/4"),
        (400, f"/to/tcp/127.1/{port}"),
        (400, f"/to/tcp/0x7f.0.0.1/{port}"),
        (400, f"/to/tcp/2130706433/{port}"),
        (400, f"/to/tcp/127.0.0.1%2e/{port}"),
        (404, "/to/"),
        (404, f"/tcp/127.0.0.1/{port}"),
    ]
    for expected, path in refused:
        assert status(ask(rig, proxy, path=path)) == expected, path
    other.expect_none()
    assert len(backend.connections) == 1
