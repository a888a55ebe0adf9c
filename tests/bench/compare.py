#!/usr/bin/python3
"""tidegate beside nginx, HAProxy and websockify, under one load generator, in turn.

Usage: scripts/bench [OPTIONS]     (it installs, builds, and calls this)

Each measurement starts its subject afresh, on a CPU of its own; the load generator, which is the backend too, is on
another. nginx `stream` and HAProxy move raw TCP, tidegate and websockify WebSocket messages to raw TCP. Printed are
medians, what they lie between, and ratios to the reference in the same round (medians of the rounds). No verdicts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kit
import plot
from cases import PARTS, Case, Result, cases
from subjects import MAX_CONNECTIONS, Running, Subject, parse
from summary import Rounds, summarize, tables

SUBJECTS = "tidegate,nginx,haproxy,haproxy-splice,websockify"
LIMIT_S = 180  # of a measurement


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="5; quick: 1")
    parser.add_argument("--seconds", type=int, help="of each measurement: 3; quick: 1")
    parser.add_argument("--only", default=",".join(PARTS), help="parts: %(default)s")
    parser.add_argument("--subjects", help=f"{SUBJECTS} (quick: tidegate,nginx); also tidegate-2: two workers; tidegate-2-on-1: two that share a CPU; tidegate=BUILD")
    parser.add_argument("--reference", default="nginx", help="whose figures ratios are to; default: %(default)s")
    parser.add_argument("--build", type=Path, help="a meson folder (default: one is built)")
    parser.add_argument("--tls", action="store_true", help="bulk, trips and connections over TLS, too")
    parser.add_argument("--idle", type=int, help="connections: 8000; quick: 1000")
    parser.add_argument("--stalled", type=int, default=100, help="connections: %(default)s")
    parser.add_argument("--real-time", action="store_true", help="run before all else on the machine (chrt -f 1; root)")
    parser.add_argument("--quick", action="store_true", help="under a minute, for development")
    parser.add_argument("--json", type=Path, help="write all of it here")
    parser.add_argument("--plot", type=Path, help="write a picture here: .svg or .png")
    args = parser.parse_args()
    for name, value, quick in (("rounds", 5, 1), ("seconds", 3, 1), ("idle", 8000, 1000)):
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else value)
    args.subjects = args.subjects or ("tidegate,nginx" if args.quick else SUBJECTS)
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if args.build is None:
        parser.error("--build is missing")
    if args.idle + 200 > MAX_CONNECTIONS:
        parser.error(f"--idle: at most {MAX_CONNECTIONS - 200}")
    return args


def stolen() -> tuple[int, int]:
    """Ticks of all CPUs that a hypervisor gave to others, and all ticks (proc(5), /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    return ticks[7], sum(ticks)


def raise_limits() -> None:
    wanted = 2 * MAX_CONNECTIONS + 3000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    except (ValueError, OSError):
        print(f"bench: only {hard} descriptors for each process: {wanted} are wanted", file=sys.stderr)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(case: Case, subject: Subject, build: Path, seconds: int, tls: list[str]) -> Result | None:
    """None if it fails, which is said."""
    try:
        with Running(subject, tls if case.cipher else ()) as running:
            command = [str(build / "tests/bench/load"), case.job, "--to", running.address, "--pid", str(running.pid)]
            command += ["--backend-fd", str(running.backend.fileno()), *case.options_for(subject, seconds)]
            return kit.run_json(kit.on_cpu(kit.LOAD_CPU, command), pass_fds=[running.backend.fileno()], timeout=LIMIT_S)
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"{case.name}: {subject.label}: {error}", file=sys.stderr)
        return None


def run(args: argparse.Namespace, subjects: list[Subject], plan: list[Case]) -> Rounds:
    rounds: Rounds = []
    with tempfile.TemporaryDirectory() as folder:
        tls = kit.make_certificate(Path(folder)) if args.tls else []
        for number in range(args.rounds):
            results: dict[str, dict[str, Result | None]] = {}
            for case in plan:
                if sys.stderr.isatty():
                    print(f"\rround {number + 1} of {args.rounds}: {case.name:24}", end="", file=sys.stderr, flush=True)
                those = [subject for subject in subjects if case.measures(subject)]
                results[case.name] = {s.label: measure(case, s, args.build, args.seconds, tls) for s in those}
            rounds.append(results)
            print(f"\rround {number + 1} of {args.rounds}" + " " * 24, file=sys.stderr)
    return rounds


def surroundings(args: argparse.Namespace, subjects: list[Subject], begun: Any) -> dict[str, Any]:
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as setting:
        congestion = setting.read().strip()
    now = stolen()
    return {
        "machine": kit.machine(),
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "versions": {subject.label: subject.version() for subject in subjects},
        "workers": {subject.label: subject.workers for subject in subjects if subject.workers},
        "congestion_control": congestion,
        "own_network_namespace": os.environ.get("TIDEGATE_BENCH_NETWORK") == "own",
        "real_time": args.real_time,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "load_average": {"begin": begun[0], "end": os.getloadavg()},
        "stolen": (now[0] - begun[1][0]) / max(1, now[1] - begun[1][1]),
    }


def describe(around: dict[str, Any]) -> str:
    begin, end = around["load_average"].values()
    network = "a network namespace of its own" if around["own_network_namespace"] else "the machine's network namespace"
    lines = [
        around["command"],
        around["machine"],
        *(f"{label}: {version}" for label, version in around["versions"].items()),
        f"{network}, congestion control {around['congestion_control']} (the generator's and tidegate's sockets: reno)",
        f"{around['rounds']} rounds of {around['seconds']} s" + (", real-time priority" if around["real_time"] else ""),
        f"load average {begin[0]:.1f} at the beginning, {end[0]:.1f} at the end; {around['stolen']:.1%} of all CPUs stolen",
    ]
    return "\n".join(lines)


def main() -> int:
    args = arguments()
    try:
        subjects = [parse(text, args.build) for text in args.subjects.split(",")]
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 64
    raise_limits()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is stopped
    if args.real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    begun = os.getloadavg(), stolen()
    plan = cases(args.only, args.idle, args.stalled, args.tls)
    rounds = run(args, subjects, plan)
    labels = [subject.label for subject in subjects]
    reference = args.reference if args.reference in labels else labels[0]
    found = summarize(plan, labels, reference, rounds)
    around = surroundings(args, subjects, begun)
    everything = {**around, "reference": reference, "summary": found, "results": rounds}
    if args.json:
        args.json.write_text(json.dumps(everything, indent=1) + "\n")
    print(describe(around), f"ratios to {reference}", "", tables(plan, found, args.rounds), sep="\n")
    if args.plot:
        plot.draw(everything, args.plot)
    return 1 if any(r is None for results in rounds for by in results.values() for r in by.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
