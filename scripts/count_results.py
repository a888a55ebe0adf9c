#!/usr/bin/python3
"""Counts the cases in a leg's result files: JUnit XML (pytest, meson test) and TAP (scripts/lint).

usage: count_results.py FOLDER EXIT_STATUS
Prints "passed failed skipped". The exit status of the leg has the last word: a leg that failed, but
whose files name no failure (it crashed, or never started), counts as one failure; so does one that
ran nothing.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count_junit(path: Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for case in ET.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count_tap(path: Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("not ok "):
            failed += 1
        elif line.startswith("ok "):
            if "# SKIP" in line:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


def main() -> None:
    folder, status = Path(sys.argv[1]), int(sys.argv[2])
    counts = [count_junit(path) for path in sorted(folder.glob("*.xml"))]
    counts += [count_tap(path) for path in sorted(folder.glob("*.tap"))]
    passed, failed, skipped = (sum(column) for column in zip((0, 0, 0), *counts))
    if failed == 0 and (status != 0 or passed + skipped == 0):
        failed = 1
    print(passed, failed, skipped)


if __name__ == "__main__":
    main()
