"""The codec against RFC 6455, in both roles, through the echo endpoint tests/tools/ws_echo.

Needs nothing but that program (its path: environment WS_ECHO) and Python's standard library. The
cases stand in conformance_cases.py; here is what plays the other side."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conformance_cases import CASES, Case, close_frame, echoed, euros, letters, octets
from conformance_wire import (
    BINARY,
    NO_CODE,
    PATIENCE,
    PING,
    TEXT,
    Frame,
    Heard,
    converse,
    open_as_client,
    open_as_server,
    read_head,
    write_all,
)

WS_ECHO = os.environ.get(
    "WS_ECHO", str(Path(__file__).resolve().parent / "../../build/tests/tools/ws_echo")
)
SMALL_CASES = [case for case in CASES if case.is_small]


# ---- the program under test ----


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int

    def dial(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    process = subprocess.Popen(
        [WS_ECHO, "server", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline().split()
    assert line[:1] == ["listening"], f"{line!r}, {process.communicate()[1]}"
    yield Server(process, int(line[1].rsplit(":", 1)[1]))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


class Script:
    """A listening socket, and the echo client that follows what it says."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.process = subprocess.Popen(
            [WS_ECHO, "client", f"ws://127.0.0.1:{self.port}", "--agent", "judge"],
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def accept(self, expected_target: str) -> Iterator[tuple[socket.socket, bytes]]:
        sock, _ = self.listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target, rest = open_as_server(sock)
            assert target == expected_target
            yield sock, rest

    def say_count(self, count: int) -> None:
        with self.accept("/getCaseCount") as (sock, rest):
            answer = [Frame(TEXT, str(count).encode()), close_frame()]
            heard = converse(sock, rest, answer, is_client=False)
            assert (heard.events, heard.close) == ([], 1000)

    def take_report_request(self) -> None:
        with self.accept("/updateReports?agent=judge") as (sock, rest):
            assert converse(sock, rest, [close_frame()], is_client=False).close == 1000

    def expect_exit(self, code: int) -> str:
        _, errors = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == code, errors
        return errors

    def close(self) -> None:
        self.listener.close()
        self.process.kill()
        self.process.communicate()


@contextmanager
def scripted_client() -> Iterator[Script]:
    script = Script()
    try:
        yield script
    finally:
        script.close()


# ---- the other side ----


def judge(case: Case, heard: Heard) -> None:
    assert heard.events == case.expect
    assert heard.close == case.code
    heard.check_partial_text()
    assert case.unfinished.startswith(heard.partial)


def run_as_client(server: Server, case: Case, chop: int | None = None) -> Heard:
    with server.dial() as sock:
        rest = open_as_client(sock)
        heard = converse(sock, rest, case.send, is_client=True, chop=chop)
    judge(case, heard)
    assert server.process.poll() is None
    return heard


def run_as_server(case: Case, chop: int | None = None) -> Heard:
    with scripted_client() as script:
        script.say_count(1)
        with script.accept("/runCase?case=1&agent=judge") as (sock, rest):
            heard = converse(sock, rest, case.send, is_client=False, chop=chop)
        judge(case, heard)
        script.take_report_request()
        assert script.expect_exit(0) == ""
    return heard


