"""Whether all was well: what was flat, and whether each byte is accounted for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from talks import SOUND_ROUTES, Ledger
from watch import Metrics, Proxy, Sample

KIB = 1024
DEADLINES_EACH = 4  # of a half-closed connection, at most; a write's stays for a while after it
IDLE_CPU_EACH = 0.00005  # of a core: pings, and what answers them
MEMORY_GROWTH = 256 * KIB  # over all quiet points that count, or
MEMORY_GROWTH_AN_HOUR = 0.01  # of what is resident
POINTS_TO_WARM_UP = 2


@dataclass
class Verdict:
    checks: list[tuple[bool, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return all(good for good, _ in self.checks)

    def check(self, is_so: bool, what: str) -> None:
        self.checks.append((is_so, what))

    def equal(self, what: str, proxy: int, counted: int) -> None:
        self.check(proxy == counted, f"{what}: the proxy says {proxy}, counted {counted}")

    def within(self, what: str, least: int, proxy: int, most: int) -> None:
        self.check(least <= proxy <= most, f"{what}: the proxy says {proxy}, received {least}, sent {most}")


def runs(values: list[int]) -> str:
    """5 5 5 7 is "5 (3 times), 7"."""
    return ", ".join(
        f"{value} ({n} times)" if (n := len(list(group))) > 1 else str(value) for value, group in groupby(values)
    )


def slope(points: Iterable[tuple[float, float]]) -> float:
    """Of the line that fits best."""
    xy = list(points)
    n = len(xy)
    x_mean, y_mean = sum(x for x, _ in xy) / n, sum(y for _, y in xy) / n
    spread = sum((x - x_mean) ** 2 for x, _ in xy)
    return sum((x - x_mean) * (y - y_mean) for x, y in xy) / spread if spread else 0.0


def judge_ends(v: Verdict, before: Sample, after: Sample) -> None:
    """Without a connection, at the start and at the end."""
    for name in ("descriptors", "deadlines"):
        values = getattr(before, name), getattr(after, name)
        v.check(values[0] == values[1], f"{name} without a connection: {values[0]}, in the end {values[1]}")
    v.numbers["RSS without a connection, KiB"] = before.rss // KIB, after.rss // KIB


def judge_flat(v: Verdict, before: Sample, quiet: list[Sample], has_memory: bool) -> None:
    first = quiet[0]
    for name in ("descriptors", "threads", "active"):
        seen = [getattr(sample, name) for sample in quiet]
        v.check(set(seen) == {getattr(first, name)}, f"{name} at the quiet points: {runs(seen)}")
    most = before.deadlines + DEADLINES_EACH * first.active
    seen = [sample.deadlines for sample in quiet]
    v.check(max(seen) <= most, f"deadlines at the quiet points: {min(seen)} to {max(seen)}, at most {most}")
    counted = quiet[max(POINTS_TO_WARM_UP, len(quiet) // 3) :]  # the heap finds its size first
    if not has_memory or len(counted) < 3:
        return
    cpu = sorted(sample.idle_cpu for sample in counted)
    allowed_cpu = 0.002 + IDLE_CPU_EACH * first.active
    v.numbers["CPU when idle, median and most"] = f"{cpu[len(cpu) // 2]:.3%}", f"{cpu[-1]:.3%}"
    v.check(cpu[len(cpu) // 2] <= allowed_cpu, f"CPU when idle: {cpu[len(cpu) // 2]:.2%}, at most {allowed_cpu:.1%}")
    span = counted[-1].at - counted[0].at
    growth = slope((sample.at, sample.anonymous) for sample in counted) * span
    allowed = max(MEMORY_GROWTH, counted[0].rss * MEMORY_GROWTH_AN_HOUR * span / 3600)
    v.numbers["memory growth"] = round(growth)
    v.check(growth <= allowed, f"memory: {growth / KIB:+.0f} KiB in {span:.0f} s, {allowed / KIB:.0f} are allowed")


def judge_counts(v: Verdict, metrics: Metrics, ledger: Ledger, strays: int) -> None:
    """When all is over."""
    routes = {route for route, _ in ledger.opened}
    for (route, carrier), count in sorted(ledger.opened.items()):
        got = metrics.get("tidegate_connections_opened_total", route=route, carrier=carrier)
        v.equal(f"{route}, {carrier}: opened", got, count)
    for route in sorted(routes):
        opened = sum(n for (name, _), n in ledger.opened.items() if name == route)
        v.equal(f"{route}: closed", metrics.get("tidegate_connections_closed_total", route=route), opened)
        good = metrics.get("tidegate_connections_closed_total", route=route, cause="ok")
        v.equal(f"{route}: closed in good order", good, ledger.good[route])
        v.equal(f"{route}: 101", metrics.get("tidegate_handshakes_total", route=route, result="ok"), opened)
        ways = {
            "to_backend": (ledger.up_received[route], ledger.up_sent[route]),
            "to_client": (ledger.down_received[route], ledger.down_sent[route]),
        }
        for way, (received, sent) in ways.items():
            got = metrics.get("tidegate_bytes_total", route=route, direction=way)
            v.within(f"{route}: bytes {way}", received, got, sent)
            if route in (*SOUND_ROUTES, "idle"):
                v.check(received == sent, f"{route}: bytes {way}: {sent} sent, {received} received")
    for (route, result), count in sorted(ledger.refused.items()):
        v.equal(f"{route or 'no route'}: {result}", metrics.get("tidegate_handshakes_total", route=route, result=result), count)
    results = sum(ledger.opened.values()) + sum(ledger.refused.values()) + ledger.abandoned
    v.equal("handshakes in all", metrics.get("tidegate_handshakes_total"), results)
    for gauge in ("connections_active", "half_closed_connections", "handshakes_in_progress", "buffered_bytes"):
        v.equal(f"{gauge} at the end", metrics.get(f"tidegate_{gauge}"), 0)
    v.check(strays == 0, f"connections to the backend that nobody had asked for: {strays}")


def judge_log(v: Verdict, proxy: Proxy, metrics: Metrics, status: int) -> None:
    v.equal("exit status", status, 0)
    v.equal("log: lines that are errors or no record", proxy.levels["error"] + len(proxy.odd_lines), 0)
    v.equal("log: connections", sum(proxy.causes.values()), metrics.get("tidegate_connections_closed_total"))
    for way in ("to_backend", "to_client"):
        logged = sum(n for (_, direction), n in proxy.bytes.items() if direction == way)
        v.equal(f"log: bytes {way}", logged, metrics.get("tidegate_bytes_total", direction=way))
