"""Plays a script over one connection and writes down what both ends see."""

from __future__ import annotations

import array
import errno
import fcntl
import hashlib
import select
import socket
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from script import SIDES, Planned, Script
from support import payload, reset

STEP_PATIENCE = 6.0  # seconds; then the step is said to be stuck
PIECE = 65536
BLOCK = 1048583  # a prime: shifted data is wrong data
SLOW_PIECES = 40  # a slow reader pauses so often, 1 ms each

Trace = dict[str, list[str]]


class Stuck(Exception):
    pass


def stream(side: str, at: int, n: int) -> bytes:
    """What a side sends, from its byte `at` on. n is at most BLOCK."""
    block = payload(BLOCK, 90 + SIDES.index(side))
    at %= BLOCK
    return (block[at:] + block[: at + n - BLOCK]) if at + n > BLOCK else block[at : at + n]


def name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


@dataclass
class Player:
    """One end. Its thread alone reads and writes; the other may ask what has come."""

    side: str
    patience: float
    sock: socket.socket | None = None
    sent: int = 0
    read: int = 0
    is_right: bool = True  # all bytes so far were the peer's
    begun: int = 0  # steps
    done: int = 0
    ending: str = ""  # eof, or an error's name
    trace: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)  # the descriptor is not to be reused while we ask it
    peer: Player = field(init=False)

    # ---- what can be asked from outside ----

    def has_come(self, count: int, has_end: bool) -> bool:
        """Whether that much, and the end, is in this kernel or was read."""
        with self.lock:
            if self.sock is None or self.sock.fileno() < 0:
                return False
            if self.ending and self.ending != "eof":
                return self.read >= count
            if has_end and not self.events() & select.POLLRDHUP:
                return False
            waiting = array.array("i", [0])
            fcntl.ioctl(self.sock, termios.FIONREAD, waiting)
            return self.read + waiting[0] >= count

    def events(self) -> int:
        assert self.sock
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return next((events for _, events in poll.poll(0)), 0)

    # ---- the steps ----

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.patience
        while not condition():
            if time.monotonic() > deadline:
                raise Stuck
            time.sleep(0.0005)

    def receive(self, limit: int) -> bytes:
        """Some bytes, or b"" and `ending` is set."""
        assert self.sock
        try:
            data = self.sock.recv(limit)
        except TimeoutError:
            raise Stuck from None
        except OSError as error:
            self.ending = name(error)
            return b""
        if not data:
            self.ending = "eof"
        self.is_right = self.is_right and data == stream(self.peer.side, self.read, len(data))
        self.read += len(data)
        return data

    def read_on(self, limit: int | None, piece: int, pause: bool) -> str:
        """Up to `limit` bytes more, or to the end. Says what came."""
        digest, count, pauses = hashlib.sha256(), 0, 0
        self.ending = ""
        while limit is None or count < limit:
            data = self.receive(piece if limit is None else min(piece, limit - count))
            if not data:
                break
            digest.update(data)
            count += len(data)
            if pause and pauses < SLOW_PIECES:
                pauses += 1
                time.sleep(0.001)
        ending = f", then {self.ending}" if self.ending else ""
        wrong = "" if self.is_right else " WRONG"
        return f"{count} bytes{wrong} {digest.hexdigest()[:16]}{ending}"

    def write(self, n: int) -> str:
        """Blocks until all is with the kernel. Says ok, or the error."""
        assert self.sock
        left = n
        while left:
            data = stream(self.side, self.sent, min(left, PIECE))
            try:
                went = self.sock.send(data)
            except TimeoutError:
                raise Stuck from None
            except OSError as error:
                return name(error)
            self.sent += went
            left -= went
        return "ok"

    def swap(self, up: int, down: int) -> str:
        """Sends and reads at the same time, as a program with a poll loop does."""
        assert self.sock
        self.sock.setblocking(False)
        poll = select.poll()
        digest, count = hashlib.sha256(), 0
        self.ending = ""
        deadline = time.monotonic() + self.patience
        try:
            while up or count < down:
                poll.register(self.sock, (select.POLLIN if count < down else 0) | (select.POLLOUT if up else 0))
                events = next((e for _, e in poll.poll(1000)), 0)
                if time.monotonic() > deadline:
                    raise Stuck
                if count < down and events & (select.POLLIN | select.POLLERR | select.POLLHUP):
                    data = self.receive(min(PIECE, down - count))
                    if self.ending:
                        return f"{count} bytes, then {self.ending}"
                    digest.update(data)
                    count += len(data)
                if up and events & select.POLLOUT:
                    try:
                        went = self.sock.send(stream(self.side, self.sent, min(up, PIECE)))
                    except OSError as error:
                        return name(error)
                    self.sent += went
                    up -= went
        finally:
            self.sock.settimeout(self.patience)
        return f"{count} bytes{'' if self.is_right else ' WRONG'} {digest.hexdigest()[:16]}"

    def write_until_broken(self) -> str:
        assert self.sock
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            try:
                self.sock.send(b"?")
            except OSError:
                return "fails"
            time.sleep(0.001)
        raise Stuck

    def flood(self) -> str:
        while (result := self.write(PIECE)) == "ok":
            pass
        return result

    def finish(self) -> str:
        assert self.sock
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            return name(error)
        return "ok"

    def leave(self, has_reset: bool) -> None:
        assert self.sock
        with self.lock:
            if has_reset:
                reset(self.sock)
            else:
                self.sock.close()

    def take(self, planned: Planned) -> str | None:
        step, peer = planned.step, self.peer
        op, n = step.op, step.n
        if op == "send":
            return self.write(n)
        if op == "end":
            return self.finish()
        if op in ("read", "slow"):
            return self.read_on(n, PIECE if op == "read" else max(1, n // SLOW_PIECES), op == "slow")
        if op == "drain":
            return self.read_on(None, n or PIECE, n > 0)
        if op == "swap":
            return self.swap(n, step.m) if self.side == "client" else self.swap(step.m, n)
        if op == "broken":
            return self.write_until_broken()
        if op == "flood":
            return self.flood()
        if op == "pause":
            time.sleep(n / 1000)
        elif op == "meet":
            least = planned.count - planned.may_block
            self.wait(lambda: peer.done >= least and peer.begun >= planned.count)
        elif op == "landed":
            self.wait(lambda: peer.has_come(planned.count, planned.has_end))
        elif op == "arrive":
            self.wait(lambda: self.has_come(planned.count, planned.has_end))
        elif op == "wait-reset":
            self.wait(lambda: bool(self.events() & (select.POLLERR | select.POLLHUP)))
        else:
            self.leave(op == "reset")
        return None

    def play(self, plan: list[Planned]) -> None:
        """All steps; then, if it is still there, its end, and what still comes."""
        at = "open"
        try:
            for planned in plan:
                at = f"{planned.index} {planned.step}"
                self.begun += 1
                result = self.take(planned)
                if result is not None:
                    self.trace.append(f"{at}: {result}")
                self.done += 1
            at = "at last"
            assert self.sock
            if self.sock.fileno() < 0:
                return
            self.finish()
            if not any(p.step.op == "drain" for p in plan):
                self.trace.append(f"{at}: {self.read_on(None, PIECE, False)}")
        except Stuck:
            self.trace.append(f"{at}: STUCK")


def play(
    script: Script, connect: Callable[[], socket.socket], listener: socket.socket, patience: float = STEP_PATIENCE
) -> Trace:
    """Both ends to their ends. `listener` has a timeout and is nobody else's."""
    plans = script.plan()
    client, server = (Player(side, patience) for side in SIDES)
    client.peer, server.peer = server, client

    def serve() -> None:
        try:
            server.sock, _ = listener.accept()
        except OSError as error:
            server.trace.append(f"accept: {error}")
            return
        server.sock.settimeout(patience)
        server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.play(plans["server"])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        client.sock = connect()
        client.sock.settimeout(patience)
        client.play(plans["client"])
    finally:
        thread.join()
        for player in (client, server):
            if player.sock:
                player.sock.close()
    lossy = script.lossy_side()
    if lossy:
        receiver = server if lossy == "client" else client
        receiver.trace = [blur(line) for line in receiver.trace]
    return {"client": client.trace, "server": server.trace}


def blur(line: str) -> str:
    """How much came before a reset that did not wait is not TCP's to say; that it was right, is."""
    head, is_drain, rest = line.partition(": ")
    if " drain" not in head or "WRONG" in rest or not is_drain:
        return line
    return f"{head}: a prefix, then {rest.partition(', then ')[2]}"
