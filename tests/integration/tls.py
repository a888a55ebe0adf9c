"""TLS for tests, by Python's ssl: a peer that shares nothing with the program under test, and that
can end each direction by itself, with or without close_notify."""

from __future__ import annotations

import errno
import functools
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from backend import Backend, BackendConnection
from proxy import Proxy
from rig import Rig
from support import dial
from wsclient import WsClient


class Certificates:
    """An authority, what it has signed, and one that nobody has."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidegate-tls-")
        # Python 3.13 asks for all that RFC 5280 does.
        Path(self._path("req.cnf")).write_text("[req]\ndistinguished_name=dn\n[dn]\n")
        authority = (
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        self.ca = self._make("ca", "/CN=test authority", *authority)
        self.key = self._path("server.key")
        self.cert = self._make(
            "server", "/CN=server", "-CA", self.ca, "-CAkey", self._path("ca.key"),
            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "authorityKeyIdentifier=keyid",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        )  # fmt: skip
        self.other_ca = self._make("other", "/CN=other authority", *authority)

    def _path(self, name: str) -> str:
        return str(Path(self._folder.name) / name)

    def _make(self, name: str, subject: str, *arguments: str) -> str:
        path = self._path(f"{name}.pem")
        command = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-config", self._path("req.cnf"), "-addext", "subjectKeyIdentifier=hash",
            "-days", "30", "-subj", subject, "-keyout", self._path(f"{name}.key"), "-out", path, *arguments,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        return path

    def serve_flags(self) -> list[str]:
        return ["--tls-cert", self.cert, "--tls-key", self.key]

    def pin(self) -> str:
        """What --pin-sha256 wants."""
        script = (
            f"openssl x509 -in {self.cert} -pubkey -noout | openssl pkey -pubin -outform der"
            " | openssl dgst -sha256 -binary | openssl base64"
        )
        return subprocess.run(script, shell=True, check=True, capture_output=True, text=True).stdout.strip()


@functools.cache
def certificates() -> Certificates:
    return Certificates()


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates().ca)


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates().cert, certificates().key)
    return context


class TlsSocket:
    """A TCP socket with TLS on it, as far as tests use sockets. recv() says b"" for close_notify;
    an end of the connection without one is EPROTO. shutdown(SHUT_WR) is close_notify, then FIN."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, is_server: bool = False) -> None:
        self.raw = sock
        self.family = sock.family
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._lock = threading.Lock()
        name = None if is_server else "localhost"
        self.tls = context.wrap_bio(self._in, self._out, is_server, name)
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # the alert
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def _flush(self) -> None:
        if data := self._out.read():
            self.raw.sendall(data)

    def _fill(self) -> None:
        if piece := self.raw.recv(262144):
            self._in.write(piece)
        else:
            self._in.write_eof()

    def recv(self, size: int) -> bytes:
        while True:
            with self._lock:
                try:
                    return self.tls.read(size)
                except ssl.SSLWantReadError:
                    self._flush()
                except ssl.SSLZeroReturnError:  # close_notify, when ours has been sent
                    return b""
                except ssl.SSLEOFError:
                    raise OSError(errno.EPROTO, "the end without close_notify") from None
            piece = self.raw.recv(262144)  # not under the lock: others may send meanwhile
            with self._lock:
                if piece:
                    self._in.write(piece)
                else:
                    self._in.write_eof()

    def sendall(self, data: bytes) -> None:
        for at in range(0, len(data), 65536):
            with self._lock:
                self.tls.write(data[at : at + 65536])
                sealed = self._out.read()
            self.raw.sendall(sealed)

    def close_notify(self) -> None:
        with self._lock:
            try:
                self.tls.unwrap()
            except ssl.SSLWantReadError:  # the peer's is not there yet
                pass
            sealed = self._out.read()
        self.raw.sendall(sealed)

    def shutdown(self, how: int) -> None:
        if how == socket.SHUT_WR:
            self.close_notify()
        self.raw.shutdown(how)


class TlsBackend(Backend):
    """A backend on TLS. One that fails to shake hands is in `failures`."""

    def __init__(self, directory: Path, context: ssl.SSLContext | None = None, **options: Any) -> None:
        self._context = context or server_context()
        self.failures: list[Exception] = []
        super().__init__("tcp", directory, **options)
        self.address = f"tls://{self.address}"

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.settimeout(60)
            try:
                secure = TlsSocket(sock, self._context, is_server=True)
            except (OSError, ssl.SSLError) as error:
                self.failures.append(error)
                sock.close()
                continue
            connection = BackendConnection(secure)  # type: ignore[arg-type]
            self.connections.append(connection)
            if self._script:
                threading.Thread(target=self._run_script, args=(connection,), daemon=True).start()
            self._accepted.put(connection)


def tls_backend(rig: Rig, **options: Any) -> TlsBackend:
    directory = rig.directory / f"backend{len(rig.backends)}"
    directory.mkdir()
    backend = TlsBackend(directory, **options)
    rig.backends.append(backend)
    return backend


def dial_tls(rig: Rig, proxy: Proxy, carrier: str = "plain", **options: Any) -> WsClient:
    """A wss client that has not sent its request."""
    secure = TlsSocket(dial(proxy.address, **options), client_context())
    client = WsClient(secure, carrier)  # type: ignore[arg-type]
    rig.clients.append(client)
    return client


def open_wss(rig: Rig, proxy: Proxy, carrier: str = "extension", **options: Any) -> WsClient:
    client = dial_tls(rig, proxy, carrier, **options)
    client.handshake()
    return client
