#!/usr/bin/python3
"""Hours of mixed load through the real program: descriptors, memory and timers must stay flat, and every byte be
accounted for.

Usage: tests/soak/soak.py [--hours H | --minutes M | --seconds S] [--build DIR] [--rate LOW|FULL] [--workers N] [--tls]

Bulk, stalled readers, round trips, churn, byte-by-byte, resets by either side, refused and abandoned handshakes, on
all carriers, beside hundreds of half-closed connections that stay. From time to time all but these end: the quiet
points, at which the process is measured. Ends by itself, with a table; exits with 0 if all was well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from talks import KINDS, SMALL_BUFFER, Idlers, Stage
from verdict import Verdict, judge_counts, judge_ends, judge_flat, judge_log
from watch import Metrics, Proxy, Sample

FAILURES_MAX = 10
LOW_SHARE = 0.12  # of a core: proxy, clients and backend
CREW = {"bulk": 2, "stall": 2, "trips": 2, "short": 2, "dribble": 2, "broken": 3, "refused": 1, "abandoned": 1}

CONFIG = """
listen: ["{listen}"]
routes:
  - {{name: tcp, path: /tcp, backend: "{tcp}"}}
  - {{name: unix, path: /unix, backend: "unix:{unix}"}}
  - {{name: broken, path: /broken, backend: "{broken}"}}
  - {{name: idle, path: /idle, backend: "{idle}"}}
  - {{name: nowhere, path: /nowhere, backend: "{nowhere}"}}
  - {{name: strict, path: /strict, backend: "{tcp}", plain: refuse}}
