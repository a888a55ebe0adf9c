"""A picture of what compare.py found: throughput, and CPU time, of all subjects in all cases; by gnuplot."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

# What is drawn of each part: the first figure of these that a case has, and the second.
PICTURES = (("Gbit/s", "bulk: Gbit/s"), ("CPU s/GB", "bulk: CPU s/GB"), ("CPU us/trip", "round trips: CPU us each"),
            ("p99 us", "round trips, connections: p99 us"), ("CPU us each", "connections: CPU us each"),
            ("bytes each", "idle: bytes resident each"), ("KiB each", "stalled: KiB resident each"))  # fmt: skip


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def picture(title: str, figure: str, summary: dict[str, Any]) -> list[str]:
    """A block of data, and the command that draws it: nothing if no case has this figure."""
    those = {name: by for name, by in summary.items() if any(figure in s["figures"] for s in by.values())}
    if not those:
        return []
    subjects = list(dict.fromkeys(subject for by in those.values() for subject in by))
    name = "$" + "".join(c for c in figure if c.isalpha())
    rows = [" ".join(quoted(text) for text in ["case", *subjects])]
    for case, by in those.items():
        values = [(by.get(subject) or {"figures": {}})["figures"].get(figure) for subject in subjects]
        rows.append(" ".join([quoted(case), *(f"{v['median']:g}" if v else "NaN" for v in values)]))
    plots = [f"{name if i == 0 else ''} using {i + 2}:xtic(1) title columnheader" for i in range(len(subjects))]
    plots = [p if i == 0 else "'' " + p.strip() for i, p in enumerate(plots)]
    return [f"{name} << EOD", *rows, "EOD", f"set title {quoted(title)}", "plot " + ", ".join(plots)]


def draw(everything: dict[str, Any], path: Path) -> None:
    drawn = [p for figure, title in PICTURES if (p := picture(title, figure, everything["summary"]))]
    kind = "png" if path.suffix == ".png" else "svg"
    script = [
        f"set terminal {kind} size 1200,{320 * len(drawn)} enhanced font 'sans,10'".replace("enhanced", "noenhanced"),
        f"set output {quoted(str(path))}",
        f"set multiplot layout {len(drawn)},1 title {quoted(everything['machine'])}",
        "set style data histograms",
        "set style fill solid 0.8 border -1",
        "set yrange [0:*]",
        "set key outside right",
        *(line for block in drawn for line in block),
        "unset multiplot",
    ]
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
