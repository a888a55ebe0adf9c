"""Several workers, each with a loop and a thread of its own. The other tests run with as many as there are cores."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from backend import answer_at_end, echo
from config import serve, write
from manager import Manager, handing_over
from proxy import Proxy
from rig import Rig, over_both
from status import watched
from support import KIB, dial, is_sanitized, open_files, payload, sha256, wait_until
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient, request

WORKERS = 3
FLAGS = ("--workers", str(WORKERS))
MANY = 36  # by the kernel's hash all of them are one worker's once in 3^35 times


def many(rig: Rig, proxy: Proxy, count: int = MANY) -> list[WsClient]:
    return [rig.client(proxy, CARRIERS[i % len(CARRIERS)]) for i in range(count)]


def by_worker(connections: list[dict[str, Any]]) -> list[list[int]]:
    """/connections is one worker after the other, the newest first in each."""
    found: list[list[int]] = []
    for connection in connections:
        if not found or connection["conn"] > found[-1][-1]:
            found.append([])
        found[-1].append(connection["conn"])
    return found


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def at_once(count: int, act: Any) -> list[Any]:
    """The same in so many threads at the same time."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# ---- the load, and what is counted ----


@over_both
def test_connections_are_spread(rig: Rig) -> None:
    proxy, status = watched(rig, rig.backend("tcp", echo), *FLAGS)
    clients = many(rig, proxy)
    for number, client in enumerate(clients):
        client.send(b"x" * (number + 1))
        client.read_data(number + 1)
    assert threads(proxy.pid) >= WORKERS
    listed = status.connections()
    assert sorted(c["conn"] for c in listed) == list(range(1, MANY + 1))
    assert len(by_worker(listed)) == WORKERS
    assert {c["client"] for c in listed} == {client.name for client in clients}
    expected = sum(range(1, MANY + 1))
    metrics = status.metrics()
    assert metrics.get("tidegate_connections_active") == MANY
    for direction in ("to_backend", "to_client"):
        assert metrics.get("tidegate_bytes_total", direction=direction) == expected
    for client in clients:
        client.reset()
    status.wait(0, "tidegate_connections_active")
    closed = [proxy.wait_closed(client.name) for client in clients]
    assert sorted(record["conn"] for record in closed) == list(range(1, MANY + 1))
    assert status.metrics().get("tidegate_bytes_total", direction="to_backend") == expected


@pytest.mark.parametrize("kind", ["unix", "handed over"])
def test_one_socket_for_all(rig: Rig, kind: str) -> None:
    """What cannot be bound once more is shared: each connection comes to one worker."""
    backend = rig.backend("tcp", echo)
    if kind == "unix":
        path = rig.directory / "listen"
        proxy = rig.proxy(backend, *FLAGS, listen=(f"unix:{path}",))
    else:
        sock = socket.create_server(("127.0.0.1", 0))
        proxy = rig.proxy(backend, *FLAGS, listen=("systemd:web",), **handing_over((sock, "web")))
        sock.close()
    for client in many(rig, proxy):
        client.send(b"hello")
        client.read_data(5)
    assert sum(name.startswith("socket:") for name in proxy.idle_files) >= WORKERS


def test_68_a_port_is_refused_to_a_second_program(rig: Rig) -> None:
    """Although the first one has bound it several times."""
    backend = rig.backend()
    proxy = rig.proxy(backend, *FLAGS)
    with pytest.raises(AssertionError, match="address already in use"):
        Proxy(backend.address, *FLAGS, listen=(proxy.address,))


# ---- limits hold for all together ----


@pytest.mark.parametrize("limit", ["connections", "connections-per-client", "connections-per-route"])
def test_59_limits_are_those_of_all_workers(rig: Rig, limit: str) -> None:
    most = 7
    proxy, status = watched(rig, rig.backend("tcp", echo), *FLAGS, f"--max-{limit}", str(most))
    for _ in range(5):
        clients: list[WsClient] = []

        def ask(_: int, clients: list[WsClient] = clients) -> int:
            try:
                client = WsClient(dial(proxy.address, timeout=1))
                clients.append(client)
                client.sock.sendall(request())
                return client.read_response().status
            except OSError:  # too many to be told at a time: they wait, or are not worth an answer
                return 503

        answers = at_once(2 * most, ask)
        assert answers.count(101) == most and set(answers) == {101, 503}
        for client in clients:
            client.reset()
        proxy.wait_idle()
        for gauge in ("tidegate_connections_active", "tidegate_handshakes_in_progress"):
            status.wait(0, gauge)


