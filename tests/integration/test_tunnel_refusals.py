"""Checklist 84, 85, 87: what a tunnel sends, what it refuses, and servers that mean harm."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from backend import BackendConnection
from rig import Rig, over_both
from support import MIB, is_sanitized, payload, resident_bytes
from tunnel import Tunnel, local, start_tunnel
from wsclient import BINARY, CONTINUATION, EXTENSION_NAME, HALF_CLOSE_CARRIERS, PING, SUBPROTOCOL_NAME, TEXT, frame
from wsserver import Request, WsPeer, peer, scripted_server

pytestmark = over_both

both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)


def start(rig: Rig, *flags: str) -> tuple[Tunnel, BackendConnection, WsPeer]:
    """A tunnel, its local program, and the server's end, before the handshake."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, *flags)
    return tunnel, local(rig, tunnel), peer(server)


# ---- what it sends ----


def test_84_masks(rig: Rig) -> None:
    """1,000 frames: no key comes twice, none follows from the one before."""
    _, program, far = start(rig)
    far.open("extension")
    keys: list[int] = []
    for i in range(1000):
        program.send(bytes([i % 256]))
        opcode, data, mask = far.read_frame()
        assert (opcode, data) == (BINARY, bytes([i % 256]))
        keys.append(int.from_bytes(mask, "big"))
    assert len(set(keys)) == len(keys)  # two of 1,000 random ones are equal once in 8,600 runs
    steps = [(b - a) % 2**32 for a, b in zip(keys, keys[1:])]
    assert len(set(steps)) > 990, "the keys follow each other"
    for bit in range(32):
        share = sum(key >> bit & 1 for key in keys)
        assert 400 < share < 600, f"bit {bit} is 1 in {share} of 1,000"


def test_84_keys_of_handshakes(rig: Rig) -> None:
    """16 random bytes, fresh for each connection."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address)
    keys = set()
    for _ in range(50):
        local(rig, tunnel)
        keys.add(peer(server).read_head().fields["sec-websocket-key"])
    assert len(keys) == 50
    assert {len(key) for key in keys} == {24}


def test_the_request(rig: Rig) -> None:
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, f"{rig.url(server.address)}some/path?with=query")
    local(rig, tunnel)
    request: Request = peer(server).read_head()
    assert request.line == "GET /some/path?with=query HTTP/1.1"
    fields = request.fields
    assert fields["host"] == server.address
    assert fields["upgrade"].lower() == "websocket" and fields["connection"].lower() == "upgrade"
    assert fields["sec-websocket-version"] == "13"
    assert fields["sec-websocket-extensions"] == EXTENSION_NAME
    assert SUBPROTOCOL_NAME in fields["sec-websocket-protocol"].replace(",", " ").split()
    assert "origin" not in fields


# ---- what it refuses ----

REFUSALS: dict[str, dict[str, str | None]] = {
    "wrong accept": {"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
    "no accept": {"Sec_WebSocket_Accept": None},
    "no upgrade": {"Upgrade": None},
    "another upgrade": {"Upgrade": "h2c"},
    "no connection": {"Connection": None},
    "connection close": {"Connection": "close"},
    "an extension not asked for": {"Sec_WebSocket_Extensions": "permessage-deflate"},
    "one more extension": {"Sec_WebSocket_Extensions": f"{EXTENSION_NAME}, permessage-deflate"},
    "the extension twice": {"Sec_WebSocket_Extensions": f"{EXTENSION_NAME}, {EXTENSION_NAME}"},
    "parameters not asked for": {"Sec_WebSocket_Extensions": f"{EXTENSION_NAME}; x=1"},
    "a subprotocol not asked for": {"Sec_WebSocket_Protocol": "chat"},
    "two subprotocols": {"Sec_WebSocket_Protocol": f"{SUBPROTOCOL_NAME}, chat"},
}


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("plain", [False, True])
def test_85_wrong_handshakes(rig: Rig, what: str, plain: bool) -> None:
    """A reset at once, never an end; and none of the local program's bytes leaves."""
    tunnel, program, far = start(rig, *(["--plain"] if plain else []))
    program.send(b"secret")
    carrier = "plain" if "subprotocol" in what else "extension"
    far.open(carrier, b"\x82\x02hi", **REFUSALS[what])
    assert program.wait_end() == "reset"
    assert program.count == 0
    record = tunnel.wait_failed()
    assert (record["cause"], record["at"]) == ("bad-handshake", "server"), record
    assert record["detail"]
    rest = b""
    try:
        while piece := far.sock.recv(4096):
            rest += piece
    except ConnectionResetError:
        pass
    assert rest == b""


