"""Two replicas behind the HAProxy and the nginx of docs/examples, under load, one after the other restarted.

Every connection ends complete or broken; none is truncated and called complete; nothing is lost on the replica that stays.
"""

from __future__ import annotations

import collections
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from backend import Backend
from examples import haproxy, nginx
from load import BROKEN, COMPLETE, HOLD, NAME_SIZE, REFUSED, UP, Exchange, Hold, Load, is_whole, new_name
from proxy import Proxy
from rig import Rig
from services import Service
from support import PATIENCE, dial, open_files, wait_until
from wsclient import HALF_CLOSE_CARRIERS, WsClient, request

HELD = 8
STALLED = b"stop"


def start_front(kind: str, replicas: list[tuple[str, str]], folder: Path) -> Service:
    def command(port: int) -> Sequence[str]:
        config = folder / "front.conf"
        if kind == "haproxy":
            config.write_text(haproxy(port, replicas))
            return ["haproxy", "-db", "-f", str(config)]
        config.write_text(nginx(port, replicas, folder))
        return ["nginx", "-e", f"{folder}/early.log", "-c", str(config)]

    return Service(command, folder / "front.log")


class Replica:
    """One of them, with a backend of its own: whose connections it had, its backend knows."""

    def __init__(self, rig: Rig, drain_timeout: str) -> None:
        self.rig = rig
        self.drain_timeout = drain_timeout
        self.hold = Hold()
        self.backend: Backend = rig.backend("tcp", self.hold)
        self.address, self.status = "127.0.0.1:0", "127.0.0.1:0"
        self.start()
        self.address = self.proxy.address

    def start(self) -> None:
        """The second time where the first one was."""
        flags = ("--status", self.status, "--drain-delay", "3s", "--drain-timeout", self.drain_timeout)
        flags += ("--trusted-proxies", "127.0.0.1/32")
        self.proxy: Proxy = self.rig.proxy(self.backend, *flags, listen=(self.address,))
        self.status = str(self.proxy.wait("status")["address"])
        self.proxy.idle_files = open_files(self.proxy.pid)

    def names(self) -> set[bytes]:
        return {bytes(connection.kept[:NAME_SIZE]) for connection in list(self.backend.connections)}

    def wait_connections(self, more: int = 5) -> None:
        wanted = len(self.backend.connections) + more
        wait_until(lambda: len(self.backend.connections) >= wanted, f"connections to {self.address}", 60)

    def is_refusing(self) -> bool:
        try:
            dial(self.address).close()
        except OSError:
            return True
        return False


class World:
    def __init__(self, rig: Rig, kind: str) -> None:
        self.replicas = [Replica(rig, "1h"), Replica(rig, "1s")]
        places = [(replica.address, replica.status) for replica in self.replicas]
        self.kind = kind
        self.front = start_front(kind, places, rig.directory)
        self.load = Load(self.front.address)
        self.others: list[Exchange] = []

    def open(self, kind: bytes, up: bytes, is_finished: bool) -> list[Exchange]:
        """Connections that stay as they are, some on each replica."""
        exchanges = [Exchange(new_name(kind)) for _ in range(HELD)]
        for number, exchange in enumerate(exchanges):
            assert exchange.open(self.front.address, HALF_CLOSE_CARRIERS[number % 2])
            self.others.append(exchange)
            exchange.send(exchange.name + up)
            if is_finished:
                exchange.finish()
        names = {exchange.name for exchange in exchanges}
        wait_until(lambda: names <= self.replicas[0].names() | self.replicas[1].names(), "held connections", 60)
        for replica in self.replicas:
            assert names & replica.names(), "leastconn has given all to the other one"
        return exchanges

    def was_told(self, exchange: Exchange) -> bool:
        """To come again, by a replica that had its connection, but not yet its request, when it stopped. HAProxy asks the
        other one."""
        return self.kind == "nginx" and exchange.outcome == REFUSED and exchange.status == 503

    def stop(self) -> None:
        for replica in self.replicas:
            replica.hold.release()
        for exchange in self.others:
            exchange.drop()
        try:
            self.load.stop()
        finally:
            self.front.stop()
        for replica in self.replicas:
            if replica.proxy.process.poll() is None:
                replica.proxy.wait_idle()
                replica.proxy.signal(signal.SIGINT)  # without the delay


