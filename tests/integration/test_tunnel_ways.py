"""How a tunnel gets to its server: plain ones, fields and tokens, HTTP proxies."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
from collections.abc import Iterator

import pytest
from backend import answer_at_end
from rig import Rig, over_both, over_ws
from support import PATIENCE, dial, payload, sha256
from tunnel import local, start_tunnel
from wsserver import peer, scripted_server

pytestmark = over_both

# ---- servers that do not speak half-close ----


def test_a_plain_server_is_refused(rig: Rig) -> None:
    """With a word on what is missing, and on the flag that does without."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address)
    program, far = local(rig, tunnel), peer(server)
    program.send(b"secret")
    far.open("plain")
    assert program.wait_end() == "reset"
    record = tunnel.wait_failed()
    assert "half-close" in record["detail"] and "--plain" in record["detail"]
    assert far.received == b""


@pytest.mark.parametrize("first", ["local", "server"])
def test_a_plain_server_with_plain(rig: Rig, first: str) -> None:
    """Data passes; the end of either is a Close 1000; and the log tells the carrier."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, "--plain")
    program, far = local(rig, tunnel), peer(server)
    program.send(b"up")
    far.open("plain")
    assert far.read_data(2) == b"up"
    far.send(b"down")
    program.read_some(4)
    assert program.kept == b"down"
    if first == "server":
        far.close_frame(1000)
        assert program.wait_end() == "eof"
    program.finish()
    assert far.read_close() == 1000
    if first == "local":
        far.close_frame(1000)
        assert program.wait_end() == "eof"
    far.connection.close()
    record = tunnel.wait("closed")
    assert (record["carrier"], record["cause"], record["first_end"]) == ("plain", "ok", first)


@pytest.mark.parametrize("code", [1001, 1011, 4000])
def test_a_plain_server_breaks_off(rig: Rig, code: int) -> None:
    server = scripted_server(rig)
    program, far = local(rig, start_tunnel(rig, server.address, "--plain")), peer(server)
    far.open("plain")
    far.send(b"half")
    far.close_frame(code)
    assert program.wait_end() == "reset"
    assert program.kept == b"half"


def test_with_plain_half_close_is_still_taken(rig: Rig) -> None:
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    tunnel = start_tunnel(rig, rig.proxy(backend).address, "--plain")
    program = local(rig, tunnel)
    program.send(b"question")
    program.finish()
    assert program.read_to_end() == "eof" and program.kept == b"answer"
    program.close()
    assert tunnel.wait("closed")["carrier"] == "extension"


# ---- the request ----


def test_header(rig: Rig) -> None:
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, "--header", "X-One: a b", "--header=Cookie: c=d; e=f")
    local(rig, tunnel)
    fields = peer(server).read_head().fields
    assert (fields["x-one"], fields["cookie"]) == ("a b", "c=d; e=f")


def test_token_file(rig: Rig) -> None:
    """Read for each connection, so that a new token needs no restart; never logged."""
    server = scripted_server(rig)
    file = rig.directory / "token"
    file.write_text("first-secret\n")
    tunnel = start_tunnel(rig, server.address, "--token-file", str(file), "--log-level", "debug")
    for token in ("first-secret", "second-secret"):
        file.write_text(f"{token}\n")
        program, far = local(rig, tunnel), peer(server)
        assert far.read_head().fields["authorization"] == f"Bearer {token}"
        far.raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        assert program.wait_end() == "reset"
        assert tunnel.wait_failed()["status"] == 401
    assert not [line for line in tunnel.lines if "-secret" in line]


@pytest.mark.parametrize("what", ["gone", "empty", "two words", "a control character", "a NUL"])
def test_wrong_token_file(rig: Rig, what: str) -> None:
    """Nothing is sent to the server, least of all a request without the token."""
    server = scripted_server(rig)
    file = rig.directory / "token"
    file.write_text("good\n")
    tunnel = start_tunnel(rig, server.address, "--token-file", str(file))
    bad = {"two words": b"a\r\nX: b", "a control character": b"a\x01b\n", "a NUL": b"a\0b\n"}
    file.write_bytes(bad.get(what, b""))
    if what == "gone":
        file.unlink()
    if what == "two words":  # its first line is a token
        local(rig, tunnel)
        assert peer(server).read_head().fields.get("x") is None
        return
    with contextlib.suppress(ConnectionResetError):  # it may be that quick
        assert local(rig, tunnel).wait_end() == "reset"
    tunnel.wait_failed()
    try:
        request = server.accept(0.2).sock.recv(4096)
    except (AssertionError, ConnectionResetError):
        return
    assert request == b""


# ---- HTTP proxies ----


class ConnectProxy:
    """An HTTP proxy that knows CONNECT and nothing else."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.heads: list[str] = []
        self.answer = answer
        self.target: str | None = None  # goes there, wherever the client wants to
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            self.heads.append(head.decode("latin-1"))
            if b" 200 " not in self.answer:
                client.sendall(self.answer)
                return
            with dial(self.target or self.heads[-1].split(" ")[1]) as server:
                client.sendall(self.answer)
                relay(client, server)

    def stop(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def relay(one: socket.socket, other: socket.socket) -> None:
    """Until either ends; as proxies do, both ways at once."""
    while True:
        for sock in select.select([one, other], [], [])[0]:
            try:
                piece = sock.recv(65536)
                (other if sock is one else one).sendall(piece)
            except OSError:
                return
            if not piece:
                return


@pytest.fixture
def connect_proxy() -> Iterator[ConnectProxy]:
    proxy = ConnectProxy()
    try:
        yield proxy
    finally:
        proxy.stop()


def exchange(rig: Rig, *flags: str, url: str | None = None) -> None:
    """A question and an answer, 1 MB each, through a tunnel with these flags."""
    up, down = payload(10**6, 130), payload(10**6, 131)
    backend = rig.backend("tcp", answer_at_end(down))
    server = rig.proxy(backend)
    tunnel = start_tunnel(rig, url or server.address, *flags)
    program = local(rig, tunnel)
    program.send(up)
    program.finish()
    assert program.read_to_end() == "eof"
    assert program.digest == sha256(down)
    assert backend.accept().digest == sha256(up)
    program.close()
    assert tunnel.wait("closed")["cause"] == "ok"


def test_proxy(rig: Rig, connect_proxy: ConnectProxy) -> None:
    exchange(rig, "--proxy", f"http://{connect_proxy.address}")
    assert len(connect_proxy.heads) == 1
    line, *rest = connect_proxy.heads[0].split("\r\n")
    assert line == f"CONNECT {rig.proxies[0].address} HTTP/1.1"
    assert f"Host: {rig.proxies[0].address}" in rest
    assert "upgrade" not in connect_proxy.heads[0].lower(), "the request is for the server"


def test_proxy_with_a_password(rig: Rig, connect_proxy: ConnectProxy) -> None:
    exchange(rig, "--proxy", f"http://user:pass%40word@{connect_proxy.address}", "--log-level", "debug")
    token = base64.b64encode(b"user:pass@word").decode()
    assert f"Proxy-Authorization: Basic {token}" in connect_proxy.heads[0].split("\r\n")
    assert not [line for line in rig.proxies[1].lines if "pass" in line]


def named(rig: Rig) -> tuple[str, ...]:
    """For a server whose name is made up."""
    return ("--server-name", "localhost") if rig.is_secure else ()


def test_proxy_resolves_the_name(rig: Rig, connect_proxy: ConnectProxy) -> None:
    """A name that only the proxy knows."""
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    connect_proxy.target = rig.proxy(backend).address
    flags = ("--proxy", f"http://{connect_proxy.address}", *named(rig))
    tunnel = start_tunnel(rig, "only.the.proxy.knows.invalid:81", *flags)
    program = local(rig, tunnel)
    program.finish()
    assert program.read_to_end() == "eof" and program.kept == b"answer"
    assert connect_proxy.heads[0].startswith("CONNECT only.the.proxy.knows.invalid:81 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("proxied", "variables"),
    [
        (True, {}),
        (False, {"no_proxy": "example.org,.server.invalid"}),
        (False, {"NO_PROXY": "server.invalid"}),
        (False, {"no_proxy": "*"}),
        (True, {"no_proxy": "other.invalid"}),
    ],
)
def test_proxy_of_the_environment(
    rig: Rig, connect_proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch, proxied: bool, variables: dict[str, str]
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy" if rig.is_secure else "http_proxy", f"http://{connect_proxy.address}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    connect_proxy.target = rig.proxy(backend).address
    tunnel = start_tunnel(rig, "a.server.invalid", *named(rig))
    program = local(rig, tunnel)
    program.finish()
    assert program.wait_end() == ("eof" if proxied else "reset")
    assert len(connect_proxy.heads) == proxied


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"])
def test_proxy_refuses(rig: Rig, status: str) -> None:
    refusing = ConnectProxy(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    try:
        tunnel = start_tunnel(rig, rig.backend().address, "--proxy", f"http://{refusing.address}")
        assert local(rig, tunnel).wait_end() == "reset"
        record = tunnel.wait_failed()
        assert record["at"] == "server" and "proxy" in record["detail"], record
        assert record["status"] == int(status[:3])
    finally:
        refusing.stop()


@over_ws
@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_proxy_that_is_none(rig: Rig, answer: bytes) -> None:
    """Also one that goes in the middle of its answer."""
    strange = scripted_server(rig)
    tunnel = start_tunnel(rig, "127.0.0.1:1", "--proxy", f"http://{strange.address}")
    program, far = local(rig, tunnel), peer(strange)
    far.read_head()
    with contextlib.suppress(OSError):  # the tunnel may have gone behind the first bytes already
        far.raw(answer)
        far.connection.finish()
    assert program.wait_end() == "reset"
    assert tunnel.wait_failed()["at"] == "server"


def test_proxy_is_gone(rig: Rig, unused_tcp_address: str) -> None:
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, "--proxy", f"http://{unused_tcp_address}")
    try:
        assert local(rig, tunnel, timeout=PATIENCE).wait_end() == "reset"
    except ConnectionResetError:
        pass
    assert tunnel.wait_failed()["cause"] == "unreachable"
    server.expect_none()


@over_ws
def test_frames_in_the_segment_of_the_proxys_answer(rig: Rig) -> None:
    """The first of them is the proxy's, the rest the server's."""
    strange = scripted_server(rig)
    tunnel = start_tunnel(rig, "ws://server.invalid/", "--proxy", f"http://{strange.address}")
    program, far = local(rig, tunnel), peer(strange)
    assert far.read_head().line.startswith("CONNECT ")
    far.raw(b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n")
    request = far.read_head()
    assert request.line.startswith("GET ") and request.fields["host"] == "server.invalid"
    far.carrier = "extension"
    far.raw(far.response(request, "extension") + b"\x82\x02hi\x8b\x05FIN 2")
    assert program.wait_end() == "eof" and program.kept == b"hi"
