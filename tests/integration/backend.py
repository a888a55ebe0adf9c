"""Backends that do as a test tells them, and write down what they saw."""

from __future__ import annotations

import errno
import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from support import PATIENCE, reset

TCP_CLOSED = 7  # linux/tcp_states.h, first byte of struct tcp_info


class BackendConnection:
    """One accepted connection. Sends when told; reads when told, in the background or by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.count = 0
        self.end: str | None = None  # eof, reset, or the name of another errno
        self.end_time = 0.0  # monotonic
        self.kept = bytearray()  # the first bytes, for tests that look at them
        self._has_finished = False
        self._hash = hashlib.sha256()
        self._thread: threading.Thread | None = None
        self._is_scripted = False  # a script has it: nobody else reads
        self._grew = threading.Condition()

    def run_in_background(self, script: Script) -> None:
        def run() -> None:
            try:
                script(self)
            except OSError:  # the test is over, or the proxy cut it: told in `end`
                pass
            with self._grew:
                self._is_scripted = False
                self._grew.notify_all()

        self._is_scripted = True
        threading.Thread(target=run, daemon=True).start()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    # ---- reading ----

    def read_some(self, size: int = 262144) -> bool:
        """One recv; false when there was an end in it."""
        try:
            piece = self.sock.recv(size)
        except TimeoutError:
            raise
        except OSError as error:
            name = errno.errorcode[error.errno or 0]
            self._ended("reset" if name == "ECONNRESET" else name)
            return False
        if not piece:
            self._ended("eof")
            return False
        with self._grew:
            self.count += len(piece)
            self._hash.update(piece)
            if len(self.kept) < 4096:
                self.kept += piece[: 4096 - len(self.kept)]
            self._grew.notify_all()
        return True

    def _ended(self, how: str) -> None:
        if how == "eof" and self._is_reset_behind_our_back():
            how = "reset"
        with self._grew:
            self.end, self.end_time = how, time.monotonic()
            self._grew.notify_all()

    def _is_reset_behind_our_back(self) -> bool:
        """The kernel tells a reset once. When a send has been told it, recv says 0; but then the TCP
        state is CLOSED and not CLOSE_WAIT, as it would be after a FIN while we may still send."""
        if self.sock.family == socket.AF_UNIX or self._has_finished:
            return False
        if not isinstance(self.sock, socket.socket):  # TLS has said so, whatever TCP does behind it
            return False
        return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSED

    def read_to_end(self, pause: float = 0.0, size: int = 262144) -> str:
        while self.read_some(size):
            if pause:
                time.sleep(pause)
        assert self.end is not None
        return self.end

    def read_in_background(self, pause: float = 0.0, size: int = 262144) -> None:
        def run() -> None:
            try:
                self.read_to_end(pause, size)
            except OSError:  # the test closed it, or it waited too long: wait_end tells
                pass

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait_count(self, count: int, timeout: float = PATIENCE) -> None:
        with self._grew:
            ok = self._grew.wait_for(lambda: self.count >= count or self.end is not None, timeout)
            assert ok and self.count >= count, f"{self.count} of {count} bytes, end {self.end}"

    def wait_end(self, timeout: float = PATIENCE) -> str:
        """How the peer's direction ended, reading on meanwhile; what a script reads is not taken from it."""
        with self._grew:
            self._grew.wait_for(lambda: self.end is not None or not self._is_scripted, timeout)
        if self._thread is None and self.end is None:
            self.read_in_background()
        with self._grew:
            assert self._grew.wait_for(lambda: self.end is not None, timeout), (
                f"no end after {timeout} s; {self.count} bytes so far"
            )
            assert self.end is not None
            return self.end

    # ---- sending and ending ----

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_in_background(
        self, data: bytes, then: Callable[[], None] | None = None
    ) -> threading.Thread:
        def run() -> None:
            try:
                self.send(data)
                if then:
                    then()
            except OSError:  # told by the reading side
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def wait_broken(self, timeout: float = PATIENCE) -> str:
        """Sends until that fails: for a side that has read its peer's end already. Which errno."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                self.sock.sendall(b"?")
            except TimeoutError:
                raise
            except OSError as error:
                return errno.errorcode[error.errno or 0]
            time.sleep(0.005)
        raise AssertionError(f"sending still works after {timeout} s")

    def finish(self) -> None:
        """TCP FIN; if the other end has reset already there is nothing left to end."""
        self._has_finished = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def reset(self) -> None:
        """Not while another thread reads: it would hold the socket open."""
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()

    def drop(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        if self._thread is not None:
            self._thread.join(PATIENCE)
        reset(self.sock)


Script = Callable[[BackendConnection], None]


class Backend:
    """A listening socket, TCP or unix (tls.py has TLS). Without a script, tests take the connections with accept();
    with one, each connection runs it on a thread of its own."""

    def __init__(
        self,
        kind: str,
        directory: Path,
        script: Script | None = None,
        *,
        rcvbuf: int | None = None,
        sndbuf: int | None = None,
        backlog: int = 512,
    ) -> None:
        self.kind = kind
        self.connections: list[BackendConnection] = []
        self.rcvbuf, self.sndbuf = rcvbuf, sndbuf
        self._script = script
        self._accepted: queue.Queue[BackendConnection] = queue.Queue()
        if kind == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            path = directory / "backend.sock"
            self.sock.bind(str(path))
            self.address = f"unix:{path}"
        else:
            self.sock = socket.socket()
            if rcvbuf:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            self.sock.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.sock.listen(backlog)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            if self.sndbuf:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.sndbuf)
            sock.settimeout(60)
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        connection = BackendConnection(sock)
        self.connections.append(connection)
        if self._script:
            connection.run_in_background(self._script)
        self._accepted.put(connection)

    def accept(self, timeout: float = PATIENCE) -> BackendConnection:
        try:
            return self._accepted.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no connection to the backend within {timeout} s") from None

    def expect_none(self, timeout: float = 0.2) -> None:
        """For what must not happen: nobody connected, nor does within a moment."""
        try:
            self._accepted.get(timeout=timeout)
        except queue.Empty:
            return
        raise AssertionError("the proxy connected to the backend")

    def stop(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self.sock.close()
        self._thread.join(PATIENCE)
        for connection in self.connections:
            connection.drop()
        if self.kind == "unix":
            Path(self.address.removeprefix("unix:")).unlink(missing_ok=True)


class SlowToConnect:
    """A listener whose queue is full, so that SYNs are dropped until accept() makes room: connecting
    takes as long as the next SYN, a second or so. Linux takes one more than the backlog says. Two in
    the way would be too many: the other one's next SYN competes with the awaited one, and with SYN
    cookies the kernel resets the loser."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._listener.settimeout(PATIENCE)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._filler = socket.create_connection(self._listener.getsockname(), PATIENCE)

    def __enter__(self) -> SlowToConnect:
        return self

    def accept(self) -> BackendConnection:
        """Drops the one who filled the queue and takes the one who waited."""
        self._listener.accept()[0].close()
        sock = self._listener.accept()[0]
        sock.settimeout(60)
        return BackendConnection(sock)

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._filler.close()


def echo(connection: BackendConnection) -> None:
    """Sends back what comes; its end, too."""
    while piece := connection.sock.recv(65536):
        connection.count += len(piece)
        connection.send(piece)
    connection.end = "eof"
    connection.finish()
    connection.close()


def answer_at_end(reply: bytes) -> Script:
    """The backend this project is about: speaks only when it has heard everything."""

    def script(connection: BackendConnection) -> None:
        if connection.read_to_end() == "eof":
            connection.send(reply)
            connection.finish()
        connection.close()

    return script