@pytest.mark.parametrize(
    "status",
    ["200 OK", "204 No Content", "301 Moved Permanently", "302 Found", "307 Temporary Redirect", "400 Bad Request"]
    + ["401 Unauthorized", "403 Forbidden", "404 Not Found", "426 Upgrade Required", "500 Internal Server Error"]
    + ["502 Bad Gateway", "503 Service Unavailable"],
)
def test_85_other_statuses(rig: Rig, status: str) -> None:
    """Redirections are not followed."""
    tunnel, program, far = start(rig)
    far.read_head()
    head = f"HTTP/1.1 {status}\r\nLocation: http://{far.sock.getsockname()[0]}:1/\r\nContent-Length: 4\r\n\r\nbody"
    far.raw(head.encode())
    assert program.wait_end() == "reset"
    assert program.count == 0
    record = tunnel.wait_failed()
    assert record["status"] == int(status[:3])
    assert record["at"] == "server"


GARBAGE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "binary": bytes(range(256)) * 10,
    "HTTP/1.0": b"HTTP/1.0 101 Switching Protocols\r\n\r\n",
    "HTTP/2": b"HTTP/2 101 Switching Protocols\r\n\r\n",
    "cut head": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso",
    "bare line ends": b"HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n",
    "a status of two digits": b"HTTP/1.1 10 Switching Protocols\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_85_no_response(rig: Rig, what: str) -> None:
    tunnel, program, far = start(rig)
    far.read_head()
    with contextlib.suppress(OSError):  # the tunnel may have gone behind the first bytes already
        far.raw(GARBAGE[what])
        far.connection.finish()
    assert program.wait_end() == "reset"
    assert tunnel.wait_failed()["at"] == "server"


VIOLATIONS = {
    "masked": frame(BINARY, b"data"),
    "masked with zeros": b"\x82\x84\0\0\0\0data",
    "reserved bit": frame(BINARY, b"data", masked=False, rsv=4),
    "reserved opcode": frame(0x3, b"data", masked=False),
    "continuation of nothing": frame(CONTINUATION, b"data", masked=False),
    "long ping": frame(PING, b"p" * 126, masked=False),
    "cut ping": frame(PING, b"p", masked=False, fin=False),
    "length with its first bit": frame(BINARY, b"", masked=False, length=2**63, width=64),
    "length of more bytes than it needs": frame(BINARY, b"data", masked=False, width=16),
    "garbage": b"\xff" * 100,
}


@both_carriers
@pytest.mark.parametrize("what", VIOLATIONS)
@pytest.mark.parametrize("when", ["with the 101", "later"])
def test_85_violations(rig: Rig, carrier: str, what: str, when: str) -> None:
    tunnel, program, far = start(rig)
    far.open(carrier, VIOLATIONS[what] if when == "with the 101" else b"")
    if when == "later":
        far.send(b"good")
        program.read_some(4)
        far.raw(VIOLATIONS[what])
    assert program.wait_end() == "reset"
    assert program.kept == (b"good" if when == "later" else b"")
    assert far.read_close() == 1002
    assert tunnel.wait("closed")["cause"] == "ws-violation"


def test_85_wrong_text(rig: Rig) -> None:
    """Under the extension, text is data, and must be UTF-8."""
    tunnel, program, far = start(rig)
    far.open("extension", frame(TEXT, "größer".encode(), masked=False) + frame(TEXT, b"\xff\xfe", masked=False))
    assert program.wait_end() == "reset"
    assert bytes(program.kept).decode() == "größer"
    assert far.read_close() == 1007
    assert tunnel.wait("closed")["cause"] == "not-utf8"


# ---- servers that mean harm ----