def test_half_closed_of_a_client_in_all_workers(rig: Rig) -> None:
    """The bound holds, whichever worker they are with; who goes may be the newest."""
    most = 6
    proxy, status = watched(rig, rig.backend(), *FLAGS, "--max-half-closed-per-client", str(most))
    clients = [rig.client(proxy) for _ in range(MANY)]
    for client in clients:
        client.fin()
    wait_until(lambda: len(proxy.find("closed")) == MANY - most, "only so many are left")
    assert {record["cause"] for record in proxy.find("closed")} == {"half-closed-limit"}
    assert status.metrics().get("tidegate_half_closed_connections") == most


# ---- reload ----


def test_67_reload_is_everywhere_when_it_is_told(rig: Rig) -> None:
    backends = [rig.backend("tcp", answer_at_end(name)) for name in (b"old", b"new")]
    program = serve(rig, {"backend": backends[0].address, "workers": WORKERS})
    held = [rig.client(program.address) for _ in range(MANY)]
    for turn in range(6):
        new = backends[(turn + 1) % 2]
        write(rig, {"backend": new.address, "workers": WORKERS, "linger": "2s"})
        program.signal(signal.SIGHUP)
        program.wait("reloaded")
        for _ in range(12):
            client = rig.client(program.address)
            client.fin()
            assert client.collect().digest == sha256((b"old", b"new")[(turn + 1) % 2])
    for client in held:  # those of before go where they went
        client.fin()
        assert client.collect().digest == sha256(b"old")


def test_67_reload_that_comes_all_the_time(rig: Rig) -> None:
    """Under load, and no byte is lost."""
    backend = rig.backend("tcp", echo)
    program = serve(rig, {"backend": backend.address, "workers": WORKERS})
    data = payload(200 * KIB, 5)
    stop = threading.Event()

    def talk(number: int) -> int:
        count = 0
        while not stop.is_set():
            client = WsClient(dial(program.address), HALF_CLOSE_CARRIERS[number % 2])
            client.handshake()
            client.collect_in_background()
            client.send(data)
            client.fin()
            got = client.wait_collected()
            assert (got.close, got.digest) == (1000, sha256(data))
            client.sock.close()
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        talks = [pool.submit(talk, number) for number in range(4)]
        for _ in range(40):
            program.signal(signal.SIGHUP)
            time.sleep(0.01)  # the subject of the test
        stop.set()
        assert all(done.result() > 0 for done in talks)
    assert {record["cause"] for record in program.find("closed")} == {"ok"}


# ---- the end ----


@over_both
def test_66_all_workers_drain(rig: Rig) -> None:
    reply = payload(100 * KIB, 3)
    proxy = rig.proxy(rig.backend("tcp", answer_at_end(reply)), *FLAGS)
    clients = [rig.client(proxy, HALF_CLOSE_CARRIERS[i % 2]) for i in range(MANY)]
    proxy.signal()
    assert proxy.wait("draining")["connections"] == MANY
    listeners = set(proxy.idle_files)
    wait_until(lambda: not any(f.startswith("socket:") and f in listeners for f in open_files(proxy.pid)), "none listens")
    for client in clients:
        client.send(b"still")
        client.fin()
        got = client.collect()
        assert (got.close, got.digest) == (1000, sha256(reply))
        client.sock.close()
    proxy.check_stopped()
    assert [record["cause"] for record in proxy.find("closed")] == ["ok"] * MANY
    assert len(proxy.find("draining")) == 1


