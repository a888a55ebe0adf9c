#!/usr/bin/python3
"""Random scripts for two programs, over plain TCP and through tunnel and proxy: both must see the same.

  differential.py --scripts 1000 --seed 7         1,000 scripts of seed 7
  differential.py --hours 2                       new seeds, for two hours
  differential.py --only 7:123                    one script, with both traces
  differential.py --through socat --scripts 60    how another relay fares

Exit status: 0 all equal, 1 not, 64 usage. TIDEGATE names the binary.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from paths import RCVBUF, WAYS, Direct, Listener, Way
from play import STEP_PATIENCE, Trace, play
from script import MEANING, Script, Step, generate
from support import dial

SHRINK_SECONDS = 40.0
SHRINK_TRIES = 3  # a race need not show at once
SHRINK_PATIENCE = 2.0  # for a step


@dataclass
class Finding:
    """A script whose trace was not plain TCP's."""

    script: Script
    shortest: Script
    plain: Trace
    other: Trace
    runs: int  # what shrinking took

    def __str__(self) -> str:
        ops = {step.op for step in self.shortest.steps}
        lines = [f"script {self.script.name}: not as over plain TCP. The shortest that shows it:", str(self.shortest)]
        for side in self.plain:
            if self.plain[side] != self.other[side]:
                lines += [f"  {side}, plain TCP:", *(f"    {line}" for line in self.plain[side])]
                lines += [f"  {side}, here:", *(f"    {line}" for line in self.other[side])]
        lines += [f"  ({op}: {text})" for op, text in MEANING.items() if op in ops]
        return "\n".join(lines)


@dataclass
class Summary:
    """What came of a run."""

    equal: int = 0
    unstable: list[str] = field(default_factory=list)  # plain TCP gave two traces: says nothing
    findings: list[Finding] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # processes that died or kept descriptors

    @property
    def played(self) -> int:
        return self.equal + len(self.unstable) + len(self.findings)

    def __str__(self) -> str:
        text = f"{self.equal} of {self.played} scripts as over plain TCP"
        if self.unstable:
            text += f"; not fixed by plain TCP itself: {' '.join(self.unstable)}"
        return "\n".join([text, *self.failures])


