"""A picture of what compare.py found: medians of all subjects, and what they lie between; by gnuplot."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

# A figure's name, and the title over those that have it. Times and sizes differ by orders of magnitude: on a log scale.
LINEAR = ("Gbit/s", "per second")
PICTURES = (
    ("Gbit/s", "bulk: Gbit/s"),
    ("CPU s/GB", "bulk: CPU s/GB"),
    ("CPU us/trip", "round trips: CPU us each"),
    ("p99 us", "round trips, connections: p99 us"),
    ("per second", "connections per second"),
    ("CPU us each", "connections: CPU us each"),
    ("bytes each", "idle: bytes resident each"),
    ("KiB each", "stalled: KiB resident each"),
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def picture(title: str, figure: str, summary: dict[str, Any]) -> list[str]:
    """A block of data, and the command that draws it: nothing if no case has this figure."""
    those = {name: by for name, by in summary.items() if any(figure in s["figures"] for s in by.values())}
    if not those:
        return []
    subjects = list(dict.fromkeys(subject for by in those.values() for subject in by))
    name = "$" + "".join(c for c in figure if c.isalpha())
    rows = []
    for case, by in those.items():
        values = [(by.get(subject) or {"figures": {}})["figures"].get(figure) for subject in subjects]
        cells = [f"{v['median']:g} {v['min']:g} {v['max']:g}" if v else "NaN NaN NaN" for v in values]
        rows.append(" ".join([quoted(case), *cells]))
    plots = [
        f"{name} using {3 * i + 2}:{3 * i + 3}:{3 * i + 4}:xtic(1) title {quoted(subject)}"
        for i, subject in enumerate(subjects)
    ]
    scale = "unset logscale; set yrange [0:*]" if figure in LINEAR else "set logscale y; set yrange [*:*]"
    return [f"{name} << EOD", *rows, "EOD", scale, f"set title {quoted(title)}", "plot " + ", ".join(plots)]


def draw(everything: dict[str, Any], path: Path) -> None:
    drawn = [p for figure, title in PICTURES if (p := picture(title, figure, everything["summary"]))]
    kind = "png" if path.suffix == ".png" else "svg"
    script = [
        f"set terminal {kind} size 1200,{320 * len(drawn)} noenhanced font 'sans,10'",
        f"set output {quoted(str(path))}",
        f"set multiplot layout {len(drawn)},1 title {quoted(everything['machine'])}",
        "set style data histograms",
        "set style histogram errorbars gap 1",
        "set style fill solid 0.8 border -1",
        "set key outside right",
        *(line for block in drawn for line in block),
        "unset multiplot",
    ]
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
