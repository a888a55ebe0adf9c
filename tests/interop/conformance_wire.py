"""WebSocket frames as RFC 6455 section 5 has them, written and read here independently of the program
under test. Writing can do anything wrong; reading forgives nothing."""

from __future__ import annotations

import base64
import codecs
import hashlib
import os
import socket
import struct
import threading
from dataclasses import dataclass, field

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PATIENCE = 60.0  # seconds; nothing here waits for it unless something is wrong
NO_CODE = 1005  # stands for a Close frame without a code
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KINDS = {TEXT: "text", BINARY: "binary"}


def xor(data: bytes, key: bytes) -> bytes:
    """Masks or unmasks (5.3), as one big number: quick enough for megabytes."""
    stream = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(
        len(data), "little"
    )


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    declared: int | None = None  # length in the header, if it is not that of the payload
    width: int | None = None  # 7, 16 or 64: the form of the length, if not the shortest
    has_wrong_mask: bool = False  # masked by a server, not masked by a client
    cut: int | None = None  # send only so many bytes of the frame, header included

    def encode(self, is_client: bool) -> bytes:
        n = len(self.payload) if self.declared is None else self.declared
        width = self.width or (7 if n < 126 else 16 if n < 65536 else 64)
        is_masked = is_client != self.has_wrong_mask
        short = {7: n, 16: 126, 64: 127}[width]
        out = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, is_masked << 7 | short])
        out += {7: b"", 16: struct.pack(">H", n & 0xFFFF), 64: struct.pack(">Q", n)}[width]
        if is_masked:
            key = os.urandom(4)
            out += key + xor(self.payload, key)
        else:
            out += self.payload
        return out[: self.cut]


def close_frame(code: int | None = 1000, reason: bytes = b"") -> Frame:
    return Frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


class Violation(Exception):
    """What the program under test sent is not RFC 6455."""


@dataclass
class Heard:
    """All that came from the program under test, after its half of the opening handshake."""

    from_client: bool
    events: list[tuple[str, bytes]] = field(default_factory=list)  # text, binary, pong: whole ones
    close: int | None = None
    partial: bytes = b""  # payload of a message that was not finished
    frames: int = 0
    payload_size: int = 0  # of data frames
    keys: set[bytes] = field(default_factory=set)
    _buffer: bytearray = field(default_factory=bytearray)
    _opcode: int = 0
    _pieces: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while (end := self._frame(at)) is not None:
            at = end
        del self._buffer[:at]
        self.partial = b"".join(self._pieces)

    def events_of(self, kind: str) -> list[bytes]:
        return [body for k, body in self.events if k == kind]

    @property
    def is_between_frames(self) -> bool:
        return not self._buffer

    def _frame(self, at: int) -> int | None:
        """Reads the frame at `at`; returns where it ends, or None if it is not all there."""
        b = self._buffer
        if len(b) - at < 2:
            return None
        head, short = b[at], b[at + 1] & 0x7F
        is_masked = b[at + 1] >> 7 == 1
        at += 2
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(b) - at < extra + 4 * is_masked:
            return None
        length = int.from_bytes(b[at : at + extra], "big") if extra else short
        at += extra
        if (extra == 2 and length < 126) or (extra == 8 and not 65536 <= length < 1 << 63):
            raise Violation(f"length {length} in {extra} bytes")
        if is_masked != self.from_client:
            raise Violation("masked by a server, or not masked by a client")
        key = bytes(b[at : at + 4]) if is_masked else b""
        at += len(key)
        if len(b) - at < length:
            return None
        payload = bytes(b[at : at + length])
        self.keys.add(key)
        self.frames += 1
        self._judge(head >> 7 == 1, head >> 4 & 7, head & 15, xor(payload, key) if key else payload)
        return at + length

    def _judge(self, fin: bool, rsv: int, opcode: int, payload: bytes) -> None:
        if self.close is not None:
            raise Violation("a frame behind Close")
        if rsv:
            raise Violation(f"reserved bits {rsv}")
        if opcode >= 8 and (not fin or len(payload) > 125):
            raise Violation("a control frame that is fragmented or too long")
        if opcode == PONG:
            self.events.append(("pong", payload))
        elif opcode == CLOSE:
            if len(payload) == 1:
                raise Violation("a Close payload of one byte")
            payload[2:].decode()
            self.close = struct.unpack(">H", payload[:2])[0] if payload else NO_CODE
        elif opcode in (TEXT, BINARY, CONTINUATION):
            if (opcode == CONTINUATION) != (self._opcode != 0):
                raise Violation("fragments out of order")
            self._opcode = self._opcode or opcode
            self._pieces.append(payload)
            self.payload_size += len(payload)
            if fin:
                whole = b"".join(self._pieces)
                if self._opcode == TEXT:
                    whole.decode()
                self.events.append((KINDS[self._opcode], whole))
                self._opcode, self._pieces = 0, []
        else:
            raise Violation(f"opcode {opcode:#x}")

    def check_partial_text(self) -> None:
        """What there is of an unfinished text may be cut, but not wrong."""
        if self._opcode == TEXT:
            codecs.getincrementaldecoder("utf-8")("strict").decode(self.partial)


