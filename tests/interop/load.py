"""Clients that come and go all the time, and backends that tell from which of them each connection was.

Each exchange: a name and many bytes up, FIN; an answer that the backend sends when it has heard all; Close 1000. What became
of it is one of four words, the last of which there must never be.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

from backend import BackendConnection
from support import KIB, PATIENCE, dial, payload, sha256
from wsclient import HALF_CLOSE_CARRIERS, WsClient, request

COMPLETE, REFUSED, BROKEN, TRUNCATED = "complete", "refused", "broken", "truncated, and called complete"
UP, DOWN = payload(192 * KIB, 70), payload(256 * KIB, 71)
NAME_SIZE = 16
DOWN_DIGEST = sha256(DOWN)
HOLD = b"hold"  # begins the name of a connection whose answer waits

_numbers = itertools.count()


def new_name(kind: bytes = b"load") -> bytes:
    return kind + b"%012d" % next(_numbers)


class Hold:
    """A backend script: answers at the end of input, those that are held not before release()."""

    def __init__(self) -> None:
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def again(self) -> None:
        self._released = threading.Event()

    def __call__(self, connection: BackendConnection) -> None:
        released = self._released
        if connection.read_to_end() == "eof":
            if connection.kept.startswith(HOLD):
                released.wait(60)
            connection.send(DOWN)
            connection.finish()
        connection.close()


def is_whole(connection: BackendConnection) -> bool:
    """What the backend took for all is all."""
    name = bytes(connection.kept[:NAME_SIZE])
    return (connection.count, connection.digest) == (NAME_SIZE + len(UP), sha256(name + UP))


@dataclass
class Exchange:
    name: bytes
    client: WsClient | None = None
    outcome: str = REFUSED
    status: int = 0  # of the answer; 0: none
    close: int | None = None

    def open(self, address: str, carrier: str) -> bool:
        try:
            self.client = WsClient(dial(address, timeout=PATIENCE), carrier)
            self.client.sock.sendall(request(carrier))
            self.status = self.client.read_response().status
        except (OSError, AssertionError):  # no answer at all
            pass
        if self.status == 101:
            return True
        self.drop()
        return False

    def send(self, data: bytes) -> None:
        """It may be broken by then; reading tells."""
        assert self.client
        try:
            self.client.send(data)
        except OSError:
            pass

    def finish(self) -> None:
        assert self.client
        try:
            self.client.fin()
        except OSError:
            pass

    def end(self) -> None:
        """Reads to the end, and judges."""
        assert self.client
        try:
            self.client.collect()
        except (OSError, AssertionError):  # an end in mid-frame, or none
            pass
        got = self.client.received
        self.close = got.close
        has_all = (got.count, got.digest) == (len(DOWN), DOWN_DIGEST)
        if got.fin is not None and not (has_all and got.fin == len(DOWN)):
            self.outcome = TRUNCATED
        elif got.close == 1000:
            self.outcome = COMPLETE if got.fin is not None else TRUNCATED
        else:
            self.outcome = BROKEN
        self.drop()

    def drop(self) -> None:
        if self.client:
            self.client.drop()


class Load:
    """Some clients that do one exchange after the other until they are told to stop."""

    def __init__(self, address: str, clients: int = 5) -> None:
        self.address = address
        self.exchanges: list[Exchange] = []
        self._news = threading.Condition()
        self._is_over = False
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        carrier = HALF_CLOSE_CARRIERS[number % len(HALF_CLOSE_CARRIERS)]
        while not self._is_over:
            exchange = Exchange(new_name())
            if exchange.open(self.address, carrier):
                exchange.send(exchange.name + UP)
                exchange.finish()
                exchange.end()
            with self._news:
                self.exchanges.append(exchange)
                self._news.notify_all()

    def wait_more(self, count: int) -> None:
        """So many exchanges from now on."""
        with self._news:
            wanted = len(self.exchanges) + count
            assert self._news.wait_for(lambda: len(self.exchanges) >= wanted, 60), "the load has come to a halt"

    def stop(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
