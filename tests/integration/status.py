"""The status port of a proxy, asked and understood without any library of metrics."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any

from proxy import Program, Proxy
from rig import Rig
from support import dial, open_files, wait_until

SAMPLE = re.compile(r'^([a-z_]+)(?:\{([^}]*)\})? ([0-9.]+(?:e[+-]?\d+)?)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Labels = frozenset[tuple[str, str]]


@dataclass
class Reply:
    status: int
    fields: dict[str, str]
    body: bytes
    is_whole: bool  # as long as its head said, or down to the last chunk


@dataclass
class Metrics:
    """One scrape."""

    text: str
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.text.endswith("\n")
        family = ""
        for line in self.text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                assert family not in self.types, f"{family} comes twice"
            elif line.startswith("# TYPE "):
                name, kind = line.split(" ")[2:]
                assert name == family
                self.types[name] = kind
            else:
                self._add(line, family)

    def _add(self, line: str, family: str) -> None:
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        suffixes = ("_bucket", "_sum", "_count") if self.types[family] == "histogram" else ("",)
        assert name in [family + suffix for suffix in suffixes], f"{name} under {family}"
        found = LABEL.findall(labels or "")
        assert ",".join(f'{k}="{v}"' for k, v in found) == (labels or ""), line
        key = (name, frozenset(found))
        assert key not in self.samples, f"{line} comes twice"
        self.samples[key] = float(value)

    def get(self, name: str, **labels: str) -> float:
        """The sum over all samples that have these labels, whatever else they have; 0 if none has."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and wanted <= have)


class Status:
    def __init__(self, address: str) -> None:
        self.address = address

    def dial(self, **options: Any) -> socket.socket:
        return dial(self.address, **options)

    def send(self, raw: bytes, **options: Any) -> Reply:
        with self.dial(**options) as sock:
            sock.sendall(raw)
            return read_reply(sock, is_head=raw.startswith(b"HEAD"))

    def get(self, path: str, method: str = "GET") -> Reply:
        return self.send(f"{method} {path} HTTP/1.1\r\nHost: status.test\r\n\r\n".encode())

    def metrics(self) -> Metrics:
        reply = self.get("/metrics")
        assert reply.status == 200 and reply.is_whole
        assert reply.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Metrics(reply.body.decode())

    def value(self, name: str, **labels: str) -> float:
        return self.metrics().get(name, **labels)

    def wait(self, expected: float, name: str, **labels: str) -> None:
        wait_until(lambda: self.value(name, **labels) == expected, f"{name} {labels} {expected}")

    def connections(self) -> list[dict[str, Any]]:
        reply = self.get("/connections")
        assert reply.status == 200 and reply.is_whole
        assert reply.fields["content-type"] == "application/json"
        found = json.loads(reply.body)
        assert isinstance(found, list)
        return found

    def connection(self, client: str) -> dict[str, Any]:
        found = [c for c in self.connections() if c["client"] == client]
        assert len(found) == 1, found
        return found[0]


def read_reply(sock: socket.socket, is_head: bool = False) -> Reply:
    """All up to the end of the connection, which must not be a reset."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    head, separator, rest = data.partition(b"\r\n\r\n")
    assert separator, data
    lines = head.decode("ascii").split("\r\n")
    version, status, _ = lines[0].split(" ", 2)
    assert version == "HTTP/1.1"
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    assert len(fields) == len(lines) - 1 and fields["connection"] == "close"
    if is_head:
        return Reply(int(status), fields, rest, not rest)
    if fields.get("transfer-encoding") == "chunked":
        body, is_whole = unchunk(rest)
        return Reply(int(status), fields, body, is_whole)
    is_whole = "content-length" not in fields or len(rest) == int(fields["content-length"])
    return Reply(int(status), fields, rest, is_whole)


def unchunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        body += data[:n]
        assert data[n : n + 2] == b"\r\n"
        data = data[n + 2 :]
        if n == 0:
            assert not data
            return body, True
    return body, False


def watch(program: Program) -> Status:
    """The status port of a program that was started with --status."""
    address = str(program.wait("status")["address"])
    program.idle_files = open_files(program.pid)
    return Status(address)


FLAGS = ("--status", "127.0.0.1:0", "--drain-delay", "0")


def watched(rig: Rig, backend: Any, *flags: str, **options: Any) -> tuple[Proxy, Status]:
    if "--status" not in flags:
        flags = (*FLAGS[:2], *flags)
    if "--drain-delay" not in flags:
        flags = (*FLAGS[2:], *flags)
    proxy = rig.proxy(backend, *flags, **options)
    return proxy, watch(proxy)