"""


@dataclass
class Options:
    binary: str
    seconds: float
    share: float | None = LOW_SHARE  # of a core; None: as much as there is
    idlers: int = 1000
    workers: int = 0  # of the proxy; 0: its default
    is_tls: bool = False
    load_seconds: float = 0  # between quiet points; 0: a twentieth of all
    quiet_seconds: float = 5
    scale: float = 1.0  # of large talks, and of waits
    patience: float = 120.0
    seed: int = 1
    crew: dict[str, int] = field(default_factory=lambda: dict(CREW))
    counts: dict[str, int] = field(default_factory=dict)  # so many of each kind of the crew, however long it takes
    has_memory: bool = True
    say: Callable[[str], None] = print


@dataclass
class Report:
    verdict: Verdict
    failures: list[str]
    quiet: list[Sample]
    samples: list[Sample]
    talks: dict[str, int]

    @property
    def is_good(self) -> bool:
        return self.verdict.is_good and not self.failures

    def bad(self) -> str:
        return "\n".join(self.failures + [what for good, what in self.verdict.checks if not good])


def has_flag(binary: str, flag: str) -> bool:
    shown = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    return any(line.split()[:1] == [flag] for line in shown.splitlines())


def make_certificate(folder: Path) -> tuple[list[str], ssl.SSLContext]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=str(cert))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # it is its own authority, and has no extension that says so
    return ["--tls-cert", str(cert), "--tls-key", str(key)], context


class Soak:
    def __init__(self, options: Options, folder: Path) -> None:
        self.o = options
        self.folder = folder
        self.flags: list[str] = []
        context = None
        if options.is_tls:
            self.flags, context = make_certificate(folder)
        self.stage = Stage(options.seed, options.patience, context)
        self.stage.scale = options.scale
        self.ledger = self.stage.ledger
        self.idlers = Idlers(self.stage)
        self.failures: list[str] = []
        self.samples: list[Sample] = []
        self.quiet: list[Sample] = []
        self.pause = 0.5 if options.share else 0.0  # between talks of one worker, on average
        self._begin = time.monotonic()
        self.is_stopped = False
        self._may_go = asyncio.Event()
        self._working = 0
        self._left = dict(options.counts)

    def now(self) -> float:
        return time.monotonic() - self._begin

    # ---- the two sides ----

    def listeners(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in ("tcp", "broken", "idle", "nowhere"):
            sock = socket.socket()
            sock.setblocking(False)
            if name in ("tcp", "broken"):  # full early, when they do not read
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            sock.bind(("127.0.0.1", 0))
            if name != "nowhere":  # refused
                sock.listen(1024)
            found[name] = sock
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.bind(str(self.folder / "backend"))
        sock.listen(1024)
        found["unix"] = sock
        return found

    def start_proxy(self, listeners: dict[str, Any]) -> Proxy:
        where = {name: "127.0.0.1:%d" % s.getsockname()[1] for name, s in listeners.items() if name != "unix"}
        where["unix"] = str(self.folder / "backend")
        where["listen"] = "127.0.0.1:0"
        config = self.folder / "soak.yaml"
        config.write_text(CONFIG.format(**where))
        command = [self.o.binary, "serve", "--config", str(config), "--log-format", "json"]
        command += ["--status", "127.0.0.1:0", "--drain-delay", "0", *self.flags]
        # Those that stay may be without a byte for all of it: by default the proxy ends them after an hour.
        command += ["--half-closed-timeout", f"{2 * self.o.seconds + 3600:.0f}s"]
        if self.o.workers and has_flag(self.o.binary, "--workers"):
            command += ["--workers", str(self.o.workers)]
        return Proxy(command)

    # ---- load ----

    async def work(self, kind: str) -> None:
        """One worker: talks of one kind, one after the other, while there is load."""
        while True:
            await self._may_go.wait()
            if self._left.get(kind) == 0:
                return
            if kind in self._left:
                self._left[kind] -= 1
            self._working += 1
            try:
                async with asyncio.timeout(self.o.patience):
                    await KINDS[kind](self.stage)
                self.ledger.talks[kind] += 1
            except TimeoutError:
                self.fail(kind, f"not over after {self.o.patience} s")
            except (AssertionError, OSError) as failure:
                self.fail(kind, f"{type(failure).__name__}: {failure}")
            finally:
                self._working -= 1
            await asyncio.sleep(self.stage.rng.expovariate(1 / self.pause) if self.pause else 0)

    async def trickle(self) -> None:
        while True:
            await self._may_go.wait()
            await self.idlers.trickle()
            await asyncio.sleep(max(self.pause, 0.01))

    def fail(self, kind: str, what: str) -> None:
        self.failures.append(f"{self.now():.1f} s: {kind}: {what}")
        self.o.say(self.failures[-1])

    async def govern(self) -> None:
        """Keeps to the share of a core."""
        if self.o.share is None:
            return
        while True:
            before = time.monotonic(), time.process_time() + self.proxy.cpu_seconds()
            await asyncio.sleep(1)
            if not self._may_go.is_set():
                continue
            used = time.process_time() + self.proxy.cpu_seconds() - before[1]
            is_much = used / (time.monotonic() - before[0]) > self.o.share
            self.pause = min(max(self.pause * (1.1 if is_much else 0.93), 0.002), 20)

    async def watch(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            self.samples.append(await self.sample())

    async def sample(self) -> Sample:
        sample = self.proxy.sample(self.now())
        metrics = await self.proxy.metrics()
        sample.deadlines = metrics.get("tidegate_deadlines")
        sample.active = metrics.get("tidegate_connections_active")
        return sample

    # ---- phases ----

    async def rest(self) -> None:
        """A quiet point: all but the idlers end; then, how it is."""
        self._may_go.clear()
        deadline = self.now() + self.o.patience + 20
        while self._working and self.now() < deadline:
            await asyncio.sleep(0.02)
        sample = await self.settle()
        before = self.now(), self.proxy.cpu_seconds()
        await asyncio.sleep(self.o.quiet_seconds)
        sample.idle_cpu = (self.proxy.cpu_seconds() - before[1]) / (self.now() - before[0])
        self.quiet.append(sample)
        self.o.say(
            f"{sample.at:6.0f} s  RSS {sample.rss >> 10} KiB  PSS {sample.pss >> 10} KiB  anonymous {sample.anonymous >> 10} KiB"
            f"  {sample.descriptors} descriptors"
            f"  {sample.deadlines} deadlines  {sample.threads} threads  CPU {sample.cpu:.1f} s, idle {sample.idle_cpu:.2%}"
            f"  {sum(self.ledger.talks.values())} talks, {self.bytes_received() / 2**20:.0f} MiB"
        )

    def bytes_received(self) -> int:
        return sum(self.ledger.up_received.values()) + sum(self.ledger.down_received.values())

    async def settle(self) -> Sample:
        """Waits until the process is as at the first quiet point; at that, until it stays as it is. What it is
        like then is for the verdict."""
        deadline = self.now() + 20
        last: tuple[int, int] | None = None
        same = 0
        while True:
            sample = await self.sample()
            seen = (sample.active, sample.descriptors)
            same = same + 1 if seen == last else 0
            last = seen
            if self.quiet:
                first = self.quiet[0]
                is_settled = seen == (first.active, first.descriptors)
            else:
                is_settled = same >= 5 and sample.active == self.o.idlers
            if is_settled or self.now() > deadline:
                return sample
            await asyncio.sleep(0.1 if self.quiet else 0.3)

    def is_over(self) -> bool:
        if self.is_stopped or len(self.failures) >= FAILURES_MAX:
            return True
        is_enough = not any(self._left.values()) if self._left else self.now() >= self.o.seconds
        return is_enough and len(self.quiet) >= 2

    def stop(self) -> None:
        """At SIGINT and SIGTERM: a quiet point, and the end."""
        self.is_stopped = True

    async def play(self) -> None:
        async with asyncio.timeout(self.o.patience):
            await self.idlers.start(self.o.idlers)
        load = self.o.load_seconds or min(max(self.o.seconds / 20, 8), 180)
        crew = [asyncio.create_task(self.work(kind)) for kind, n in self.o.crew.items() for _ in range(n)]
        crew.append(asyncio.create_task(self.trickle()))
        others = [asyncio.create_task(self.govern()), asyncio.create_task(self.watch(max(load / 5, 2)))]
        try:
            while not self.is_over():
                self._may_go.set()
                until = self.now() + load
                while self.now() < until and len(self.failures) < FAILURES_MAX and not self.is_stopped:
                    await asyncio.sleep(0.1)
                    for task in (*crew, *others):
                        if task.done() and not task.cancelled() and task.exception():
                            task.result()
                    if self.proxy.process.poll() is not None:
                        raise AssertionError(f"the proxy has ended: {self.proxy.process.returncode}")
                    if self._left and not any(self._left.values()) and not self._working:
                        break
                await self.rest()
        finally:
            for task in (*crew, *others):
                task.cancel()
            await asyncio.gather(*crew, *others, return_exceptions=True)

    async def end(self, before: Sample) -> tuple[Sample, Metrics]:
        """When nothing is left, or should not be."""
        deadline = self.now() + 20
        while True:
            sample = await self.sample()
            seen = (sample.active, sample.deadlines, sample.descriptors)
            if seen == (0, before.deadlines, before.descriptors) or self.now() > deadline:
                return sample, await self.proxy.metrics()
            await asyncio.sleep(0.05)

    async def run(self) -> Report:
        verdict = Verdict()
        listeners = self.listeners()
        self.proxy = self.start_proxy(listeners)
        acceptors: list[asyncio.Task[None]] = []
        try:
            self.stage.proxy = self.proxy.address("listening")
            for name, sock in listeners.items():
                if name != "nowhere":
                    acceptors.append(asyncio.create_task(self.stage.accept(sock)))
            await self.sample()  # and so knows that the status port is open
            await asyncio.sleep(0.3)
            before = await self.sample()
            try:
                await self.play()
                async with asyncio.timeout(self.o.patience):
                    await self.idlers.finish()
            except (AssertionError, OSError) as failure:
                self.fail("run", f"{type(failure).__name__}: {failure}")
            if self.quiet:
                judge_flat(verdict, before, self.quiet, self.o.has_memory)
            if self.proxy.process.poll() is None:
                after, metrics = await self.end(before)
                verdict.numbers["CPU, seconds"] = round(self.proxy.cpu_seconds(), 2)
                verdict.numbers["CPU of clients and backends"] = round(time.process_time(), 2)
                verdict.numbers["pings answered"] = self.ledger.pings
                judge_ends(verdict, before, after)
                judge_counts(verdict, metrics, self.ledger, self.stage.strays)
                judge_log(verdict, self.proxy, metrics, self.proxy.finish(30))
        finally:
            for task in acceptors:
                task.cancel()
            await asyncio.gather(*acceptors, return_exceptions=True)
            self.proxy.kill()
            for sock in listeners.values():
                sock.close()
        self.failures += self.proxy.odd_lines
        return Report(verdict, self.failures, self.quiet, self.samples, dict(self.ledger.talks))


def run(options: Options) -> Report:
    """Plays all of it. Descriptors: three a connection here, two there."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def play(folder: str) -> Report:
        soak = Soak(options, Path(folder))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, soak.stop)
        return await soak.run()

    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        return asyncio.run(play(folder))


