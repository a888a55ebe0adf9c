"""PROXY protocol headers (haproxy.org, proxy-protocol.txt): written and read by hand."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass, field

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALPN, AUTHORITY, UNIQUE_ID, SSL = 0x01, 0x02, 0x05, 0x20
SSL_VERSION, SSL_CN = 0x21, 0x22

CLIENT, FRONT = ("203.0.113.7", 4711), ("198.51.100.1", 443)
CLIENT_NAME = "203.0.113.7:4711"
UNKNOWN = b"PROXY UNKNOWN\r\n"


def v1(source: tuple[str, int] = CLIENT, to: tuple[str, int] = FRONT) -> bytes:
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {to[0]} {source[1]} {to[1]}\r\n".encode()


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def v2(source: tuple[str, int] | None = CLIENT, to: tuple[str, int] = FRONT, tlvs: bytes = b"") -> bytes:
    """Without a source: UNSPEC."""
    if source is None:
        return SIGNATURE + struct.pack(">BBH", 0x21, 0, len(tlvs)) + tlvs
    ips = [ipaddress.ip_address(at[0]) for at in (source, to)]
    body = b"".join(ip.packed for ip in ips) + struct.pack(">HH", source[1], to[1]) + tlvs
    return SIGNATURE + struct.pack(">BBH", 0x21, 0x11 if ips[0].version == 4 else 0x21, len(body)) + body


def local() -> bytes:
    return SIGNATURE + struct.pack(">BBH", 0x20, 0, 0)


@dataclass
class Header:
    version: int
    source: tuple[str, int] | None = None
    to: tuple[str, int] | None = None
    tlvs: dict[int, bytes] = field(default_factory=dict)

    def tls(self) -> tuple[int, int, dict[int, bytes]]:
        """What the TLV of TLS says: flags, verify result, what is in it."""
        flags, verify = struct.unpack(">BI", self.tlvs[SSL][:5])
        return flags, verify, read_tlvs(self.tlvs[SSL][5:])


def read_tlvs(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        kind, size = struct.unpack(">BH", data[:3])
        assert kind not in found and len(data) >= 3 + size
        found[kind] = data[3 : 3 + size]
        data = data[3 + size :]
    return found


def read_exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = sock.recv(size - len(got))
        assert piece, f"the end behind {got!r}"
        got += piece
    return got


def read_header(sock: socket.socket) -> Header:
    """From the front of a connection: not a byte more."""
    start = read_exactly(sock, 12)
    if start != SIGNATURE:
        while not start.endswith(b"\r\n"):
            start += read_exactly(sock, 1)
        words = start.decode().split()
        assert words[0] == "PROXY"
        if words[1] == "UNKNOWN":
            return Header(1)
        return Header(1, (words[2], int(words[4])), (words[3], int(words[5])))
    command, family, size = struct.unpack(">BBH", read_exactly(sock, 4))
    assert command == 0x21
    body = read_exactly(sock, size)
    if family == 0:
        return Header(2, tlvs=read_tlvs(body))
    length = {0x11: 4, 0x21: 16}[family]
    ips = [str(ipaddress.ip_address(body[i : i + length])) for i in (0, length)]
    ports = struct.unpack(">HH", body[2 * length : 2 * length + 4])
    return Header(2, (ips[0], ports[0]), (ips[1], ports[1]), read_tlvs(body[2 * length + 4 :]))


class Behind(socket.socket):
    """A connected socket whose first bytes are `header`, in one piece with what is sent first; with
    `is_slow` every byte is a piece, up to `slow_until` of them."""

    def __init__(self, sock: socket.socket, header: bytes, is_slow: bool = False, slow_until: int = 600) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, 0, sock.detach())
        self.settimeout(timeout)
        self._header = header
        self._slow = slow_until if is_slow else 0

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        data = self._header + bytes(data)
        self._header = b""
        while self._slow and data:
            super().sendall(data[:1], flags)
            data = data[1:]
            self._slow -= 1
        super().sendall(data, flags)
