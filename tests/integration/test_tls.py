"""Half-close through TLS on every side; ends that are none; who is believed. Checklist 47, 57, 70 to
74."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from backend import BackendConnection, answer_at_end, echo
from proxy import Proxy
from rig import Rig
from support import KIB, MIB, default_binary, dial, payload, sha256
from tls import Certificates, TlsSocket, certificates, client_context, dial_tls, open_wss, tls_backend
from tunnel import local, start_tunnel
from wsclient import BINARY, CARRIERS, HALF_CLOSE_CARRIERS, WsClient, frame, request

SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
TEXT_OF_NO_TRUST = "not signed by a trusted authority"


def serve(rig: Rig, kind: str, *flags: str, **options: object) -> tuple[Proxy, object]:
    """A wss proxy in front of a backend of that kind."""
    flags = (*certificates().serve_flags(), *flags)
    if kind == "tls":
        backend = tls_backend(rig, **options)
        flags = (*flags, "--backend-ca", certificates().ca)
    else:
        backend = rig.backend(kind, **options)  # type: ignore[arg-type, assignment]
    return rig.proxy(backend, *flags), backend


def start(
    rig: Rig, carrier: str, kind: str = "tcp", *flags: str
) -> tuple[Proxy, WsClient, BackendConnection]:
    proxy, backend = serve(rig, kind, *flags)
    client = open_wss(rig, proxy, carrier)
    return proxy, client, backend.accept()  # type: ignore[attr-defined]


# ---- the half-close matrix ----


@pytest.mark.parametrize("first", ["client", "backend"])
@pytest.mark.parametrize("size", [0, 5, 3 * MIB])
@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_half_close(rig: Rig, carrier: str, kind: str, size: int, first: str) -> None:
    """The first one ends; the second one hears that, and only then sends its data and ends."""
    proxy, client, connection = start(rig, carrier, kind)
    up, down = payload(size, 1), payload(size, 2)
    client.collect_in_background()
    connection.read_in_background()
    if first == "client":
        client.send(up)
        client.fin()
        assert connection.wait_end() == "eof"
        connection.send(down)
        connection.finish()
    else:
        connection.send(down)
        connection.finish()
        client_waits_for_fin(client)
        client.send(up)
        client.fin()
        assert connection.wait_end() == "eof"
    got = client.wait_collected()
    assert (connection.count, connection.digest) == (size, sha256(up))
    assert (got.count, got.digest, got.fin, got.close) == (size, sha256(down), size, 1000)
    assert got.end == "eof"
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"]) == ("ok", first)
    assert (record["bytes_to_backend"], record["bytes_to_client"]) == (size, size)


def client_waits_for_fin(client: WsClient) -> None:
    deadline = time.monotonic() + 20
    while client.received.fin is None:
        assert time.monotonic() < deadline, "no FIN"
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_both_directions_at_once(rig: Rig, kind: str) -> None:
    proxy, client, connection = start(rig, "extension", kind)
    up, down = payload(8 * MIB, 3), payload(8 * MIB, 4)
    client.collect_in_background()
    connection.read_in_background()
    connection.send_in_background(down, connection.finish)
    client.send(up)
    client.fin()
    got = client.wait_collected()
    assert (got.digest, got.close, connection.digest) == (sha256(down), 1000, sha256(up))
    assert proxy.wait_closed()["cause"] == "ok"


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_slow_client_keeps_memory_bounded(rig: Rig, kind: str) -> None:
    """Back-pressure goes through TLS: the backend cannot send all of it until the client reads."""
    proxy, backend = serve(rig, kind)
    client = open_wss(rig, proxy, rcvbuf=64 * KIB)
    connection = backend.accept()  # type: ignore[attr-defined]
    down = payload(24 * MIB, 5)
    sender = connection.send_in_background(down, connection.finish)
    time.sleep(1)
    assert sender.is_alive()
    client.fin()
    got = client.collect()
    assert (got.digest, got.close) == (sha256(down), 1000)
    assert proxy.wait_closed()["cause"] == "ok"


def test_backend_tls_finish_notify(rig: Rig) -> None:
    """close_notify alone: the backend's kernel has not seen a FIN when its TLS has seen the end."""
    proxy, client, connection = start(rig, "extension", "tls", "--backend-tls-finish", "notify")
    client.send(b"question")
    client.fin()
    assert connection.wait_end() == "eof"
    raw = connection.sock.raw  # type: ignore[attr-defined]
    raw.settimeout(0.5)
    with pytest.raises(TimeoutError):
        raw.recv(1)
    connection.send(b"answer")
    connection.finish()
    assert client.expect("data").data == b"answer"
    assert client.expect("fin").number == 6
    assert client.expect("close").number == 1000
    assert proxy.wait_closed()["cause"] == "ok"


