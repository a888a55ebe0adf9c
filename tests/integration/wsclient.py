"""A WebSocket client on a bare socket, with control over every byte.

It shares nothing with the program under test, and can do wrong on purpose: frames of any shape, the
end of the transport in any way, at any moment.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from support import PATIENCE, dial, reset

EXTENSION_NAME = "tidegate-half-close"
SUBPROTOCOL_NAME = "v1.tidegate"
RFC_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
RFC_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, HALF_CLOSE = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA, 0xB
CONTROL_OPCODE = {"extension": HALF_CLOSE, "subprotocol": TEXT, "plain": None}
CARRIERS = ("extension", "subprotocol", "plain")
HALF_CLOSE_CARRIERS = ("extension", "subprotocol")


def xor(data: bytes, key: bytes) -> bytes:
    """Masks or unmasks, by one big number: fast enough for megabytes."""
    if not data or key == b"\0\0\0\0":
        return data
    whole = (key * (len(data) // 4 + 1))[: len(data)]
    n = int.from_bytes(data, "little") ^ int.from_bytes(whole, "little")
    return n.to_bytes(len(data), "little")


def frame(
    opcode: int,
    data: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """One frame. `length` lies about the payload, `width` (7, 16, 64) forces a length form."""
    n = len(data) if length is None else length
    if width is None:
        width = 7 if n < 126 else 16 if n < 65536 else 64
    short = n if width == 7 else 126 if width == 16 else 127
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if masked else 0) | short])
    if width == 16:
        head += struct.pack(">H", n)
    elif width == 64:
        head += struct.pack(">Q", n)
    if not masked:
        return head + data
    key = os.urandom(4)
    return head + key + xor(data, key)


def request(
    carrier: str = "plain",
    *,
    method: str = "GET",
    target: str = "/",
    version: str = "HTTP/1.1",
    change: dict[str, str | None] | None = None,
    extra: Iterable[tuple[str, str]] = (),
) -> bytes:
    """An upgrade request. `change` replaces a field by name or, with None, leaves it out."""
    fields: dict[str, str | None] = {
        "Host": "proxy.test",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": RFC_KEY,
    }
    if carrier == "extension":
        fields["Sec-WebSocket-Extensions"] = EXTENSION_NAME
    elif carrier == "subprotocol":
        fields["Sec-WebSocket-Protocol"] = SUBPROTOCOL_NAME
    fields.update(change or {})
    lines = [f"{method} {target} {version}"]
    lines += [f"{k}: {v}" for k, v in fields.items() if v is not None]
    lines += [f"{k}: {v}" for k, v in extra]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Response:
    status: int
    fields: list[tuple[str, str]]
    raw: bytes

    def get(self, name: str) -> str | None:
        values = [v for k, v in self.fields if k == name.lower()]
        assert len(values) <= 1, f"{name} comes {len(values)} times"
        return values[0] if values else None


def parse_response(head: bytes) -> Response:
    lines = head.decode("latin-1").split("\r\n")
    version, status, _ = lines[0].split(" ", 2)
    assert version == "HTTP/1.1"
    fields = [line.split(":", 1) for line in lines[1:] if line]
    return Response(int(status), [(k.lower(), v.strip()) for k, v in fields], head)


@dataclass
class Event:
    """What the server said: data, fin, window, control, ping, pong, close; or how it ended: eof, reset."""

    kind: str
    data: bytes = b""
    number: int = 0  # of FIN and WINDOW; the code of Close (1005: none)


@dataclass
class Received:
    """All that came, digested."""

    count: int = 0
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    order: list[str] = field(default_factory=list)  # kinds of events; runs of data are one
    fin: int | None = None
    close: int | None = None
    end: str | None = None  # eof or reset

    @property
    def digest(self) -> str:
        return self.hash.hexdigest()

    def add(self, event: Event) -> None:
        if event.kind == "data":
            self.count += len(event.data)
            self.hash.update(event.data)
        elif event.kind == "fin":
            self.fin = event.number
        elif event.kind == "close":
            self.close = event.number
        elif event.kind in ("eof", "reset"):
            self.end = event.kind
        if event.kind != "data" or self.order[-1:] != ["data"]:
            self.order.append(event.kind)


class WsClient:
    """A connection that has not shaken hands yet; `open_ws` gives one that has."""

    def __init__(self, sock: socket.socket, carrier: str = "plain") -> None:
        self.sock = sock
        self.carrier = carrier
        self.response: Response | None = None
        self.sent = 0  # payload bytes of the up stream
        self.received = Received()
        self.answers_close = True
        self.answers_ping = True
        self._buffer = bytearray()
        self._send_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        name = sock.getsockname()
        self.name = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"

    # ---- opening ----

    def read_response(self) -> Response:
        """The head of the answer; what comes behind it stays in the buffer."""
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            piece = self.sock.recv(4096)
            assert piece, f"end of connection inside the response head: {bytes(self._buffer)!r}"
            self._buffer += piece
        head = bytes(self._buffer[:at])
        del self._buffer[: at + 4]
        self.response = parse_response(head)
        return self.response

    def read_rest(self) -> bytes:
        """All raw bytes up to the server's end of the connection, which must be a FIN."""
        while piece := self.sock.recv(65536):
            self._buffer += piece
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def handshake(self, raw: bytes | None = None, subprotocol: str = SUBPROTOCOL_NAME) -> Response:
        """Shakes hands and checks that the carrier asked for was granted; `subprotocol`: its name."""
        self.sock.sendall(request(self.carrier) if raw is None else raw)
        response = self.read_response()
        assert response.status == 101, response.raw + bytes(self._buffer)
        assert response.get("Sec-WebSocket-Accept") == RFC_ACCEPT
        granted = "plain"
        if response.get("Sec-WebSocket-Extensions") == EXTENSION_NAME:
            granted = "extension"
        elif response.get("Sec-WebSocket-Protocol") == subprotocol:
            granted = "subprotocol"
        assert granted == self.carrier, response.raw
        return response

    # ---- sending ----

    def raw(self, data: bytes) -> None:
        with self._send_lock:
            self.sock.sendall(data)

    def send(self, data: bytes, *, piece: int = 65536, opcode: int = BINARY) -> None:
        """Data messages of at most `piece` bytes each."""
        for at in range(0, len(data), piece):
            part = data[at : at + piece]
            self.raw(frame(opcode, part))
            self.sent += len(part)

    def control(self, text: str | bytes) -> None:
        """A half-close control message in this connection's carrier."""
        opcode = CONTROL_OPCODE[self.carrier]
        assert opcode is not None, "a plain connection has no control messages"
        self.raw(frame(opcode, text.encode() if isinstance(text, str) else text))

    def fin(self, number: int | None = None) -> None:
        self.control(f"FIN {self.sent if number is None else number}")

    def window(self, number: int) -> None:
        self.control(f"WINDOW {number}")

    def close_frame(self, code: int | None = None, reason: bytes = b"") -> None:
        self.raw(frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason))

    # ---- the end of the transport ----

    def shutdown(self) -> None:
        """TCP FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """TCP RST. Not while another thread reads."""
        reset(self.sock)

    def drop(self) -> None:
        """For the end of a test: resets, and stops a reading thread."""
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        if self._thread is not None:
            self._thread.join(PATIENCE)
        reset(self.sock)

    # ---- receiving ----

    def _need(self, n: int) -> None:
        while len(self._buffer) < n:
            piece = self.sock.recv(262144)
            if not piece:
                raise EOFError
            self._buffer += piece

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload. Raises EOFError or ConnectionResetError."""
        self._need(2)
        first, second = self._buffer[0], self._buffer[1]
        assert first & 0x70 == 0, "the server set a reserved bit"
        assert second & 0x80 == 0, "the server masked a frame"
        size, n = 2, second & 0x7F
        if n == 126:
            self._need(4)
            size, n = 4, int.from_bytes(self._buffer[2:4], "big")
            assert n > 125, "length not in its shortest form"
        elif n == 127:
            self._need(10)
            size, n = 10, int.from_bytes(self._buffer[2:10], "big")
            assert n > 65535, "length not in its shortest form"
        opcode = first & 0x0F
        assert opcode < 8 or (first & 0x80 and n <= 125), "bad control frame"
        self._need(size + n)
        data = bytes(self._buffer[size : size + n])
        del self._buffer[: size + n]
        return opcode, data

    def event(self) -> Event:
        """The next event, kept in `received` as well. Pings and Close are answered."""
        try:
            opcode, data = self.read_frame()
        except EOFError:
            assert not self._buffer, "the connection ended inside a frame"
            event = Event("eof")
        except ConnectionResetError:
            event = Event("reset")
        else:
            event = self._interpret(opcode, data)
        self.received.add(event)
        return event

    def _interpret(self, opcode: int, data: bytes) -> Event:
        assert self.received.close is None, "a frame behind the server's Close"
        if opcode == CONTROL_OPCODE[self.carrier]:
            word, _, number = data.decode("ascii").partition(" ")
            assert self.received.fin is None or word == "WINDOW", "a control message behind FIN"
            if word in ("FIN", "WINDOW"):
                return Event(word.lower(), data, int(number))
            return Event("control", data)
        if opcode in (CONTINUATION, TEXT, BINARY):
            assert self.received.fin is None, "data behind FIN"
            return Event("data", data)
        if opcode == PING:
            if self.answers_ping:
                self._answer(frame(PONG, data))
            return Event("ping", data)
        if opcode == PONG:
            return Event("pong", data)
        assert opcode == CLOSE, f"unexpected opcode {opcode}"
        assert len(data) != 1, "Close with one byte"
        if self.answers_close:
            self._answer(frame(CLOSE, data[:2]))
        return Event("close", data[2:], int.from_bytes(data[:2], "big") if data else 1005)

    def _answer(self, data: bytes) -> None:
        try:
            self.raw(data)
        except OSError:
            pass  # the server need not listen any more; how it ended is told by reading

    def expect(self, kind: str) -> Event:
        """The next event but pings, which must be of this kind."""
        while (event := self.event()).kind == "ping" != kind:
            pass
        assert event.kind == kind, f"{event.kind} {event.number} {event.data[:60]!r}, not {kind}"
        return event

    def read_until(self, *kinds: str) -> Event:
        while (event := self.event()).kind not in kinds:
            assert event.kind not in ("eof", "reset"), f"{event.kind} before {kinds}"
        return event

    def read_data(self, count: int) -> None:
        """Until that much of the down stream has come, in all."""
        while self.received.count < count:
            event = self.event()
            assert event.kind in ("data", "ping"), f"{event.kind} after {self.received.count} bytes"

    def collect(self, pause: float = 0.0) -> Received:
        """Everything up to the end of the transport. `pause` makes a slow reader."""
        while self.received.end is None:
            self.event()
            if pause:
                time.sleep(pause)
        return self.received

    def collect_in_background(self, pause: float = 0.0) -> None:
        def run() -> None:
            try:
                self.collect(pause)
            except BaseException as failure:  # told to the test by wait_collected
                self._failure = failure

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def wait_collected(self, timeout: float = PATIENCE) -> Received:
        assert self._thread is not None
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"still open after {timeout} s: {self.received}"
        if self._failure is not None:
            raise self._failure
        return self.received


def open_ws(
    address: str,
    carrier: str = "extension",
    *,
    rcvbuf: int | None = None,
    sndbuf: int | None = None,
    timeout: float = PATIENCE,
) -> WsClient:
    client = WsClient(dial(address, rcvbuf=rcvbuf, sndbuf=sndbuf, timeout=timeout), carrier)
    try:
        client.handshake()
    except BaseException:
        client.drop()
        raise
    return client


def new_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()