@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_66_all_workers_end_what_is_left(rig: Rig, how: str) -> None:
    timeout = "300ms" if how == "deadline" else "1h"
    proxy = rig.proxy(rig.backend(), *FLAGS, "--drain-timeout", timeout)
    clients = many(rig, proxy)
    proxy.signal()
    proxy.wait("draining")
    if how != "deadline":
        proxy.signal()
    for client in clients:
        assert client.expect("close").number == 1001
        client.sock.close()
    proxy.check_stopped()
    assert [record["cause"] for record in proxy.find("closed")] == ["shutdown"] * MANY


@pytest.mark.parametrize("held", ["by one worker", "by none"])
def test_66_workers_without_connections_wait_for_the_others(rig: Rig, held: str) -> None:
    """The status port answers until the last one has gone."""
    proxy, status = watched(rig, rig.backend("tcp", echo), *FLAGS, "--drain-delay", "0")
    clients = [rig.client(proxy)] if held == "by one worker" else []
    proxy.signal()
    proxy.wait("draining")
    for client in clients:
        assert status.get("/readyz").status == 503
        assert [c["client"] for c in status.connections()] == [client.name]
        assert status.metrics().get("tidegate_connections_active") == 1
        client.send(b"on")
        client.read_data(2)
        client.fin()
        client.collect()
        client.sock.close()
    proxy.check_stopped()


def test_69_exit_while_others_are_asked(rig: Rig) -> None:
    """Scrapes are under way in all workers when all of it ends."""
    proxy, status = watched(rig, rig.backend(), *FLAGS, "--drain-timeout", "100ms", "--drain-delay", "0")
    clients = many(rig, proxy)
    stop = threading.Event()

    def scrape(path: str) -> None:
        while not stop.is_set():
            try:
                status.get(path)
            except (OSError, AssertionError, ValueError):
                return  # it has ended

    scrapers = [threading.Thread(target=scrape, args=(path,)) for path in ("/metrics", "/connections") * 3]
    for scraper in scrapers:
        scraper.start()
    proxy.signal()
    for client in clients:
        assert client.expect("close").number == 1001
        client.sock.close()
    proxy.check_stopped()
    stop.set()
    for scraper in scrapers:
        scraper.join()


def test_a_scraper_that_leaves_in_the_middle(rig: Rig) -> None:
    """The rest of its answer is with some worker."""
    proxy, status = watched(rig, rig.backend(), *FLAGS)
    many(rig, proxy, 60)
    for _ in range(50):
        with status.dial() as sock:
            sock.sendall(b"GET /connections HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert len(status.connections()) == 60


def test_the_watchdog_is_for_all_workers(rig: Rig) -> None:
    """It is fed as long as all loops go round."""
    with Manager(rig.directory / "notify") as manager:
        proxy = rig.proxy(rig.backend(), *FLAGS, prefix=manager.prefix(WATCHDOG_USEC="100000"))
        for _ in range(3):
            manager.wait("WATCHDOG")
        proxy.signal()
        proxy.check_exit(0)


# ---- how many ----


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_workers_that_cannot_be(value: str) -> None:
    with pytest.raises(AssertionError, match=f'--workers: "{value}": must be a whole number from 1 '):
        Proxy("127.0.0.1:9", "--workers", value)


def test_one_a_core_by_default(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_WORKERS", raising=False)
    others = 1 if is_sanitized() else 0  # ThreadSanitizer has one of its own
    for cores in {1, len(os.sched_getaffinity(0))}:
        chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
        pid = rig.proxy(rig.backend(), prefix=("taskset", "-c", chosen)).pid
        wait_until(lambda pid=pid, cores=cores: threads(pid) - cores in (0, others), f"{cores} threads")


def test_fewer_where_descriptors_are_few(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default they take a quarter of them at most: it starts all the same."""
    monkeypatch.delenv("TIDEGATE_WORKERS", raising=False)
    proxy = rig.proxy(rig.backend("tcp", echo), prefix=("prlimit", "--nofile=36:36"))
    assert sum(name == "anon_inode:[eventpoll]" for name in proxy.idle_files) == 1
    client = rig.client(proxy)
    client.send(b"hello")
    client.read_data(5)
