#!/usr/bin/python3
"""Shows that the floors hold: compiles, with the build's own command for each floor, a file that
includes one header. A header of the floor itself or of one below must compile, and alone; one of a
floor above must not. <uv.h> must give its types to io only.

usage: check_floors.py BUILD_FOLDER     a folder that meson has set up with gcc or clang
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("common/core", "common/wire", "common/flow", "common/io", "proxy")  # lowest first
KNOWS_LIBUV = {"common/io"}


def floor_of(path: Path) -> str | None:
    for floor in FLOORS:
        if path.is_relative_to(ROOT / floor):
            return floor
    return None


def compile_commands(build: Path) -> dict[str, tuple[list[str], Path]]:
    """For each floor the command, less its file and output, that compiles one of its sources."""
    commands: dict[str, tuple[list[str], Path]] = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        folder = Path(entry["directory"])
        floor = floor_of((folder / entry["file"]).resolve())
        if floor and floor not in commands:
            words = shlex.split(entry["command"])
            kept = words[: words.index("-MD")] if "-MD" in words else words[: words.index("-o")]
            commands[floor] = (kept, folder)
    return commands


def compiles(command: tuple[list[str], Path], text: str) -> bool:
    words, folder = command
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write(text)
        source.flush()
        result = subprocess.run(
            [*words, "-fsyntax-only", source.name], cwd=folder, capture_output=True, text=True
        )
    return result.returncode == 0


def main() -> int:
    commands = compile_commands(Path(sys.argv[1]).resolve())
    if missing := set(FLOORS) - set(commands):
        print(f"no source of {sorted(missing)} in the build")
        return 1

    cases: list[tuple[str, str, bool]] = []  # floor, text, must it compile
    for level, floor in enumerate(FLOORS):
        for header in sorted((ROOT / floor).glob("**/*.h")):
            for other_level, other in enumerate(FLOORS):
                name = header.name if floor != "proxy" else str(header.relative_to(ROOT / floor))
                must = other_level >= level
                if must and other != floor and header.stem.endswith("_internal"):
                    continue  # for the files of its own floor; others may lack what it includes
                cases.append((other, f'#include "{name}"\nextern int floors_unused;\n', must))
    for floor in FLOORS:
        cases.append((floor, "#include <uv.h>\nextern uv_loop_t *floors_unused;\n", floor in KNOWS_LIBUV))

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda case: compiles(commands[case[0]], case[1]), cases))
    wrong = 0
    for (floor, text, must), did in zip(cases, results):
        if did != must:
            wrong += 1
            print(f"{floor}: {text.splitlines()[0]}: {'does not compile' if must else 'compiles'}")
    print(f"{len(cases)} includes tried, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
