"""Backends by name, when the name server is slow. Checklist 65."""

from __future__ import annotations

import signal
from typing import Any

from backend import echo
from config import serve
from nameserver import NameServer
from proxy import Program
from rig import Rig
from wsclient import WsClient, request

HOLES = 20  # names without an answer


def start(rig: Rig, name_server: NameServer, routes: dict[str, list[str]], **settings: str) -> Program:
    """A route /NAME for each NAME, to its backends; "PORT" there is one that echoes."""
    port = rig.backend("tcp", echo).address.rsplit(":", 1)[1]
    items: list[dict[str, Any]] = []
    for name, backends in routes.items():
        items.append({"name": name, "path": f"/{name}", "backend": [b.replace("PORT", port) for b in backends]})
    given = {key.replace("_", "-"): value for key, value in settings.items()}
    return serve(rig, {**given, "routes": items}, prefix=name_server.prefix)


def ask(rig: Rig, proxy: Program, path: str) -> WsClient:
    client = rig.dial(proxy.address, "extension")
    client.sock.sendall(request("extension", target=path))
    return client


def check_echo(client: WsClient) -> None:
    client.handshake(b"")
    client.send(b"through")
    client.read_data(7)


def test_65_names_without_an_answer_hold_up_no_other(rig: Rig, name_server: NameServer) -> None:
    """All of them are asked for at once, and wait; a good one is answered meanwhile."""
    routes = {f"hole{i}": [f"hole{i}.test:9"] for i in range(HOLES)}
    proxy = start(rig, name_server, {**routes, "good": ["good.test:PORT"]}, connect_timeout="60s")
    waiting = [ask(rig, proxy, f"/hole{i}") for i in range(HOLES)]
    name_server.wait_asked({f"hole{i}.test" for i in range(HOLES)})
    check_echo(ask(rig, proxy, "/good"))
    assert not proxy.find("refused"), "all those are still waiting"
    for client in waiting:
        client.reset()
        proxy.wait_refused(client.name)


def test_65_a_name_without_an_answer_is_a_backend_too_slow(rig: Rig, name_server: NameServer) -> None:
    """The time to connect counts the name, too; the next backend has its share of it."""
    routes = {"alone": ["hole.test:9"], "pair": ["hole.test:9", "good.test:PORT"]}
    proxy = start(rig, name_server, routes, connect_timeout="600ms")
    alone = ask(rig, proxy, "/alone")
    assert alone.read_response().status == 504
    assert proxy.wait_refused(alone.name)["cause"] == "connect-timeout"
    pair = ask(rig, proxy, "/pair")
    check_echo(pair)
    assert name_server.asked == {"hole.test", "good.test"}


def test_65_leaves_without_the_answer(rig: Rig, name_server: NameServer) -> None:
    """The resolver's own patience is a minute here."""
    proxy = start(rig, name_server, {"hole": ["hole.test:9"]})
    client = ask(rig, proxy, "/hole")
    name_server.wait_asked({"hole.test"})
    client.reset()
    proxy.wait_refused(client.name)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait_exit() == 0
