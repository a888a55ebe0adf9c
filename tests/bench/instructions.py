#!/usr/bin/python3
"""How many instructions codec and relay take, beside what was kept; by callgrind.

Usage: tests/bench/instructions.py BUILD [--renew] [--json FILE]

BUILD is a meson folder (--buildtype=release). Kept counts are in instructions.json; --renew writes them anew, which
belongs into the commit that changes them. No verdict: another compiler, or another C library's memcpy for another
processor, counts otherwise. Counts are the same from run to run.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent / "instructions.json"


def first_line(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[0]


def buildtype(build: Path) -> str:
    options = json.loads((build / "meson-info/intro-buildoptions.json").read_text())
    return str(next(option["value"] for option in options if option["name"] == "buildtype"))


def count(program: Path, case: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=measured", f"--callgrind-out-file={folder}/out"]
        done = subprocess.run([*command, str(program), case], capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or collected is None or int(collected[1]) == 0:
        raise RuntimeError(f"{case}: nothing was counted\n{done.stderr}")
    ran = json.loads(done.stdout)
    return {"unit": ran["unit"], "instructions": round(int(collected[1]) / ran["units"], 3)}


def difference(case: str, now: dict[str, Any], kept: dict[str, Any]) -> tuple[str, str]:
    before = kept.get("counts", {}).get(case)
    if before is None:
        return "-", "new"
    return f"{before['instructions']:.2f}", f"{now['instructions'] / before['instructions'] - 1:+.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--renew", action="store_true", help=f"write {KEPT.name}")
    parser.add_argument("--json", type=Path, help="write the counts here")
    args = parser.parse_args()

    program = args.build / "tests/bench/instructions"
    known = json.loads(subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout)
    names = known["cases"]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    now = {
        "compiler": f"{known['compiler']}, {buildtype(args.build)}",
        "valgrind": first_line("valgrind", "--version"),
        "libc": first_line("ldd", "--version"),
        "counts": {name: count(program, name) for name in names},
    }
    for what in ("compiler", "valgrind", "libc"):
        if kept and kept[what] != now[what]:
            print(f"not comparable: {what} was {kept[what]}, is {now[what]}")
    print(now["compiler"])
    print(f"{'':22} {'kept':>12} {'now':>12}")
    for name in names:
        before, change = difference(name, now["counts"][name], kept)
        print(f"{name:22} {before:>12} {now['counts'][name]['instructions']:>12.2f} {change:>8} a {now['counts'][name]['unit']}")
    text = json.dumps(now, indent=1) + "\n"
    if args.json:
        args.json.write_text(text)
    if args.renew:
        KEPT.write_text(text)
        print(f"{KEPT.name} is written")
    elif any(difference(name, now["counts"][name], kept)[1] not in ("+0.0%", "-0.0%") for name in names):
        print(f"if it is meant to be so: {sys.argv[0]} {args.build} --renew, and commit {KEPT.name} with the change")


if __name__ == "__main__":
    main()