@pytest.fixture(params=["haproxy", "nginx"])
def world(rig: Rig, request: pytest.FixtureRequest) -> Iterator[World]:
    w = World(rig, request.param)
    try:
        yield w
    finally:
        w.stop()


def outcomes(exchanges: list[Exchange]) -> collections.Counter[str]:
    return collections.Counter(exchange.outcome for exchange in exchanges)


def test_rolling_restart_under_load(world: World) -> None:
    one, two = world.replicas
    load = world.load
    one.wait_connections()
    two.wait_connections()

    # The first has all the time it wants: nothing is lost.
    held = world.open(HOLD, UP, True)
    one.proxy.signal()
    one.proxy.wait("draining")
    wait_until(one.is_refusing, "it still listens")
    load.wait_more(5)
    for replica in world.replicas:
        replica.hold.release()
    for exchange in held:
        exchange.end()
    assert outcomes(held) == {COMPLETE: HELD}
    one.proxy.check_exit(0)
    assert all(record["cause"] == "ok" for record in one.proxy.find("closed"))
    one.start()
    one.wait_connections()
    load.wait_more(5)
    for exchange in load.exchanges:
        assert exchange.outcome == COMPLETE or world.was_told(exchange), exchange

    # The second has a moment, and connections that do not end by themselves: those are broken, and only those of it.
    for replica in world.replicas:
        replica.hold.again()
    held = world.open(HOLD, UP, True)
    stalled = world.open(STALLED, UP[: len(UP) // 2], False)
    two.proxy.signal()
    two.proxy.check_exit(0)
    own = two.names()
    one.hold.release()
    for exchange in stalled:
        if exchange.name not in own:
            exchange.send(UP[len(UP) // 2 :])
            exchange.finish()
    for exchange in [*held, *stalled]:
        exchange.end()
        assert exchange.outcome == (BROKEN if exchange.name in own else COMPLETE), exchange
    two.hold.release()
    two.start()
    two.wait_connections()
    load.wait_more(5)
    load.stop()

    # What was cut was cut on the second one.
    for exchange in load.exchanges:
        if exchange.outcome == BROKEN:
            assert exchange.name in own, exchange
        else:
            assert exchange.outcome == COMPLETE or world.was_told(exchange), exchange
    # No backend took a part for all.
    for replica in world.replicas:
        for connection in list(replica.backend.connections):
            assert connection.end != "eof" or is_whole(connection), bytes(connection.kept[:NAME_SIZE])
            if bytes(connection.kept[:NAME_SIZE]) in {e.name for e in stalled} & own:
                assert connection.end == "reset"


def test_killed_under_load(world: World) -> None:
    """No warning at all: what it had is broken, never an end; what comes later goes to the other one."""
    one, two = world.replicas
    one.wait_connections()
    two.wait_connections()
    held = world.open(HOLD, UP, True)
    one.proxy.kill()
    one.rig.proxies.remove(one.proxy)
    for replica in world.replicas:
        replica.hold.release()
    for exchange in held:
        exchange.end()
    world.load.wait_more(20)
    world.load.stop()
    stayed = two.names()
    for exchange in [*held, *world.load.exchanges]:
        assert exchange.outcome == COMPLETE or (exchange.outcome == BROKEN and exchange.name not in stayed), exchange
    assert outcomes(held)[BROKEN] > 0
    for replica in world.replicas:
        for connection in list(replica.backend.connections):
            assert connection.end != "eof" or is_whole(connection), (connection.count, bytes(connection.kept[:NAME_SIZE]))


def test_who_asked_the_front(world: World) -> None:
    """And a field that comes with the request is no way to say another."""
    host, port = world.front.address.split(":")
    sock = socket.create_connection((host, int(port)), PATIENCE, source_address=("127.0.0.2", 0))
    client = WsClient(sock, "extension")
    world.replicas[0].rig.clients.append(client)
    client.handshake(request("extension", extra=[("X-Forwarded-For", "192.0.2.1")]))
    client.send(b"x" * NAME_SIZE)
    client.fin()
    assert client.collect().close == 1000

    def records() -> list[str]:
        found = [record for replica in world.replicas for record in replica.proxy.find("closed")]
        return [record["client"] for record in found if record["bytes_to_backend"] == NAME_SIZE]

    wait_until(lambda: bool(records()), "its record")
    assert [name.rpartition(":")[0] or name for name in records()] == ["127.0.0.2"]