# ---- ends that are none ----


@pytest.mark.parametrize("kind", ["tcp", "tls"])
@pytest.mark.parametrize("how", ["fin", "close_notify", "close_notify and fin", "reset"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_47_client_leaves_without_an_end(rig: Rig, carrier: str, how: str, kind: str) -> None:
    proxy, client, connection = start(rig, carrier, kind)
    client.send(b"half of it")
    connection.read_in_background()
    connection.wait_count(10)
    if "close_notify" in how:
        client.sock.close_notify()  # type: ignore[attr-defined]
    if "fin" in how:
        client.sock.raw.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
    if how == "reset":
        client.reset()
    assert connection.wait_end() == "reset"
    assert connection.kept == b"half of it"
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("reset" if how == "reset" else "lost", "client")


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_47_backend_leaves_without_close_notify(rig: Rig, how: str) -> None:
    proxy, client, connection = start(rig, "extension", "tls")
    connection.send(b"half of it")
    assert client.expect("data").data == b"half of it"
    if how == "fin":
        connection.sock.raw.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
    else:
        connection.reset()
    assert client.expect("close").number == 4000
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("lost" if how == "fin" else "reset", "backend")


def test_47_tunnel_hears_no_close_notify(rig: Rig) -> None:
    """The third side: what a local program of a tunnel sees when its wss server is cut."""
    backend = rig.backend()
    proxy = rig.proxy(backend, *certificates().serve_flags())
    with Cutter(proxy.address) as cutter:
        tunnel = start_tunnel(rig, f"wss://{cutter.address}/", "--ca-file", certificates().ca)
        program = local(rig, tunnel)
        program.send(b"hello")
        connection = backend.accept()
        connection.wait_count(0)
        connection.send(b"half of it")
        program.read_in_background()
        program.wait_count(10)
        cutter.cut()
        assert program.wait_end() == "reset"
        record = tunnel.wait_closed()
        assert (record["cause"], record["at"]) == ("lost", "server")
        assert connection.wait_end() == "reset"


class Cutter:
    """Passes bytes on in both directions until told to end them with FIN, for both at once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._socks: list[socket.socket] = []

    def __enter__(self) -> Cutter:
        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while piece := source.recv(65536):
                    sink.sendall(piece)
            except OSError:
                pass

        def run() -> None:
            near, _ = self._listener.accept()
            far = dial(self._target)
            self._socks += [near, far]
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            pump(far, near)

        threading.Thread(target=run, daemon=True).start()
        return self

    def cut(self) -> None:
        for sock in self._socks:
            sock.shutdown(socket.SHUT_WR)

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for sock in self._socks:
            sock.close()


@pytest.mark.parametrize("where", ["client", "backend"])
def test_71_garbage_in_mid_stream(rig: Rig, where: str) -> None:
    proxy, client, connection = start(rig, "extension", "tls")
    side = client if where == "client" else connection
    side.sock.raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # type: ignore[attr-defined]
    if where == "client":
        assert connection.wait_end() == "reset"
    else:
        assert client.expect("close").number == 4008
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) == ("tls-failed", where)


# ---- the listener ----


def test_71_plain_http_gets_an_answer(rig: Rig) -> None:
    proxy, _ = serve(rig, "tcp")
    client = rig.dial(proxy)
    client.raw(request("extension"))
    answer = client.read_rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"wss://" in answer
    record = proxy.wait_refused()
    assert (record["cause"], record["at"]) == ("tls-failed", "client")
    assert "without TLS" in record["detail"]


@pytest.mark.parametrize("what", [b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"ssh-2.0-x\r\n"])
def test_71_garbage_for_a_handshake(rig: Rig, what: bytes) -> None:
    proxy, _ = serve(rig, "tcp")
    client = rig.dial(proxy)
    client.raw(what)
    record = proxy.wait_refused()
    assert (record["cause"], record["at"]) == ("tls-failed", "client")


@pytest.mark.parametrize("begins", [b"", b"\x16\x03\x01"])
def test_57_silence_ends_in_time(rig: Rig, begins: bytes) -> None:
    proxy, _ = serve(rig, "tcp", "--handshake-timeout", "300ms")
    silent = rig.dial(proxy)
    silent.raw(begins)
    good = open_wss(rig, proxy)
    record = proxy.wait_refused()
    assert record["cause"] == "handshake-timeout"
    assert 250 <= record["duration_ms"] < 5000
    good.fin()


def test_71_handshake_byte_by_byte(rig: Rig) -> None:
    proxy, backend = serve(rig, "tcp")
    raw = dial(proxy.address)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context().wrap_bio(incoming, outgoing, False, "localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))
            incoming.write(raw.recv(65536))
    tls.write(request("extension"))
    for byte in outgoing.read():
        raw.sendall(bytes([byte]))
    incoming.write(raw.recv(65536))
    assert tls.read(65536).startswith(b"HTTP/1.1 101 ")
    raw.close()
    assert backend.accept().wait_end() == "reset"  # type: ignore[attr-defined]


def test_74_two_frames_in_one_record(rig: Rig) -> None:
    """A record of 16 KiB with many messages: none of them waits for another packet."""
    _, client, connection = start(rig, "extension")
    one = payload(100, 6)
    client.raw(frame(BINARY, one) * 150)
    connection.read_in_background()
    connection.wait_count(15000, 5)
    connection.send(b"go on")
    assert client.expect("data").data == b"go on"


def context_of(version: ssl.TLSVersion | None = None, ciphers: str | None = None) -> ssl.SSLContext:
    context = client_context()
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"])
def test_70_tls_1_2(rig: Rig, ciphers: str) -> None:
    proxy, _ = serve(rig, "tcp")
    context = context_of(ssl.TLSVersion.TLSv1_2, ciphers)
    with context.wrap_socket(dial(proxy.address), server_hostname="localhost") as tls:
        assert (tls.version(), tls.cipher()[0]) == ("TLSv1.2", ciphers)  # type: ignore[index]


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_70_weak_is_refused(rig: Rig, version: ssl.TLSVersion, ciphers: str) -> None:
    proxy, _ = serve(rig, "tcp")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context_of(version, ciphers).wrap_socket(dial(proxy.address), server_hostname="localhost")
    assert proxy.wait_refused()["cause"] == "tls-failed"


def test_70_renegotiation_is_refused(rig: Rig) -> None:
    proxy, _ = serve(rig, "tcp")
    command = ["openssl", "s_client", "-connect", proxy.address, "-tls1_2", "-CAfile", certificates().ca]
    process = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=20)
    assert "Verify return code: 0 (ok)" in process.stdout
    assert "no renegotiation" in process.stderr + process.stdout, process.stderr
    proxy.wait_refused()


def test_alpn(rig: Rig) -> None:
    proxy, _ = serve(rig, "tcp")
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(dial(proxy.address), server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
    context.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(dial(proxy.address), server_hostname="localhost")


def test_curl(rig: Rig) -> None:
    proxy, _ = serve(rig, "tcp")
    command = ["curl", "-sS", "-i", "--http1.1", "--cacert", certificates().ca, f"https://{proxy.address}/"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("HTTP/1.1 426 ")


def test_too_many_connections(rig: Rig) -> None:
    proxy, _ = serve(rig, "tcp", "--max-connections", "1")
    open_wss(rig, proxy)
    with pytest.raises((ssl.SSLError, OSError)):
        dial_tls(rig, proxy)
    assert proxy.wait_refused()["cause"] == "limit"


def test_many_handshakes(rig: Rig) -> None:
    proxy, backend = serve(rig, "tcp", script=echo)
    for _ in range(100):
        client = open_wss(rig, proxy)
        client.send(b"x")
        client.fin()
        assert client.collect().close == 1000
        client.drop()


# ---- who is believed ----


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--backend-ca", "system"), TEXT_OF_NO_TRUST),
        (("--backend-ca", "other"), TEXT_OF_NO_TRUST),
        (("--backend-ca", "ca", "--backend-server-name", "example.org"), "for another name"),
    ],
)
def test_72_backend_is_not_believed(rig: Rig, flags: tuple[str, ...], says: str) -> None:
    c = certificates()
    if "system" in flags:
        if not Path(SYSTEM_CA).exists():
            pytest.skip("no authorities on this system")
        flags = ()
    backend = tls_backend(rig)
    flags = tuple({"other": c.other_ca, "ca": c.ca}.get(flag, flag) for flag in flags)
    proxy = rig.proxy(backend, *flags)
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 502
    record = proxy.wait_refused()
    assert (record["cause"], record["at"]) == ("tls-failed", "backend")
    assert says in record["detail"]
    page = rig.client(proxy, "subprotocol")
    assert page.expect("close").number == 4008
    assert not backend.connections or backend.connections[0].count == 0


def test_72_backend_believed_by_address_name_or_not_at_all(rig: Rig) -> None:
    c = certificates()
    backend = tls_backend(rig)
    port = backend.address.rsplit(":", 1)[1]
    for address, flags in {
        f"tls://localhost:{port}": ("--backend-ca", c.ca),
        f"tls://127.0.0.1:{port}": ("--backend-ca", c.ca),
        f"tls://127.0.0.1:{port} ": ("--backend-ca", c.ca, "--backend-server-name", "localhost"),
        f"tls://127.0.0.1:{port}  ": ("--backend-insecure",),
    }.items():
        proxy = rig.proxy(address.strip(), *flags)
        client = rig.client(proxy)
        backend.accept().send(b"hello")
        assert client.expect("data").data == b"hello"
        if "--backend-insecure" in flags:
            assert any("--backend-insecure" in line for line in proxy.lines)


def test_backend_that_does_not_speak_tls(rig: Rig) -> None:
    backend = rig.backend("tcp", lambda connection: connection.send(b"220 hello, this is SMTP\r\n"))
    proxy = rig.proxy(f"tls://{backend.address}", "--backend-ca", certificates().ca)
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 502
    assert "not TLS" in proxy.wait_refused()["detail"]


def test_backend_that_does_not_shake_hands(rig: Rig) -> None:
    backend = rig.backend()
    flags = ("--backend-ca", certificates().ca, "--connect-timeout", "300ms")
    proxy = rig.proxy(f"tls://{backend.address}", *flags)
    client = rig.dial(proxy)
    client.raw(request("extension"))
    assert client.read_response().status == 504
    assert proxy.wait_refused()["cause"] == "connect-timeout"


# ---- tunnel, stdio, probe ----


@pytest.mark.parametrize("first", ["program", "backend"])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_tunnel_over_wss(rig: Rig, kind: str, first: str) -> None:
    proxy, backend = serve(rig, kind)
    tunnel = start_tunnel(rig, f"wss://{proxy.address}/", "--ca-file", certificates().ca)
    program = local(rig, tunnel)
    connection = backend.accept()  # type: ignore[attr-defined]
    near, far = (program, connection) if first == "program" else (connection, program)
    up, down = payload(2 * MIB, 7), payload(3 * MIB, 8)
    far.read_in_background()
    near.read_in_background()
    near.send(up)
    near.finish()
    assert far.wait_end() == "eof"
    far.send(down)
    far.finish()
    assert near.wait_end() == "eof"
    assert (far.digest, near.digest) == (sha256(up), sha256(down))
    assert (tunnel.wait_closed()["cause"], proxy.wait_closed()["cause"]) == ("ok", "ok")


def test_tunnel_backend_reset(rig: Rig) -> None:
    proxy, backend = serve(rig, "tls")
    tunnel = start_tunnel(rig, f"wss://{proxy.address}/", "--ca-file", certificates().ca)
    program = local(rig, tunnel)
    connection = backend.accept()  # type: ignore[attr-defined]
    connection.send(b"before")
    program.read_in_background()
    program.wait_count(6)
    connection.reset()
    assert program.wait_end() == "reset"


def run(subcommand: str, url: str, *flags: str, given: bytes = b"") -> tuple[int, bytes, str]:
    command = [default_binary(), subcommand, *flags, url]
    process = subprocess.run(command, input=given, capture_output=True, timeout=30)
    return process.returncode, process.stdout, process.stderr.decode()


def test_stdio_over_wss(rig: Rig) -> None:
    reply = payload(MIB, 9)
    proxy, backend = serve(rig, "tls", script=answer_at_end(reply))
    question = payload(MIB, 10)
    url = f"wss://{proxy.address}/"
    assert run("stdio", url, "--ca-file", certificates().ca, given=question) == (0, reply, "")
    assert backend.accept().digest == sha256(question)  # type: ignore[attr-defined]


def test_72_probe(rig: Rig) -> None:
    c = certificates()
    proxy, _ = serve(rig, "tcp", script=echo)
    url = f"wss://{proxy.address}/"
    by_name = url.replace("127.0.0.1", "localhost")
    other_pin = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    for good in (
        (url, "--ca-file", c.ca),
        (by_name, "--ca-file", c.ca),
        (url, "--ca-file", c.ca, "--server-name", "localhost"),
        (url, "--ca-file", c.ca, "--pin-sha256", c.pin()),
    ):
        status, out, problems = run("probe", *good)
        assert (status, problems) == (0, ""), good
        assert out.startswith(b"ok wss://")
    no_system = f"{SYSTEM_CA}: cannot be read"
    for wrong, says in {
        (url,): TEXT_OF_NO_TRUST if Path(SYSTEM_CA).exists() else no_system,
        (url, "--ca-file", c.other_ca): TEXT_OF_NO_TRUST,
        (url, "--ca-file", c.ca, "--server-name", "example.org"): "for another name",
        (url, "--ca-file", c.ca, "--pin-sha256", other_pin): "not the pinned one",
        (url, "--insecure", "--pin-sha256", other_pin): "not the pinned one",
    }.items():
        status, out, problems = run("probe", *wrong)
        assert (status, out) == (71 if says == no_system else 76, b""), wrong
        assert says in problems
    status, _, problems = run("probe", url, "--insecure")
    assert status == 0
    assert "level=warn" in problems and "--insecure" in problems


def test_probe_finds_no_tls(rig: Rig) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend)
    status, _, problems = run("probe", f"wss://{proxy.address}/", "--ca-file", certificates().ca)
    assert status == 76
    assert "not TLS" in problems


def test_bad_files_are_told_at_the_start() -> None:
    c = certificates()
    common = [default_binary(), "serve", "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"]
    for flags, status, says in (
        (["--tls-cert", c.cert], 64, "--tls-cert and --tls-key"),
        (["--tls-cert", "/nowhere", "--tls-key", c.key], 71, "/nowhere: cannot be read"),
        (["--tls-cert", c.ca, "--tls-key", c.key], 71, "is not that of the first certificate"),
    ):
        process = subprocess.run([*common, *flags], capture_output=True, text=True, timeout=20)
        assert process.returncode == status
        assert says in process.stderr
        assert process.stderr.count("\n") == 1
    status, _, problems = run("probe", "wss://127.0.0.1:1/", "--pin-sha256", "abc")
    assert (status, "SHA-256" in problems) == (64, True)




def test_73_best_version_and_tickets(rig: Rig) -> None:
    """The newest TLS that the library has; with 1.3, OpenSSL's tickets come in mid-stream."""
    versions = subprocess.run([default_binary(), "version"], capture_output=True, text=True).stdout
    best = "TLSv1.2" if "2.28" in versions else "TLSv1.3"
    proxy, client, connection = start(rig, "extension", "tls")
    assert client.sock.tls.version() == best  # type: ignore[attr-defined]
    assert connection.sock.tls.version() == best  # type: ignore[attr-defined]
    connection.send(b"hello")
    assert client.expect("data").data == b"hello"
    client.fin()
    connection.finish()
    assert client.collect().close == 1000
    assert proxy.wait_closed()["cause"] == "ok"


def test_67_reload(rig: Rig, tmp_path: Path) -> None:
    """SIGHUP: a new certificate for new connections; a bad one changes nothing; open ones go on."""
    old, new = Certificates(), Certificates()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for target, source in ((cert, old.cert), (key, old.key)):
        target.write_bytes(Path(source).read_bytes())
    backend = rig.backend()
    proxy = rig.proxy(backend, "--tls-cert", str(cert), "--tls-key", str(key))

    def is_served_by(authority: Certificates) -> bool:
        try:
            context = ssl.create_default_context(cafile=authority.ca)
            with context.wrap_socket(dial(proxy.address), server_hostname="localhost"):
                return True
        except ssl.SSLCertVerificationError:
            return False

    context = ssl.create_default_context(cafile=old.ca)
    client = WsClient(TlsSocket(dial(proxy.address), context), "extension")  # type: ignore[arg-type]
    rig.clients.append(client)
    client.handshake()
    connection = backend.accept()
    cert.write_bytes(Path(new.cert).read_bytes())
    proxy.signal(signal.SIGHUP)
    record = proxy.wait("not reloaded")
    assert "is not that of the first certificate" in record["detail"]
    assert is_served_by(old)
    key.write_bytes(Path(new.key).read_bytes())
    proxy.signal(signal.SIGHUP)
    proxy.wait("reloaded")
    assert is_served_by(new) and not is_served_by(old)
    client.send(payload(MIB, 11))
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(payload(MIB, 11))
    connection.finish()
    assert client.collect().close == 1000