class Growth:
    """How much the memory of a program has grown since."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.pid = tunnel.pid
        self.before = resident_bytes(self.pid)

    def check(self, most: int) -> None:
        if not is_sanitized():
            assert resident_bytes(self.pid) - self.before < most


def pour(far: WsPeer, data: bytes, total: int) -> threading.Thread:
    """Sends it again and again, until that is much or the other side has had enough."""

    def run() -> None:
        try:
            for _ in range(total // len(data)):
                far.raw(data)
        except (OSError, TimeoutError):
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_87_ping_flood(rig: Rig) -> None:
    """Pongs that nobody reads: bounded, and the connection of others goes on."""
    tunnel, _, far = start(rig, "--ping-interval", "0")
    far.open("extension")
    growth = Growth(tunnel)
    far.sock.settimeout(3)
    pour(far, frame(PING, b"p" * 125, masked=False) * 1000, 100 * MIB).join(5)
    growth.check(4 * MIB)
    assert tunnel.process.poll() is None
    other = local(rig, tunnel)
    there = WsPeer(rig.backends[0].accept())
    there.open("extension", b"\x82\x05hello")
    other.read_some(5)
    assert other.kept == b"hello"


def test_87_pings_behind_a_stopped_program(rig: Rig) -> None:
    """The local program reads nothing, so there is data under way, and pings behind it."""
    tunnel, program, far = start(rig, "--ping-interval", "0")
    far.open("extension")
    growth = Growth(tunnel)
    far.sock.settimeout(3)
    pour(far, (frame(BINARY, payload(1000), masked=False) + frame(PING, b"", masked=False)) * 100, 100 * MIB).join(5)
    growth.check(4 * MIB)
    assert tunnel.process.poll() is None
    while program.count < 100_000:
        program.read_some()
    assert bytes(program.kept[:1000]) == payload(1000)


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 2**32])
def test_87_huge_frame(rig: Rig, length: int) -> None:
    """It may stream; nothing is allocated for what it says."""
    tunnel, program, far = start(rig)
    growth = Growth(tunnel)
    far.open("extension", frame(BINARY, payload(1000), masked=False, length=length, width=64))
    program.read_in_background()
    program.wait_count(1000)
    growth.check(MIB)
    far.connection.finish()
    assert program.wait_end() == "reset"


def test_87_endless_fragments(rig: Rig) -> None:
    tunnel, program, far = start(rig)
    growth = Growth(tunnel)
    far.open("extension", frame(BINARY, b"", masked=False, fin=False))
    far.raw(frame(CONTINUATION, b"", masked=False, fin=False) * 100_000)
    far.raw(frame(CONTINUATION, b"at last", masked=False, fin=False))
    program.read_in_background()
    program.wait_count(7)
    growth.check(2 * MIB)


ENDLESS = {
    "header": (b"HTTP/1.1 101 Switching Protocols\r\nX: ", b"a" * 65536),
    "headers": (b"HTTP/1.1 101 Switching Protocols\r\n", b"X: y\r\n" * 10000),
    "status line": (b"HTTP/1.1 101 ", b"a" * 65536),
    "1xx": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "103": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000),
    "empty lines": (b"", b"\r\n" * 10000),
    "body of a refusal": (b"HTTP/1.1 503 Busy\r\n\r\n", b"a" * 65536),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_87_endless_response(rig: Rig, what: str) -> None:
    """Given up long before the 100 MB are over."""
    tunnel, program, far = start(rig, "--connect-timeout", "5s")
    far.read_head()
    growth = Growth(tunnel)
    begin, more = ENDLESS[what]
    far.raw(begin)
    pour(far, more, 100 * MIB)
    begun = time.monotonic()
    assert program.wait_end() == "reset"
    assert time.monotonic() - begun < 4, "the timeout ended it, not the amount"
    growth.check(MIB)
    assert tunnel.wait_failed()["at"] == "server"


def test_87_a_header_byte_by_byte(rig: Rig) -> None:
    """The connect timeout is for all of it."""
    tunnel, program, far = start(rig, "--connect-timeout", "500ms")
    far.read_head()
    stop = threading.Event()

    def dribble() -> None:
        try:
            far.raw(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
            while not stop.wait(0.05):
                far.raw(b"a")
        except OSError:
            pass

    thread = threading.Thread(target=dribble, daemon=True)
    thread.start()
    begun = time.monotonic()
    try:
        assert program.wait_end() == "reset"
        assert time.monotonic() - begun < 3
    finally:
        stop.set()
        thread.join()
    assert tunnel.wait_failed()["at"] == "server"


def test_87_one_1xx_is_harmless(rig: Rig) -> None:
    _, program, far = start(rig)
    request = far.read_head()
    far.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    far.carrier = "extension"
    far.raw(far.response(request, "extension") + b"\x82\x02hi")
    program.read_some(2)
    assert program.kept == b"hi"


def test_87_local_program_that_never_reads(rig: Rig) -> None:
    """Checklist 51 on this side: 100 MB from the server wait on its side, and arrive."""
    tunnel, program, far = start(rig)
    far.open("extension")
    growth = Growth(tunnel)
    piece = frame(BINARY, payload(MIB, 120), masked=False)
    thread = pour(far, piece, 100 * len(piece))
    time.sleep(1)  # the subject of the test
    assert thread.is_alive(), "100 MB went somewhere"
    growth.check(4 * MIB)
    program.read_in_background()
    program.wait_count(100 * MIB, 60)
    assert bytes(program.kept) == payload(MIB, 120)[:4096]
    thread.join()
