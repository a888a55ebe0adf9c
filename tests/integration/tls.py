"""TLS for tests, by Python's ssl: a peer that shares nothing with the program under test, and that
can end each direction by itself, with or without close_notify."""

from __future__ import annotations

import errno
import functools
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

from backend import Backend
from certificates import certificates
from support import default_binary, reset

HEAD = 5  # bytes of a record before its content


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates().ca)


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().cert, certificates().key)
    return context


@functools.cache
def has_tls_1_3() -> bool:
    """Whether the program's library does."""
    versions = subprocess.run([default_binary(), "version"], capture_output=True, text=True, check=True).stdout
    return "mbedtls 2." not in versions


class TlsSocket:
    """A TCP socket with TLS on it, as far as tests use sockets. recv() says b"" for close_notify;
    anything else that is no data is an OSError, EPROTO if TCP did not say which. shutdown(SHUT_WR) is
    close_notify, then FIN."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        is_server: bool = False,
        *,
        name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.raw = sock
        self.family = sock.family
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unread = bytearray()  # from the network; ssl is given one record at a time
        self._plain = bytearray()  # what one record had more than was asked for
        self._unsent = b""  # sealed, and not taken by the kernel
        self._lock = threading.Lock()  # for ssl and its two ends
        self._send_lock = threading.Lock()
        self.tls = context.wrap_bio(self._in, self._out, is_server, None if is_server else name, session)
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._next_record()
            except ssl.SSLError:
                self._flush()  # the alert
                raise

    # ---- what a socket has ----

    def fileno(self) -> int:
        return self.raw.fileno()

    def getsockname(self) -> Any:
        return self.raw.getsockname()

    def getsockopt(self, *arguments: int) -> Any:
        return self.raw.getsockopt(*arguments)

    def setsockopt(self, *arguments: Any) -> None:
        self.raw.setsockopt(*arguments)

    def settimeout(self, seconds: float | None) -> None:
        self.raw.settimeout(seconds)

    def close(self) -> None:
        """TCP only: the end of a file descriptor, not of a TLS connection."""
        self.raw.close()

    # ---- receiving ----

    def _next_record(self) -> None:
        """Moves one record from the network to ssl. Never more: what lies in ssl unread is in the way of
        close_notify, and of nobody who asks the kernel whether there is something to read."""
        while len(self._unread) < HEAD or len(self._unread) < HEAD + int.from_bytes(self._unread[3:5], "big"):
            piece = self.raw.recv(262144)
            if not piece:
                raise OSError(errno.EPROTO, "the end without close_notify")
            self._unread += piece
        size = HEAD + int.from_bytes(self._unread[3:5], "big")
        with self._lock:
            self._in.write(self._unread[:size])
        del self._unread[:size]

    def recv(self, size: int) -> bytes:
        while not self._plain:
            try:
                with self._lock:
                    self._plain += self.tls.read(32768)
                if not self._plain:
                    return b""
            except ssl.SSLWantReadError:
                self._next_record()
            except ssl.SSLZeroReturnError:  # close_notify, when ours has been sent
                return b""
            except ssl.SSLError as error:
                raise OSError(errno.EPROTO, str(error)) from None
        taken = bytes(self._plain[:size])
        del self._plain[:size]
        return taken

    # ---- sending ----

    def _flush(self) -> None:
        """Raises TimeoutError with the rest kept, to be sent before anything else."""
        with self._lock:
            self._unsent += self._out.read()
        while self._unsent:
            self._unsent = self._unsent[self.raw.send(self._unsent) :]

    def send(self, data: bytes) -> int:
        """Takes some of it, once all that was taken before has left."""
        with self._send_lock:
            self._flush()
            with self._lock:
                count = self.tls.write(data[:65536])
            try:
                self._flush()
            except TimeoutError:
                pass
            return count

    def sendall(self, data: bytes) -> None:
        with self._send_lock:
            self._flush()
            for at in range(0, len(data), 65536):
                with self._lock:
                    self.tls.write(data[at : at + 65536])
                self._flush()

    def close_notify(self) -> None:
        with self._send_lock:
            with self._lock:
                try:
                    self.tls.unwrap()
                except ssl.SSLWantReadError:  # the peer's is not there yet
                    pass
            self._flush()

    def shutdown(self, how: int) -> None:
        if how == socket.SHUT_WR:
            try:
                self.close_notify()
            except ConnectionError:  # nobody is there: the kernel says so now
                pass
        self.raw.shutdown(how)


class TlsBackend(Backend):
    """A backend on TLS. What failed to shake hands is in `failures`."""

    def __init__(self, directory: Path, *arguments: Any, context: ssl.SSLContext | None = None, **options: Any) -> None:
        self._context = context or server_context()
        self.failures: list[Exception] = []
        self._unsecured: list[socket.socket] = []
        super().__init__("tcp", directory, *arguments, **options)
        self.kind = "tls"
        self.address = f"tls://{self.address}"

    def _take(self, sock: socket.socket) -> None:
        self._unsecured.append(sock)
        threading.Thread(target=self._secure, args=(sock,), daemon=True).start()

    def _secure(self, sock: socket.socket) -> None:
        try:
            secure = TlsSocket(sock, self._context, is_server=True)
        except OSError as error:  # ssl.SSLError is one
            self.failures.append(error)
            sock.close()
        else:
            super()._take(secure)  # type: ignore[arg-type]
        self._unsecured.remove(sock)

    def stop(self) -> None:
        super().stop()
        for sock in list(self._unsecured):
            reset(sock)
