"""The proxy under load, seen from outside: its process, its metrics, its log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KIB = 1024
LINES_KEPT = 50
SAMPLE = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? ([0-9.e+]+)$", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass
class Sample:
    """Of the process. Bytes and seconds."""

    at: float
    rss: int
    pss: int
    anonymous: int  # of no file: what grows if something is not freed
    descriptors: int
    threads: int
    cpu: float
    deadlines: int = 0
    active: int = 0
    idle_cpu: float = 0  # share of a core, at a quiet point


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (name, set(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)
        ]

    def get(self, name: str, **labels: str) -> int:
        """The sum over all samples that have these labels, whatever else they have."""
        wanted = set(labels.items())
        return int(sum(v for n, have, v in self._samples if n == name and wanted <= have))


class Proxy:
    """`tidegate serve`, and what it logs: tallied, not kept."""

    def __init__(self, command: list[str]) -> None:
        self.levels: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()  # route and direction, of connections that are over
        self.odd_lines: list[str] = []
        self.addresses: dict[str, str] = {}  # by message: listening, status
        self._news = threading.Condition()
        env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEGATE")}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env
        )
        self.pid = self.process.pid
        self._thread = threading.Thread(target=self._read_log, daemon=True)
        self._thread.start()

    def _read_log(self) -> None:
        assert self.process.stderr
        for raw in self.process.stderr:
            try:
                record = json.loads(raw)
                self._take(record)
            except (ValueError, KeyError, TypeError):
                self._keep(raw.decode("utf-8", "replace").rstrip())
        with self._news:
            self._news.notify_all()

    def _keep(self, line: str) -> None:
        if len(self.odd_lines) < LINES_KEPT:
            self.odd_lines.append(line)

    def _take(self, record: dict[str, Any]) -> None:
        message = record["msg"]
        self.levels[record["level"]] += 1
        if record["level"] == "error":
            self._keep(json.dumps(record))
        if message == "closed":
            self.causes[record["cause"]] += 1
            for way in ("to_backend", "to_client"):
                self.bytes[record["route"], way] += record[f"bytes_{way}"]
        elif message in ("listening", "status"):
            with self._news:
                self.addresses[message] = record["address"]
                self._news.notify_all()

    def address(self, message: str) -> tuple[str, int]:
        with self._news:
            self._news.wait_for(lambda: message in self.addresses or not self._thread.is_alive(), 20)
        if message not in self.addresses:
            raise AssertionError("the proxy does not listen:\n" + "\n".join(self.odd_lines))
        host, port = self.addresses[message].rsplit(":", 1)
        return host, int(port)

    async def metrics(self) -> Metrics:
        reader, writer = await asyncio.open_connection(*self.address("status"))
        try:
            writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            head, _, body = (await asyncio.wait_for(reader.read(), 60)).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        assert head.startswith(b"HTTP/1.1 200 "), head
        return Metrics(body.decode())

    def cpu_seconds(self) -> float:
        """All its threads, to the nanosecond: the clock of another process (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def sample(self, at: float) -> Sample:
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        memory = {k: int(v) * KIB for k, v in re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE)}
        return Sample(
            at,
            memory["Rss"],
            memory["Pss"],
            memory["Anonymous"],
            self.descriptors(),
            len(os.listdir(f"/proc/{self.pid}/task")),
            self.cpu_seconds(),
        )

    def descriptors(self) -> int:
        """Without /dev/null, which libuv opens with the first stream of each loop, for good."""
        count = 0
        for number in os.listdir(f"/proc/{self.pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                count += os.readlink(f"/proc/{self.pid}/fd/{number}") != "/dev/null"
        return count

    def finish(self, patience: float) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(patience)
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join(20)
