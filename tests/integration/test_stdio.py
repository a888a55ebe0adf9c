"""`tidegate stdio` and `tidegate probe`: pipes, files, sockets and terminals for ends; what they exit with."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backend import Backend, answer_at_end, echo
from proxy import Proxy
from rig import Rig, over_both, over_ws
from support import MIB, PATIENCE, default_binary, payload, reset, sha256, wait_until
from wsclient import HALF_CLOSE_CARRIERS
from wsserver import peer, scripted_server

pytestmark = over_both

UP, DOWN = payload(MIB, 140), payload(3 * MIB, 141)
OK, USAGE, NO_HOST, UNREACHABLE, LOST, PROTOCOL, DENIED = 0, 64, 68, 69, 74, 76, 77

Process = subprocess.Popen[bytes]
both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)


class Starter:
    """Starts stdio and probe, and sees to it that none is left."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.processes: list[Process] = []

    def __call__(self, server: str, *flags: str, command: str = "stdio", **options: Any) -> Process:
        url = server if "://" in server else self.rig.url(server)
        env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEGATE")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if "--linger" not in flags:
            flags = ("--linger", "1s", *flags)
        if url.startswith("wss:"):
            flags = (*self.rig.trust(), *flags)
        arguments = [default_binary(), command, *flags, url]
        self.processes.append(subprocess.Popen(arguments, env=env, **{**pipes, **options}))
        return self.processes[-1]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass


@pytest.fixture
def stdio(rig: Rig) -> Iterator[Starter]:
    starter = Starter(rig)
    try:
        yield starter
    finally:
        starter.stop()


def finish(process: Process, status: int, send: bytes | None = None, *, keeps_input: bool = False) -> bytes:
    """Its output, after it has exited with that status, silent if that is 0, with one line otherwise. `keeps_input`:
    by itself, before the end of its input."""
    if keeps_input:
        process.wait(PATIENCE)
    out, err = process.communicate(send, timeout=PATIENCE * 2)
    text = err.decode()
    assert process.returncode == status, f"exit {process.returncode}\n{text}"
    assert text.count("\n") == (status != 0), text
    return out


def question(rig: Rig, answer: bytes = DOWN) -> tuple[Backend, Proxy]:
    backend = rig.backend("tcp", answer_at_end(answer))
    return backend, rig.proxy(backend)


# ---- pipes, files, sockets, terminals ----


def test_pipes(rig: Rig, stdio: Starter) -> None:
    """The end of input is a FIN; output goes on to the other's FIN."""
    backend, proxy = question(rig)
    out = finish(stdio(proxy.address), OK, UP)
    assert sha256(out) == sha256(DOWN)
    assert backend.accept().digest == sha256(UP)
    record = proxy.wait_closed()
    assert (record["cause"], record["first_end"]) == ("ok", "client")


def test_nothing_at_all(rig: Rig, stdio: Starter) -> None:
    _, proxy = question(rig, b"")
    assert finish(stdio(proxy.address, stdin=subprocess.DEVNULL), OK) == b""
    _, proxy = question(rig, DOWN)
    finish(stdio(proxy.address, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL), OK)
    assert proxy.wait_closed()["cause"] == "ok"


def test_files(rig: Rig, stdio: Starter) -> None:
    backend, proxy = question(rig)
    source, sink = rig.directory / "in", rig.directory / "out"
    source.write_bytes(UP)
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        finish(stdio(proxy.address, stdin=stdin, stdout=stdout), OK)
    assert sha256(sink.read_bytes()) == sha256(DOWN)
    assert backend.accept().digest == sha256(UP)


def test_file_that_is_appended_to(rig: Rig, stdio: Starter) -> None:
    """As the shell's >> opens it."""
    _, proxy = question(rig, b"answer")
    sink = rig.directory / "out"
    sink.write_bytes(b"before ")
    with sink.open("ab") as stdout:
        finish(stdio(proxy.address, stdin=subprocess.DEVNULL, stdout=stdout), OK)
    assert sink.read_bytes() == b"before answer"


@pytest.mark.parametrize("is_one", [True, False])
def test_sockets(rig: Rig, stdio: Starter, is_one: bool) -> None:
    """One for both, as ssh gives a ProxyCommand; or one for each."""
    backend, proxy = question(rig)
    ours, theirs = socket.socketpair()
    more = socket.socketpair() if not is_one else (ours, theirs)
    ours.settimeout(PATIENCE)
    more[0].settimeout(PATIENCE)
    process = stdio(proxy.address, stdin=theirs, stdout=more[1])
    for sock in {theirs, more[1]}:
        sock.close()
    ours.sendall(UP)
    ours.shutdown(socket.SHUT_WR)
    out = b""
    while piece := more[0].recv(65536):
        out += piece
    finish(process, OK)
    assert sha256(out) == sha256(DOWN)
    assert backend.accept().digest == sha256(UP)
    for sock in {ours, more[0]}:
        sock.close()


def test_terminal(rig: Rig, stdio: Starter) -> None:
    """Control-D ends the input; the terminal is left as it was."""
    _, proxy = question(rig, b"answer\n")
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = stdio(proxy.address, stdin=theirs, stdout=theirs)
    os.write(ours, b"question\n\x04")
    shown = b""
    while b"answer" not in shown and select.select([ours], [], [], PATIENCE)[0]:
        shown += os.read(ours, 1000)
    finish(process, OK)
    assert shown.endswith(b"answer\r\n")
    assert termios.tcgetattr(theirs) == before
    assert os.get_blocking(theirs)
    os.close(ours)
    os.close(theirs)


def test_descriptors_stay_blocking(rig: Rig, stdio: Starter) -> None:
    """They are shared with whoever started it; a shell's next program would fail with EAGAIN."""
    _, proxy = question(rig, b"answer")
    reading, writing = os.pipe()
    back, out = os.pipe()
    process = stdio(proxy.address, stdin=reading, stdout=out)
    os.write(writing, b"question")
    os.close(writing)
    assert os.read(back, 100) == b"answer"
    finish(process, OK)
    assert os.get_blocking(reading) and os.get_blocking(out)
    for number in (reading, back, out):
        os.close(number)


def test_slow_reader(rig: Rig, stdio: Starter) -> None:
    """Output that nobody takes for a while stops the backend, and nothing is lost."""
    _, proxy = question(rig, DOWN * 5)
    process = stdio(proxy.address, stdin=subprocess.DEVNULL)
    assert process.stdout
    time.sleep(1)  # the subject of the test
    assert process.poll() is None
    assert sha256(process.stdout.read()) == sha256(DOWN * 5)
    finish(process, OK)


def test_both_ways_at_once(rig: Rig, stdio: Starter) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo))
    assert sha256(finish(stdio(proxy.address), OK, DOWN)) == sha256(DOWN)


def test_output_ends_first(rig: Rig, stdio: Starter) -> None:
    """The backend's end closes the output at once, while input goes on."""
    backend = rig.backend()
    process = stdio(rig.proxy(backend).address)
    connection = backend.accept()
    connection.send(b"all")
    connection.finish()
    assert process.stdout and process.stdin
    assert process.stdout.read() == b"all"
    process.stdin.write(b"and more")
    process.stdin.close()
    process.stdin = None
    assert connection.wait_end() == "eof"
    assert connection.kept == b"and more"
    finish(process, OK)


def test_output_is_closed(rig: Rig, stdio: Starter) -> None:
    """`stdio | head -c 10`: the backend is told, as by a closed socket; nobody is killed by SIGPIPE."""
    backend = rig.backend()
    process = stdio(rig.proxy(backend).address)
    connection = backend.accept()
    assert process.stdout
    connection.send(b"0123456789")
    assert process.stdout.read(10) == b"0123456789"
    process.stdout.close()
    process.stdout = None
    assert connection.wait_broken() in ("EPIPE", "ECONNRESET")
    finish(process, LOST)


def test_two_hundred_times(rig: Rig, stdio: Starter) -> None:
    _, proxy = question(rig, b"answer")
    for i in range(200):
        assert finish(stdio(proxy.address), OK, b"q" * i) == b"answer"


# ---- exit codes ----


@over_ws
def test_64_usage(rig: Rig) -> None:
    for arguments in ([], ["http://x/"], ["ws://x/", "ws://y/"], ["--frob", "ws://x/"], ["--header", "x", "ws://x/"]):
        run = subprocess.run([default_binary(), "stdio", *arguments], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout) == (USAGE, ""), arguments
        assert run.stderr.startswith("tidegate: stdio: ") and run.stderr.count("\n") == 1, run.stderr


@over_ws
@pytest.mark.parametrize("command", ["stdio", "probe"])
def test_68_no_such_host(stdio: Starter, command: str) -> None:
    finish(stdio("ws://no.such.host.invalid/", command=command), NO_HOST)


@over_ws
@pytest.mark.parametrize("command", ["stdio", "probe"])
def test_69_refused(stdio: Starter, command: str, unused_tcp_address: str) -> None:
    finish(stdio(unused_tcp_address, command=command), UNREACHABLE)


@over_ws
@pytest.mark.parametrize("command", ["stdio", "probe"])
def test_69_too_slow(stdio: Starter, command: str, deaf_tcp_address: str) -> None:
    finish(stdio(deaf_tcp_address, "--connect-timeout", "300ms", command=command), UNREACHABLE)


@pytest.mark.parametrize("command", ["stdio", "probe"])
def test_69_no_backend(rig: Rig, stdio: Starter, command: str, unused_tcp_address: str) -> None:
    finish(stdio(rig.proxy(unused_tcp_address).address, command=command), UNREACHABLE)


STATUSES = {
    "401 Unauthorized": DENIED,
    "403 Forbidden": DENIED,
    "404 Not Found": UNREACHABLE,
    "500 Internal Server Error": UNREACHABLE,
    "502 Bad Gateway": UNREACHABLE,
    "503 Service Unavailable": UNREACHABLE,
    "504 Gateway Timeout": UNREACHABLE,
    "200 OK": PROTOCOL,
    "302 Found": PROTOCOL,
    "400 Bad Request": PROTOCOL,
    "426 Upgrade Required": PROTOCOL,
}


@pytest.mark.parametrize("command", ["stdio", "probe"])
@pytest.mark.parametrize("status", STATUSES)
def test_refusals(rig: Rig, stdio: Starter, command: str, status: str) -> None:
    server = scripted_server(rig)
    process = stdio(server.address, command=command)
    far = peer(server)
    far.read_head()
    far.raw(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    assert finish(process, STATUSES[status]) == b""


@pytest.mark.parametrize("command", ["stdio", "probe"])
@pytest.mark.parametrize("what", ["wrong accept", "plain", "no HTTP"])
def test_76_protocol(rig: Rig, stdio: Starter, command: str, what: str) -> None:
    server = scripted_server(rig)
    process = stdio(server.address, command=command)
    far = peer(server)
    if what == "no HTTP":
        far.read_head()
        far.raw(b"220 mail.example.org ESMTP\r\n\r\n")
        far.connection.finish()
    else:
        change = {"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="} if what == "wrong accept" else {}
        far.open("plain" if what == "plain" else "extension", **change)
    assert finish(process, PROTOCOL) == b""


@both_carriers
def test_76_violation_in_mid_stream(rig: Rig, stdio: Starter, carrier: str) -> None:
    server = scripted_server(rig)
    process = stdio(server.address)
    far = peer(server)
    far.open(carrier)
    far.raw(b"\xff" * 10)
    finish(process, PROTOCOL)


@both_carriers
@pytest.mark.parametrize("how", ["fin", "reset", "close 1001", "close 4000"])
@pytest.mark.parametrize("when", ["before any end", "after the server's", "after ours"])
def test_74_lost(rig: Rig, stdio: Starter, carrier: str, how: str, when: str) -> None:
    """What came is written; but one end alone is no success."""
    server = scripted_server(rig)
    process = stdio(server.address)
    far = peer(server)
    far.open(carrier)
    far.send(b"part")
    if when == "after the server's":
        far.fin()
    assert process.stdin
    process.stdin.write(b"up")
    process.stdin.flush()
    if when == "after ours":
        process.stdin.close()
        process.stdin = None
        assert far.read_control() == "FIN 2"
    else:
        far.read_data(2)
    if how.startswith("close"):
        far.close_frame(int(how.split()[1]))
    elif how == "fin":
        far.connection.finish()
    else:
        assert process.stdout
        assert process.stdout.read(4) == b"part"
        far.connection.reset()
    out = finish(process, LOST, keeps_input=True)
    assert out == (b"" if how == "reset" else b"part")


@both_carriers
@pytest.mark.parametrize("code", [1001, 4000, 4002])
def test_74_refused_at_last(rig: Rig, stdio: Starter, carrier: str, code: int) -> None:
    """Both have said FIN, but the server's Close says that the up stream was not delivered."""
    server = scripted_server(rig)
    process = stdio(server.address)
    far = peer(server)
    far.open(carrier)
    far.fin()
    assert process.stdin
    process.stdin.write(b"up")
    process.stdin.close()
    process.stdin = None
    assert far.read_control() == "FIN 2"
    far.close_frame(code)
    assert far.read_close() == code
    far.connection.close()
    finish(process, LOST)


def test_74_proxy_killed(rig: Rig, stdio: Starter) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend)
    process = stdio(proxy.address)
    connection = backend.accept()
    connection.send_in_background(DOWN * 10)
    assert process.stdout
    process.stdout.read(MIB)
    proxy.kill()
    rig.proxies.remove(proxy)
    finish(process, LOST)


