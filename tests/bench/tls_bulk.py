#!/usr/bin/python3
"""Bulk through `tidegate serve` over TLS, beside what mbedTLS's own AEAD does in the same run.

Usage: tests/bench/tls_bulk.py BUILD [--rounds N] [--seconds S] [--json FILE]

One connection, messages of 64 KiB, each direction, each cipher; proxy on one CPU, load generator and backend on the
other. AEAD: records of 16 KiB on the proxy's CPU, with the other CPU idle and with the other CPU doing the same.
Rounds are taken in turn; medians are printed. BUILD is a meson folder (--buildtype=release) with libssl-dev there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kit

CIPHERS = {"chacha20": "ECDHE-ECDSA-CHACHA20-POLY1305", "aes128": "ECDHE-ECDSA-AES128-GCM-SHA256"}
WORK_OF = {"up": "open", "down": "seal"}  # what the proxy does with the cipher


def rate(result: dict[str, Any]) -> float:
    """MB for each second of the CPU."""
    return result["bytes"] / result["cpu_seconds"] / 1e6


def aead(build: Path, cipher: str, work: str, seconds: int, is_other_busy: bool) -> dict[str, Any]:
    command = [str(build / "tests/bench/aead"), cipher, work]
    other = None
    if is_other_busy:
        other = subprocess.Popen(kit.on_cpu(kit.LOAD_CPU, [*command, str(seconds + 1)]), stdout=subprocess.DEVNULL)
    result = kit.run_json(kit.on_cpu(kit.PROXY_CPU, [*command, str(seconds)]))
    if other is not None:
        other.terminate()
        other.wait()
    return result


def one_round(build: Path, proxy: kit.Proxy, backend: Any, seconds: int) -> dict[str, dict[str, Any]]:
    results = {}
    for name, cipher in CIPHERS.items():
        for job, work in WORK_OF.items():
            options = ["--cipher", cipher, "--seconds", str(seconds)]
            quiet, busy = (aead(build, name, work, seconds, is_busy) for is_busy in (False, True))
            proxied = kit.load(build, job, proxy, backend, options)
            results[f"{name} {job}"] = {
                "throughput": proxied["bytes"] / proxied["seconds"] / 1e6,
                "cpu_share": proxied["cpu_seconds"] / proxied["seconds"],
                "load_cpu_share": proxied["own_cpu_seconds"] / proxied["seconds"],
                "cpu_per_gb": 1e3 / rate(proxied),
                "aead_quiet": rate(quiet),
                "aead_busy": rate(busy),
                "ratio_quiet": rate(proxied) / rate(quiet),
                "ratio_busy": rate(proxied) / rate(busy),
            }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    backend = kit.listen()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        with kit.Proxy(args.build, backend, kit.make_certificate(Path(folder))) as proxy:
            for number in range(args.rounds):
                rounds.append(one_round(args.build, proxy, backend, args.seconds))
                print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    medians = {
        case: {figure: statistics.median(r[case][figure] for r in rounds) for figure in rounds[0][case]}
        for case in rounds[0]
    }
    if args.json:
        args.json.write_text(json.dumps({"machine": kit.machine(), "medians": medians, "rounds": rounds}, indent=1))

    print(f"{kit.machine()}; medians of {args.rounds} rounds of {args.seconds} s\n")
    print("| cipher, direction | proxy, wall MB/s | its CPU | s/GB | MB/CPU s | AEAD quiet | busy | ratio quiet | busy |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case, m in medians.items():
        print(
            f"| {case} | {m['throughput']:.0f} | {m['cpu_share']:.0%} | {m['cpu_per_gb']:.2f} | {1e3 / m['cpu_per_gb']:.0f}"
            f" | {m['aead_quiet']:.0f} | {m['aead_busy']:.0f} | {m['ratio_quiet']:.0%} | {m['ratio_busy']:.0%} |"
        )


if __name__ == "__main__":
    main()