def accept_key(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + MAGIC).digest())


def read_head(sock: socket.socket) -> tuple[str, dict[str, str], bytes]:
    """Start line, fields by lower-case name, and what came behind the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise Violation(f"the head ends early: {data!r}")
        data += more
    head, rest = data.split(b"\r\n\r\n", 1)
    start, *lines = head.decode("ascii").split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return start, {name.lower(): value.strip() for name, value in pairs}, rest


def open_as_client(sock: socket.socket, target: str = "/") -> bytes:
    """Asks for a WebSocket; returns what came behind the response."""
    key = base64.b64encode(os.urandom(16))
    sock.sendall(
        b"GET " + target.encode() + b" HTTP/1.1\r\nHost: echo.test\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    start, fields, rest = read_head(sock)
    if not start.startswith("HTTP/1.1 101 "):
        raise Violation(f"{start!r} in place of 101")
    if fields.get("sec-websocket-accept", "").encode() != accept_key(key):
        raise Violation("wrong Sec-WebSocket-Accept")
    if "sec-websocket-extensions" in fields or "sec-websocket-protocol" in fields:
        raise Violation("an extension or subprotocol that was not asked for")
    return rest


def open_as_server(sock: socket.socket) -> tuple[str, bytes]:
    """Answers a request for a WebSocket; returns its target and what came behind it."""
    start, fields, rest = read_head(sock)
    method, target, version = start.split(" ")
    if method != "GET" or version != "HTTP/1.1" or fields.get("sec-websocket-version") != "13":
        raise Violation(f"not a WebSocket request: {start!r} {fields!r}")
    key = fields["sec-websocket-key"].encode()
    if len(base64.b64decode(key, validate=True)) != 16:
        raise Violation("the key is not 16 bytes")
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
    )
    return target, rest


def write_all(sock: socket.socket, data: bytes, chop: int | None) -> None:
    try:
        for i in range(0, len(data), chop or len(data) or 1):
            sock.sendall(data[i : i + (chop or len(data))])
    except OSError:
        pass  # the reader sees what became of the connection


def converse(
    sock: socket.socket, rest: bytes, frames: list[Frame], is_client: bool, chop: int | None = None
) -> Heard:
    """Sends the frames, reads until the end of TCP, and does its part of the closing handshake. A
    connection that is reset fails the test: the Close in front of it might have been lost."""
    wire = b"".join(f.encode(is_client) for f in frames)
    has_closed = any(f.opcode == CLOSE for f in frames)
    writer = threading.Thread(target=write_all, args=(sock, wire, chop))
    writer.start()
    try:
        heard = Heard(from_client=not is_client)
        heard.feed(rest)
        has_ended = False
        while True:
            if heard.close is not None and not is_client and not has_ended:
                has_ended = True  # 7.1.1: the server ends TCP first
                writer.join(PATIENCE)
                if not has_closed:
                    sock.sendall(close_frame(None).encode(is_client))
                sock.shutdown(socket.SHUT_WR)
            data = sock.recv(1 << 18)
            if not data:
                break
            heard.feed(data)
    finally:
        writer.join(PATIENCE)
    assert heard.is_between_frames, "TCP ended inside a frame"
    return heard