def by_name(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


# ---- the table, in both roles ----


@by_name(CASES)
def test_19_server(server: Server, case: Case) -> None:
    run_as_client(server, case)


@by_name(SMALL_CASES)
def test_19_server_byte_by_byte(server: Server, case: Case) -> None:
    run_as_client(server, case, chop=1)


@by_name(CASES)
def test_86_client(case: Case) -> None:
    run_as_server(case)


@by_name(SMALL_CASES)
def test_86_client_byte_by_byte(case: Case) -> None:
    run_as_server(case, chop=1)


CHOPPED = [
    echoed("text", [Frame(TEXT, euros(1 << 20))], [("text", euros(1 << 20))]),
    echoed("binary", [Frame(BINARY, octets(1 << 20))], [("binary", octets(1 << 20))]),
    echoed(
        "frames",
        [Frame(TEXT, letters(n)) for n in range(0, 600, 3)],
        [("text", letters(n)) for n in range(0, 600, 3)],
    ),
]


@pytest.mark.parametrize("chop", [61, 128, 1000, 4096])
@by_name(CHOPPED)
def test_19_server_chopped(server: Server, case: Case, chop: int) -> None:
    run_as_client(server, case, chop)


@pytest.mark.parametrize("chop", [61, 128, 1000, 4096])
@by_name(CHOPPED)
def test_86_client_chopped(case: Case, chop: int) -> None:
    run_as_server(case, chop)


# ---- what a table of messages cannot say ----


def read_until(sock: socket.socket, heard: Heard, is_there) -> None:
    while not is_there():
        data = sock.recv(1 << 18)
        assert data, "TCP ended early"
        heard.feed(data)


def test_19_pieces_come_back_before_the_message_ends(server: Server) -> None:
    with server.dial() as sock:
        heard = Heard(from_client=False)
        heard.feed(open_as_client(sock))
        for i, piece in enumerate((b"one", b"two", b"three")):
            sock.sendall(Frame(BINARY if i == 0 else 0, piece, fin=False).encode(True))
            so_far = (b"one", b"onetwo", b"onetwothree")[i]
            read_until(sock, heard, lambda: heard.partial == so_far)
        assert heard.events == []


@pytest.mark.parametrize("declared", [1 << 32, (1 << 63) - 1])
def test_22_long_length_streams(server: Server, declared: int) -> None:
    with server.dial() as sock:
        heard = Heard(from_client=False)
        heard.feed(open_as_client(sock))
        sock.sendall(Frame(BINARY, b"hello", declared=declared).encode(True))
        read_until(sock, heard, lambda: heard.partial == b"hello")


def test_23_fragment_then_long_length_streams(server: Server) -> None:
    with server.dial() as sock:
        heard = Heard(from_client=False)
        heard.feed(open_as_client(sock))
        sock.sendall(Frame(BINARY, b"1", fin=False).encode(True))
        sock.sendall(Frame(0, b"23", declared=(1 << 63) - 1).encode(True))
        read_until(sock, heard, lambda: heard.partial == b"123")


def test_10_frames_in_one_segment_with_the_request(server: Server) -> None:
    with server.dial() as sock:
        frames = Frame(TEXT, b"early").encode(True) + close_frame().encode(True)
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            + frames
        )
        start, fields, rest = read_head(sock)
        assert start.startswith("HTTP/1.1 101 ")
        assert fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        heard = converse(sock, rest, [], is_client=True)
    assert (heard.events, heard.close) == ([("text", b"early")], 1000)


def test_84_masks_are_fresh() -> None:
    messages = [b"%d" % i for i in range(1000)]
    case = echoed("masks", [Frame(TEXT, m) for m in messages], [("text", m) for m in messages])
    heard = run_as_server(case)
    numbers = [int.from_bytes(key, "big") for key in heard.keys]
    assert len(numbers) >= heard.frames - 1  # two of 1001 are equal by chance once in 8,600 runs
    bits = [sum(n >> bit & 1 for n in numbers) for bit in range(32)]
    assert all(350 < ones < 650 for ones in bits), bits