class Bench:
    """One worker: a server's port, and the ways to it."""

    def __init__(self, through: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
        self.listener = Listener()
        self.plain: Way = Direct(self.listener.address, self.folder)
        try:
            self.other: Way = WAYS[through](self.listener.address, self.folder)
        except BaseException:
            self._clear()
            raise

    def _clear(self) -> None:
        self.listener.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        try:
            self.listener.empty()
            self.other.finish()
        finally:
            self.other.kill()
            self._clear()

    def run(self, script: Script, way: Way, patience: float = STEP_PATIENCE) -> Trace:
        self.listener.empty()
        return play(script, lambda: dial(way.address, rcvbuf=RCVBUF), self.listener.sock, patience)

    def stable_trace(self, script: Script, patience: float = STEP_PATIENCE) -> Trace | None:
        """Plain TCP's, or None if it has two."""
        traces = [self.run(script, self.plain, patience) for _ in range(2)]
        stuck = any("STUCK" in line for lines in traces[0].values() for line in lines)
        return None if stuck or traces[0] != traces[1] else traces[0]

    def differs(self, script: Script) -> tuple[Trace, Trace] | None:
        """Both traces, if they differ at least once."""
        if (plain := self.stable_trace(script, SHRINK_PATIENCE)) is None:
            return None
        for _ in range(SHRINK_TRIES):
            if (other := self.run(script, self.other, SHRINK_PATIENCE)) != plain:
                return plain, other
        return None

    def shrink(self, script: Script, plain: Trace, other: Trace) -> Finding:
        """Delta debugging: leaves out ever smaller runs of steps, then makes numbers small."""
        best, runs = script, 0
        deadline = time.monotonic() + SHRINK_SECONDS

        def attempt(steps: list[Step]) -> bool:
            nonlocal best, plain, other, runs
            candidate = Script(steps, script.name)
            if time.monotonic() > deadline or not candidate.is_valid():
                return False
            runs += 1
            if (traces := self.differs(candidate)) is None:
                return False
            best, (plain, other) = candidate, traces
            return True

        has_shrunk = True
        while has_shrunk and time.monotonic() < deadline:
            has_shrunk = False
            size = len(best.steps) // 2
            while size:
                at = 0
                while at < len(best.steps):
                    if attempt(best.steps[:at] + best.steps[at + size :]):
                        has_shrunk = True
                    else:
                        at += 1
                size //= 2
            for smaller in self._smaller_numbers(best):
                has_shrunk = attempt(smaller) or has_shrunk
        return Finding(script, best, plain, other, runs)

    def _smaller_numbers(self, script: Script) -> Iterator[list[Step]]:
        """A send together with the read that fits it; otherwise one number at a time."""
        steps = script.steps
        for n in sorted({step.n for step in steps if step.n > 1} | {step.m for step in steps if step.m > 1}):
            for small in (1, 100, 10_000, n // 2):
                if small < n:
                    yield [s._replace(n=small if s.n == n else s.n, m=small if s.m == n else s.m) for s in steps]


def run(scripts: Iterable[Script], through: str = "tidegate", workers: int = 4, most_findings: int = 3) -> Summary:
    """Plays them all, several at a time. Stops early when there is enough to look at."""
    summary = Summary()
    lock = threading.Lock()
    found = 0  # also those that are being shrunk
    source = iter(scripts)

    def take() -> Script | None:
        with lock:
            return next(source, None) if found < most_findings else None

    def work() -> None:
        nonlocal found
        bench = Bench(through)
        try:
            while (script := take()) is not None:
                plain = bench.stable_trace(script)
                if plain is None:
                    with lock:
                        summary.unstable.append(script.name)
                    continue
                other = bench.run(script, bench.other)
                if other == plain:
                    with lock:
                        summary.equal += 1
                    continue
                with lock:
                    found += 1
                finding = Finding(script, script, plain, other, 0)
                if through not in ("socat", "haproxy"):
                    finding = bench.shrink(script, plain, other)
                with lock:
                    summary.findings.append(finding)
        finally:
            bench.stop()

    def guarded() -> None:
        try:
            work()
        except BaseException as failure:  # told at the end
            with lock:
                summary.failures.append(f"{type(failure).__name__}: {failure}")

    threads = [threading.Thread(target=guarded) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary


def scripts_of(seed: int, count: int) -> Iterator[Script]:
    return (generate(seed, number) for number in range(count))


def scripts_until(seed: int, deadline: float) -> Iterator[Script]:
    for number in itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.count()):
        yield generate(seed, number)


def show(name: str, through: str) -> int:
    """One script and its traces over plain TCP, twice, and through the other way."""
    seed, _, number = name.partition(":")
    script = generate(int(seed), int(number))
    print(script)
    bench = Bench(through)
    try:
        runs = [("plain", bench.run(script, bench.plain)) for _ in range(2)]
        runs += [(through, bench.run(script, bench.other))]
    finally:
        bench.stop()
    for label, trace in runs:
        for side, lines in trace.items():
            print(f"{label}: {side}", *(f"    {line}" for line in lines), sep="\n")
    return 0 if runs[0][1] == runs[2][1] else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="default: from the clock")
    parser.add_argument("--scripts", type=int, default=1000)
    parser.add_argument("--hours", type=float, help="plays scripts for so long, instead of a number of them")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--through", choices=sorted(WAYS), default="tidegate")
    parser.add_argument("--only", metavar="SEED:NUMBER")
    options = parser.parse_args()
    if options.only:
        return show(options.only, options.through)
    seed = options.seed if options.seed is not None else int(time.time())
    is_reference = options.through in ("socat", "haproxy", "plain")
    most = 10**9 if is_reference else 3
    if options.hours:
        scripts = scripts_until(seed, time.monotonic() + options.hours * 3600)
    else:
        scripts = scripts_of(seed, options.scripts)
    begun = time.monotonic()
    summary = run(scripts, options.through, options.workers, most)
    for finding in [] if is_reference else summary.findings:
        print(finding)
    print(f"seed {seed}, through {options.through}, {time.monotonic() - begun:.0f} s: {summary}")
    return 1 if summary.findings or summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
