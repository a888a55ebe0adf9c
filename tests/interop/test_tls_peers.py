"""TLS of other makes on both sides of the proxy: s_client and curl come to it; s_server, stunnel, socat and HAProxy
are its backend; nginx, HAProxy and stunnel stand in front. Checklist 45 and 73."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import pytest
from backend import answer_at_end, echo
from certificates import certificates
from fronts import find
from rig import Rig, over_wss
from services import Service
from support import MIB, PATIENCE, payload, sha256, wait_until
from tls import has_tls_1_3
from tunnel import local, start_tunnel
from wsclient import BINARY, CLOSE, HALF_CLOSE, frame, request

pytestmark = over_wss

UP, DOWN = payload(MIB, 180), payload(3 * MIB, 181)
VERSIONS = ["-tls1_2", "-tls1_3"] if has_tls_1_3() else ["-tls1_2"]

any_version = pytest.mark.parametrize("version", VERSIONS)


# ---- openssl s_client ----


@contextlib.contextmanager
def s_client(address: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [find("openssl"), "s_client", "-connect", address, "-CAfile", certificates().ca, "-verify_return_error"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, *flags], **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def frames(data: bytes, size: int = 50_000) -> bytes:
    return b"".join(frame(BINARY, data[at : at + size]) for at in range(0, len(data), size))


def read_frames(pipe: IO[bytes]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Data, and what else comes, up to Close."""
    while pipe.readline().strip():  # the head of the answer
        pass
    data, others = [], []
    while True:
        first, length = pipe.read(2)
        if length == 126:
            length = struct.unpack(">H", pipe.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", pipe.read(8))[0]
        body = pipe.read(length)
        if first & 0x0F == BINARY or first & 0x0F == 0:
            data.append(body)
        else:
            others.append((first & 0x0F, body))
        if first & 0x0F == CLOSE:
            return b"".join(data), others


@any_version
def test_45_s_client(rig: Rig, version: str) -> None:
    """1 MiB up, its end, 3 MiB down, Close 1000; by hand, as it were."""
    backend = rig.backend("tcp", answer_at_end(DOWN))
    proxy = rig.proxy(backend)
    with s_client(proxy.address, "-quiet", version) as process:
        assert process.stdin and process.stdout
        stdin = process.stdin
        upload = request("extension") + frames(UP) + frame(HALF_CLOSE, b"FIN %d" % len(UP))

        def send() -> None:
            stdin.write(upload)
            stdin.flush()

        threading.Thread(target=send, daemon=True).start()
        data, others = read_frames(process.stdout)
        assert sha256(data) == sha256(DOWN)
        assert others == [(HALF_CLOSE, b"FIN %d" % len(DOWN)), (CLOSE, struct.pack(">H", 1000))]
        stdin.write(frame(CLOSE, struct.pack(">H", 1000)))
        stdin.flush()
        assert process.stdout.read() == b""
        assert process.wait(PATIENCE) == 0
    assert backend.accept().digest == sha256(UP)
    assert proxy.wait_closed()["cause"] == "ok"


@any_version
def test_47_s_client_ends_its_input(rig: Rig, version: str) -> None:
    """It says close_notify then and goes. That is no end of a stream; what it had sent arrives."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    with s_client(proxy.address, "-no_ign_eof", version) as process:
        assert process.stdin
        process.stdin.write(request("extension") + frames(b"half of it"))
        process.stdin.flush()
        connection = backend.accept()
        connection.read_in_background()
        connection.wait_count(10)
        process.stdin.close()
        process.stdin = None
        assert connection.wait_end() == "reset"
    record = proxy.wait_closed()
    assert (record["cause"], record["at"]) in (("lost", "client"), ("reset", "client"))


# ---- curl ----


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [find("curl"), "-sS", "--max-time", "20", "--cacert", certificates().ca, *arguments]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


@pytest.mark.parametrize("flags", [(), ("--tls-max", "1.2"), ("--http1.1",)])
def test_curl_reads_a_refusal(rig: Rig, flags: tuple[str, ...]) -> None:
    proxy = rig.proxy(rig.backend())
    result = curl("-i", *flags, f"https://{proxy.address}/")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(b"HTTP/1.1 426 ")


def test_curl_posts_a_megabyte_and_reads_the_refusal(rig: Rig) -> None:
    """It still sends when the answer and close_notify come; no reset may destroy that."""
    proxy = rig.proxy(rig.backend())
    file = rig.directory / "megabyte"
    file.write_bytes(bytes(MIB))
    url = f"https://{proxy.address}/"
    result = curl("-w", "%{http_code}", "-H", "Expect:", "--data-binary", f"@{file}", url)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith((b"400", b"405"))


def test_curl_does_not_believe(rig: Rig) -> None:
    pair = certificates().make("elsewhere", names="DNS:example.org")
    proxy = rig.proxy(rig.backend(), *pair.flags("tls"))
    assert curl(f"https://{proxy.address}/").returncode == 60


def test_curl_websocket(rig: Rig) -> None:
    if b" wss " not in curl("--version").stdout.replace(b"\n", b" "):
        pytest.skip("this curl speaks no WebSocket (Debian 12's does not)")
    backend = rig.backend("tcp", lambda c: (c.send(b"from the backend\n"), c.finish())[0])
    proxy = rig.proxy(backend)
    assert b"from the backend" in curl(f"wss://{proxy.address}/").stdout


# ---- backends ----


@contextlib.contextmanager
def service(rig: Rig, command: Callable[[int], Sequence[str]]) -> Iterator[Service]:
    one = Service(command, rig.directory / "service.log")
    try:
        yield one
    finally:
        for client in rig.clients:
            client.drop()
        one.stop()


STUNNEL = """
foreground = yes
pid =
debug = warning
[tls]
accept = 127.0.0.1:{port}
connect = {target}
cert = {cert}
key = {key}
"""
HAPROXY = """
global
    maxconn 512
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen relay
    bind 127.0.0.1:{port} ssl crt {both}
    server s {target}
"""


def terminator(rig: Rig, kind: str, target: str) -> Callable[[int], Sequence[str]]:
    """A program that takes TLS off and passes the rest on."""
    c = certificates()
    config = rig.directory / "config"
    words = {"target": target, "cert": c.cert, "key": c.key, "both": c.chain("both.pem", c.cert, c.key)}

    def command(port: int) -> Sequence[str]:
        if kind == "socat":
            listen = f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,cert={c.cert},key={c.key},verify=0"
            return ["socat", "-t", "30", listen, f"TCP:{target}"]
        config.write_text((STUNNEL if kind == "stunnel" else HAPROXY).format(port=port, **words))
        return ["stunnel4", str(config)] if kind == "stunnel" else ["haproxy", "-db", "-f", str(config)]

    return command


@pytest.mark.parametrize("through", ["serve", "tunnel"])
@pytest.mark.parametrize("kind", ["socat", "haproxy"])
def test_45_backend_answers_at_end_of_input(rig: Rig, kind: str, through: str) -> None:
    """Our end is close_notify and FIN: they must pass it on, and the answer back."""
    backend = rig.backend("tcp", answer_at_end(DOWN))
    with service(rig, terminator(rig, kind, backend.address)) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", certificates().ca)
        if through == "serve":
            client = rig.client(proxy)
            client.send(UP)
            client.fin()
            got = client.collect()
            assert (got.fin, got.close, got.digest) == (len(DOWN), 1000, sha256(DOWN))
        else:
            program = local(rig, start_tunnel(rig, proxy.address))
            program.read_in_background()
            program.send(UP)
            program.finish()
            assert program.wait_end() == "eof"
            assert program.digest == sha256(DOWN)
            program.close()
        assert backend.accept().digest == sha256(UP)
        assert proxy.wait_closed()["cause"] == "ok"


def test_45_stunnel_answers_at_end_of_input(rig: Rig) -> None:
    """A short answer. Of 3 MiB stunnel 5.68 loses the last 150 kB one time in ten, and says close_notify behind the
    rest, when both sides have ended; whoever its client is."""
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    with service(rig, terminator(rig, "stunnel", backend.address)) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", certificates().ca)
        client = rig.client(proxy)
        client.send(UP)
        client.fin()
        got = client.collect()
        assert (got.fin, got.close, got.digest) == (6, 1000, sha256(b"answer"))
        assert backend.accept().digest == sha256(UP)
        assert proxy.wait_closed()["cause"] == "ok"


@pytest.mark.parametrize("kind", ["socat", "haproxy"])
def test_45_backend_ends_first(rig: Rig, kind: str) -> None:
    backend = rig.backend()
    with service(rig, terminator(rig, kind, backend.address)) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", certificates().ca)
        client, connection = rig.pair(proxy, backend)
        connection.read_in_background()
        connection.send(UP)
        connection.finish()
        assert client.read_until("fin").number == len(UP)
        assert client.received.digest == sha256(UP)
        client.send(DOWN)
        client.fin()
        assert connection.wait_end() == "eof"
        assert (connection.count, connection.digest) == (len(DOWN), sha256(DOWN))
        assert client.collect().close == 1000


@any_version
def test_73_s_server_with_tickets(rig: Rig, version: str) -> None:
    """A backend that answers lines, and sends as many tickets as it may: with TLS 1.3 they come among the data."""
    c = certificates()
    tickets = ["-num_tickets", "20"] if version == "-tls1_3" else []

    def command(port: int) -> Sequence[str]:
        files = ["-cert", c.cert, "-key", c.key]
        return ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files, version, *tickets, "-quiet", "-rev"]

    with service(rig, command) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", c.ca)
        for _ in range(5):
            client = rig.client(proxy)
            lines = [payload(500, i).hex().encode() + b"\n" for i in range(50)]
            want = b"".join(line[:-1][::-1] + b"\n" for line in lines)
            for line in lines:
                client.send(line)
            client.read_data(len(want))
            assert client.received.digest == sha256(want)
            client.fin()  # it goes without a word when it has heard that
            client.read_until("close")
            client.drop()


@any_version
def test_73_tickets_with_data_both_ways(rig: Rig, version: str) -> None:
    """s_server as a pipe: megabytes in both directions from the first moment."""
    c = certificates()
    tickets = ["-num_tickets", "20"] if version == "-tls1_3" else []
    source = rig.directory / "source"
    source.write_bytes(DOWN)
    sink = rig.directory / "sink"

    def command(port: int) -> Sequence[str]:
        server = f"openssl s_server -accept 127.0.0.1:{port} -cert {c.cert} -key {c.key} {version} {' '.join(tickets)} -quiet"
        return ["sh", "-c", f"(cat {source}; exec sleep 60) | {server} > {sink}"]

    with service(rig, command) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", c.ca)
        client = rig.client(proxy)
        client.collect_in_background()
        client.send(UP)
        wait_until(lambda: client.received.count >= len(DOWN), "the download")
        assert client.received.digest == sha256(DOWN)
        client.fin()
        client.wait_collected()
        assert sha256(sink.read_bytes()) == sha256(UP)


def test_54_tls_on_every_hop(rig: Rig) -> None:
    """TLS on every hop: tunnel, proxy, HAProxy."""
    backend = rig.backend("tcp", echo)
    with service(rig, terminator(rig, "haproxy", backend.address)) as there:
        proxy = rig.proxy(f"tls://{there.address}", "--backend-ca", certificates().ca)
        tunnel = start_tunnel(rig, proxy.address)
        programs = [local(rig, tunnel) for _ in range(10)]
        for program in programs:
            program.read_in_background()
            program.send_in_background(UP, program.finish)
        for program in programs:
            assert program.wait_end() == "eof"
            assert program.digest == sha256(UP)
            program.close()