@pytest.mark.parametrize("is_quiet", [True, False], ids=["quiet", "pinged"])
def test_51_sender_is_held_back_while_its_echo_is_not_read(server: Server, is_quiet: bool) -> None:
    total, piece = 128 << 20, octets(1 << 20)  # more than kernels hold: tcp_rmem, twice, may be 32 MiB each
    with server.dial() as sock:
        heard = Heard(from_client=False)
        heard.feed(open_as_client(sock))
        before = server.resident_bytes()
        frame = Frame(BINARY, piece).encode(True)
        if not is_quiet:
            frame += Frame(PING, b"alive?").encode(True)
        wire = memoryview(frame * (total // len(piece)) + close_frame().encode(True))
        sent = 0
        sock.setblocking(False)
        while select.select([], [sock], [], 1.0)[1]:
            sent += sock.send(wire[sent : sent + (1 << 18)])
        assert sent < len(wire), "nothing held the sender back"
        assert server.resident_bytes() - before < 4 << 20
        sock.settimeout(PATIENCE)
        writer = threading.Thread(target=write_all, args=(sock, wire[sent:], None))
        writer.start()
        while data := sock.recv(1 << 18):
            heard.feed(data)
        writer.join()
    messages = [body for kind, body in heard.events if kind == "binary"]
    assert len(messages) == total // len(piece) and set(messages) == {piece}
    assert len(heard.events) == len(messages) * (1 if is_quiet else 2)
    assert heard.close == 1000


def test_46_lost_connections_do_no_harm(server: Server) -> None:
    for how in range(40):
        with server.dial() as sock:
            if how % 4:
                open_as_client(sock)
                sock.sendall(Frame(TEXT, letters(how * 1000)).encode(True)[: how * 700 + 1])
            if how % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    run_as_client(server, echoed("after", [Frame(TEXT, b"still here")], [("text", b"still here")]))


def test_19_many_at_once(server: Server) -> None:
    socks = [server.dial() for _ in range(100)]
    for sock in socks:
        open_as_client(sock)
    for i, sock in enumerate(socks):
        sock.sendall(Frame(TEXT, b"%d" % i).encode(True) + close_frame().encode(True))
    for i, sock in enumerate(socks):
        heard = converse(sock, b"", [], is_client=True)
        sock.close()
        assert (heard.events, heard.close) == ([("text", b"%d" % i)], 1000)


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        (b"NONSENSE\r\n\r\n", "400"),
    ],
    ids=["not_an_upgrade", "not_http"],
)
def test_18_refusal_can_be_read(server: Server, request_bytes: bytes, status: str) -> None:
    with server.dial() as sock:
        sock.sendall(request_bytes)
        start, fields, body = read_head(sock)
        while data := sock.recv(4096):
            body += data
    assert start.split()[1] == status
    assert "close" in fields["connection"].lower()
    assert len(body) == int(fields["content-length"]) > 0


# ---- the client's own duties ----


def test_86_client_takes_all_cases_in_order() -> None:
    with scripted_client() as script:
        script.say_count(30)
        for number in range(1, 31):
            with script.accept(f"/runCase?case={number}&agent=judge") as (sock, rest):
                text = letters(number)
                frames = [Frame(TEXT, text), close_frame(None if number % 2 else 1000)]
                heard = converse(sock, rest, frames, is_client=False)
                assert heard.events == [("text", text)]
                assert heard.close == (NO_CODE if number % 2 else 1000)
        script.take_report_request()
        assert script.expect_exit(0) == ""


def test_86_client_goes_on_after_a_lost_connection() -> None:
    with scripted_client() as script:
        script.say_count(3)
        with script.accept("/runCase?case=1&agent=judge"):
            pass
        with script.accept("/runCase?case=2&agent=judge") as (sock, _):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with script.accept("/runCase?case=3&agent=judge") as (sock, rest):
            assert converse(sock, rest, [close_frame()], is_client=False).close == 1000
        script.take_report_request()
        assert script.expect_exit(0) == ""


def test_86_client_lets_the_server_end_tcp() -> None:
    with scripted_client() as script:
        script.say_count(1)
        with script.accept("/runCase?case=1&agent=judge") as (sock, rest):
            heard = Heard(from_client=True)
            heard.feed(rest)
            sock.sendall(close_frame().encode(False))
            read_until(sock, heard, lambda: heard.close is not None)
            assert not select.select([sock], [], [], 0.2)[0], "the client ended TCP before the server"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        script.take_report_request()
        assert script.expect_exit(0) == ""


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        b"SSH-2.0-none\r\n",
    ],
    ids=["status_404", "wrong_accept", "not_http"],
)
def test_85_client_refuses_a_bad_response(response: bytes) -> None:
    with scripted_client() as script:
        sock, _ = script.listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            read_head(sock)
            sock.sendall(response)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        assert script.expect_exit(1).startswith("ws_echo: ")


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["client", "ws://127.0.0.1:1"], 1),
        (["client", "http://127.0.0.1:1"], 64),
        (["client", "ws://127.0.0.1:1", "--agent", "a b"], 64),
        (["server", "--listen", "nonsense"], 64),
        (["server"], 64),
        ([], 64),
    ],
    ids=lambda value: None if isinstance(value, int) else "_".join(value) or "nothing",
)
def test_command_line(arguments: list[str], code: int) -> None:
    done = subprocess.run([WS_ECHO, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr
