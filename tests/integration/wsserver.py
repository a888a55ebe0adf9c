"""A WebSocket server on a bare socket, for tests of tidegate's clients: it can refuse, lie and break."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import NamedTuple

from backend import Backend, BackendConnection
from rig import Rig
from wsclient import BINARY, CLOSE, CONTROL_OPCODE, EXTENSION_NAME, SUBPROTOCOL_NAME, frame, xor

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Request(NamedTuple):
    line: str
    fields: dict[str, str]  # names in lower case

    @property
    def accept(self) -> str:
        key = self.fields["sec-websocket-key"].encode()
        return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()


class Frame(NamedTuple):
    opcode: int
    data: bytes
    mask: bytes


class WsPeer:
    """The server's end of one connection."""

    def __init__(self, connection: BackendConnection) -> None:
        self.connection = connection
        self.sock = connection.sock
        self.carrier = "plain"
        self.received = b""  # data of Binary messages
        self.sent = 0
        self._buffer = b""

    # ---- opening ----

    def read_head(self) -> Request:
        while b"\r\n\r\n" not in self._buffer:
            piece = self.sock.recv(65536)
            assert piece, f"end of connection inside the request: {self._buffer!r}"
            self._buffer += piece
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        fields = {}
        for one in rest:
            name, colon, value = one.partition(": ")
            assert colon and name.lower() not in fields, f"{one!r}, or it comes twice"
            fields[name.lower()] = value
        return Request(line, fields)

    def response(self, request: Request, carrier: str, **change: str | None) -> bytes:
        """A 101. `change` replaces fields (_ for -) or, with None, leaves them out."""
        fields: dict[str, str | None] = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": request.accept,
        }
        if carrier == "extension":
            fields["Sec-WebSocket-Extensions"] = EXTENSION_NAME
        elif carrier == "subprotocol":
            fields["Sec-WebSocket-Protocol"] = SUBPROTOCOL_NAME
        fields.update({name.replace("_", "-"): value for name, value in change.items()})
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def open(self, carrier: str, behind: bytes = b"", **change: str | None) -> Request:
        """Reads the request and grants it; `behind` goes into the same segment."""
        request = self.read_head()
        self.carrier = carrier
        self.raw(self.response(request, carrier, **change) + behind)
        return request

    # ---- sending ----

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send(self, data: bytes) -> None:
        self.raw(frame(BINARY, data, masked=False))
        self.sent += len(data)

    def control(self, text: str) -> None:
        opcode = CONTROL_OPCODE[self.carrier]
        assert opcode is not None
        self.raw(frame(opcode, text.encode(), masked=False))

    def fin(self) -> None:
        self.control(f"FIN {self.sent}")

    def close_frame(self, code: int) -> None:
        self.raw(frame(CLOSE, struct.pack(">H", code), masked=False))

    # ---- receiving ----

    def _take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            piece = self.sock.recv(262144)
            if not piece:
                raise EOFError
            self._buffer += piece
        taken, self._buffer = self._buffer[:n], self._buffer[n:]
        return taken

    def read_frame(self) -> Frame:
        """Raises EOFError or ConnectionResetError."""
        first, second = self._take(2)
        assert first & 0x70 == 0, "a reserved bit is set"
        assert second & 0x80, "a client's frame without a mask"
        n = second & 0x7F
        if n > 125:
            n = int.from_bytes(self._take(2 if n == 126 else 8), "big")
        mask = self._take(4)
        return Frame(first & 0x0F, xor(self._take(n), mask), mask)

    def read_message(self) -> tuple[str, bytes]:
        """The next of control, close, and others by number; data is collected in `received`."""
        while True:
            opcode, data, _ = self.read_frame()
            if opcode == CONTROL_OPCODE[self.carrier]:
                return "control", data
            if opcode == CLOSE:
                return "close", data
            if opcode not in (0, BINARY):
                return str(opcode), data
            self.received += data

    def read_control(self) -> str:
        kind, data = self.read_message()
        assert kind == "control", f"{kind} {data!r}"
        return data.decode()

    def read_close(self) -> int:
        """The code of the next Close; 1005 if it has none."""
        kind, data = self.read_message()
        assert kind == "close", f"{kind} {data!r}"
        return int.from_bytes(data[:2], "big") if data else 1005

    def read_data(self, count: int) -> bytes:
        while len(self.received) < count:
            opcode, data, _ = self.read_frame()
            assert opcode in (0, BINARY), opcode
            self.received += data
        return self.received

    def expect_end(self) -> None:
        """The transport ends, or is reset, whatever else comes before."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass


def scripted_server(rig: Rig) -> Backend:
    """A listener whose connections the test takes with `peer`; on TLS where the rig's proxies are."""
    server = rig.backend("tls" if rig.is_secure else "tcp")
    server.address = server.address.removeprefix("tls://")
    return server


def peer(server: Backend) -> WsPeer:
    return WsPeer(server.accept())