def test_74_backend_resets(rig: Rig, stdio: Starter) -> None:
    backend = rig.backend()
    process = stdio(rig.proxy(backend).address)
    connection = backend.accept()
    connection.send(b"part")
    assert process.stdout and process.stdout.read(4) == b"part"
    reset(connection.sock)
    finish(process, LOST)


def test_74_output_full(rig: Rig, stdio: Starter) -> None:
    """/dev/full: what cannot be written is not a success."""
    _, proxy = question(rig, b"answer")
    with Path("/dev/full").open("wb") as full:
        process = stdio(proxy.address, stdin=subprocess.DEVNULL, stdout=full)
        assert process.wait(PATIENCE) not in (OK, -signal.SIGPIPE)
    assert process.stderr and process.stderr.read()


# ---- signals ----


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(rig: Rig, stdio: Starter, number: signal.Signals) -> None:
    """ssh sends SIGHUP to its ProxyCommand. The backend must not see a clean end."""
    backend = rig.backend()
    process = stdio(rig.proxy(backend).address)
    connection = backend.accept()
    assert process.stdin and process.stdout
    process.stdin.write(b"half")
    process.stdin.flush()
    connection.read_in_background()
    connection.wait_count(4)
    process.send_signal(number)
    assert connection.wait_end() == "reset"
    assert process.wait(PATIENCE) != OK


def test_signal_while_it_dials(rig: Rig, stdio: Starter) -> None:
    server = scripted_server(rig)
    process = stdio(server.address)
    peer(server).read_head()
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) != OK


def test_no_work_while_it_waits(rig: Rig, stdio: Starter) -> None:
    """Half-closed either way, a second each."""
    backend = rig.backend()
    process = stdio(rig.proxy(backend).address)
    connection = backend.accept()
    assert process.stdin

    def seconds() -> float:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    process.stdin.close()
    process.stdin = None
    assert connection.wait_end() == "eof"
    used = seconds()
    time.sleep(1)  # the subject of the test
    assert seconds() - used < 0.1
    connection.finish()
    finish(process, OK)


# ---- probe ----


def test_probe(rig: Rig, stdio: Starter) -> None:
    """One line, exit 0; the backend sees a connection without data that ends well."""
    backend = rig.backend("tcp", answer_at_end(b""))
    proxy = rig.proxy(backend)
    out = finish(stdio(proxy.address, command="probe", stdin=subprocess.DEVNULL), OK).decode()
    assert out.count("\n") == 1 and "half-close" in out, out
    connection = backend.accept()
    wait_until(lambda: connection.end is not None, "the backend is told")
    assert (connection.end, connection.count) == ("eof", 0)
    assert proxy.wait_closed()["cause"] == "ok"


@both_carriers
def test_probe_tells_the_carrier(rig: Rig, stdio: Starter, carrier: str) -> None:
    server = scripted_server(rig)
    process = stdio(server.address, command="probe")
    far = peer(server)
    far.open(carrier)
    assert far.read_control() == "FIN 0"
    far.fin()
    far.close_frame(1000)
    assert far.read_close() == 1000
    far.connection.close()
    assert carrier in finish(process, OK).decode()


def test_probe_of_a_banner(rig: Rig, stdio: Starter) -> None:
    """A backend that speaks first, and ends when it is told to, is well."""

    def script(connection: Any) -> None:
        connection.send(b"220 hello\r\n")
        connection.read_to_end()
        connection.finish()
        connection.close()

    proxy = rig.proxy(rig.backend("tcp", script))
    finish(stdio(proxy.address, command="probe"), OK)
