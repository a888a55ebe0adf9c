"""What is measured: jobs of the load generator, and the figures made of what it prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subjects import Subject

PARTS = ("bulk", "trips", "connections", "idle", "stalled")
AES, CHACHA = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"

Result = dict[str, Any]  # what the load generator printed


@dataclass(frozen=True)
class Figure:
    name: str  # with its unit
    of: Callable[[Result], float]
    digits: int
    is_ratio: bool = True  # whether its ratio to the reference says anything


@dataclass(frozen=True)
class Case:
    name: str
    part: str
    job: str
    options: tuple[str, ...]
    figures: tuple[Figure, ...]
    cipher: str = ""  # plain
    most: int = 0  # connections that a subject with a process for each is asked for; 0: the same

    def options_for(self, subject: Subject, seconds: int) -> list[str]:
        options = [*self.options, "--seconds", str(seconds)]
        if subject.is_raw:
            options += ["--raw"]
        if self.cipher:
            options += ["--cipher", self.cipher]
        if self.most and subject.kind == "websockify":
            options += ["--connections", str(self.most)]
        return options

    def measures(self, subject: Subject) -> bool:
        return subject.has_tls or not self.cipher


SHARES = (
    Figure("proxy's CPU %", lambda r: 100 * r["cpu_seconds"] / r["seconds"], 0, is_ratio=False),
    Figure("generator's CPU %", lambda r: 100 * r["own_cpu_seconds"] / r["seconds"], 0, is_ratio=False),
)
BULK = (
    Figure("Gbit/s", lambda r: 8 * r["bytes"] / r["seconds"] / 1e9, 2),
    Figure("CPU s/GB", lambda r: 1e9 * r["cpu_seconds"] / r["bytes"], 3),
    *SHARES,
)
TRIPS = (
    Figure("CPU us/trip", lambda r: 1e6 * r["cpu_seconds"] / r["trips"], 1),
    Figure("p50 us", lambda r: r["p50_us"], 1),
    Figure("p99 us", lambda r: r["p99_us"], 1),
    *SHARES,
)
RATE = (
    Figure("per second", lambda r: r["done"] / r["seconds"], 0),
    Figure("CPU us each", lambda r: 1e6 * r["cpu_seconds"] / r["done"], 1),
    Figure("p50 us", lambda r: r["p50_us"], 0),
    Figure("p99 us", lambda r: r["p99_us"], 0),
    *SHARES,
)
IDLE = (
    Figure("bytes each", lambda r: r["bytes_each"], 0),
    Figure("CPU %", lambda r: 100 * r["cpu_seconds"] / r["seconds"], 2, is_ratio=False),
    Figure("opened per second", lambda r: r["connections"] / r["opened_in"], 0, is_ratio=False),
)
STALLED = (
    Figure("KiB each", lambda r: r["bytes_each"] / 1024, 1),
    Figure("KiB each after", lambda r: r["bytes_each_after"] / 1024, 1, is_ratio=False),
    Figure("KiB under way each", lambda r: r["under_way_each"] / 1024, 0, is_ratio=False),
)


def cases(parts: list[str], idle: int, stalled: int, with_tls: bool) -> list[Case]:
    """Plain ones, and with TLS bulk, trips and connections again."""
    found = []
    for count in (1, 32):
        for job in ("up", "down"):
            found.append(Case(f"{job}, {count}", "bulk", job, ("--connections", str(count)), BULK))
    found.append(Case("both ways, 1", "bulk", "both", (), BULK))
    for count in (1, 32):
        found.append(Case(f"trips, {count}", "trips", "trips", ("--connections", str(count)), TRIPS))
    found.append(Case("connections", "connections", "rate", (), RATE))
    if with_tls:
        for job in ("up", "down"):
            for name, cipher in (("ChaCha20", CHACHA), ("AES-128", AES)):
                found.append(Case(f"TLS {job}, 1, {name}", "bulk", job, (), BULK, cipher))
        found.append(Case("TLS trips, 1", "trips", "trips", (), TRIPS, AES))
        found.append(Case("TLS connections", "connections", "rate", (), RATE, AES))
    found.append(Case(f"idle, {idle}", "idle", "idle", ("--connections", str(idle)), IDLE, most=min(200, idle)))
    for way in ("up", "down"):
        options = ("--connections", str(stalled))
        found.append(Case(f"stalled {way}, {stalled}", "stalled", f"stalled-{way}", options, STALLED))
    return [case for case in found if case.part in parts]