def show(report: Report) -> None:
    print()
    for good, what in report.verdict.checks:
        print(f"{'ok  ' if good else 'BAD '} {what}")
    print(", ".join(f"{n} {kind}" for kind, n in sorted(report.talks.items())))
    for name, value in report.verdict.numbers.items():
        print(f"{name}: {value}")
    for failure in report.failures:
        print(f"BAD  {failure}")
    print("all was well" if report.is_good else "NOT well")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float)
    length.add_argument("--minutes", type=float)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parents[2] / "build")
    parser.add_argument("--rate", choices=["LOW", "FULL"], default="LOW", help="LOW: an eighth of a core in all")
    parser.add_argument("--workers", type=int, default=0, help="of the proxy, if it has them")
    parser.add_argument("--tls", action="store_true", help="clients come over wss")
    parser.add_argument("--idlers", type=int, default=1000, help="half-closed connections that stay")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, help="where to write all that was measured")
    args = parser.parse_args()
    seconds = args.hours * 3600 if args.hours else args.minutes * 60 if args.minutes else args.seconds or 3600
    is_full = args.rate == "FULL"
    options = Options(
        str(args.build / "proxy" / "tidegate"),
        seconds,
        share=None if is_full else LOW_SHARE,
        idlers=args.idlers,
        workers=args.workers,
        is_tls=args.tls,
        scale=4.0 if is_full else 1.0,
        seed=args.seed,
        say=lambda line: print(line, flush=True),
    )
    print(f"seed {args.seed}, {seconds:.0f} s, {args.idlers} half-closed connections stay", flush=True)
    report = run(options)
    show(report)
    if args.json:
        found = asdict(report)
        found["is_good"] = report.is_good
        found["options"] = {k: v for k, v in vars(args).items() if k not in ("build", "json")}
        found["cpus"] = os.cpu_count()
        args.json.write_text(json.dumps(found, indent=1))
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
