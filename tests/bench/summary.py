"""Medians, spread and ratios of what several rounds measured, and tables of them."""

from __future__ import annotations

import statistics
from typing import Any

from cases import Case, Figure, Result

Rounds = list[dict[str, dict[str, Result | None]]]  # round: case: subject: what was printed, None if it failed


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def one_figure(figure: Figure, case: str, subject: str, reference: str, rounds: Rounds) -> dict[str, Any] | None:
    """The ratio is that of each round, to the reference in the same round; then the median of these."""
    values, ratios = [], []
    for results in rounds:
        result, other = results[case].get(subject), results[case].get(reference)
        if result is None:
            continue
        values.append(figure.of(result))
        if other is not None and figure.is_ratio and figure.of(other) > 0:
            ratios.append(values[-1] / figure.of(other))
    if not values:
        return None
    return {**spread(values), "ratio": spread(ratios) if ratios else None}


def threads(case: str, subject: str, rounds: Rounds) -> list[float] | None:
    """Shares of the process's threads in its CPU time, the busiest first: medians of the rounds."""
    shares = []
    for results in rounds:
        result = results[case].get(subject)
        total = sum(result["threads"]) if result else 0
        if result and total > 0:
            shares.append(sorted((t / total for t in result["threads"]), reverse=True))
    width = min(map(len, shares), default=0)
    medians = [statistics.median(s[i] for s in shares) for i in range(width)]
    return [round(m, 3) for m in medians if m >= 0.01] or None


def summarize(cases: list[Case], subjects: list[str], reference: str, rounds: Rounds) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for case in cases:
        of_case = summary[case.name] = {}
        for subject in subjects:
            figures = {f.name: one_figure(f, case.name, subject, reference, rounds) for f in case.figures}
            if any(figures.values()):
                of_case[subject] = {"figures": figures, "threads": threads(case.name, subject, rounds)}
    return summary


def cell(figure: Figure, found: dict[str, Any] | None, has_spread: bool) -> str:
    if found is None:
        return "-"
    text = f"{found['median']:.{figure.digits}f}"
    if has_spread and figure.is_ratio:
        text += f" ({found['min']:.{figure.digits}f} to {found['max']:.{figure.digits}f})"
    if found["ratio"] is not None:
        text += f" {found['ratio']['median']:.2f}x"
    return text


def saturated(found: dict[str, Any]) -> bool:
    share = found["figures"].get("generator's CPU %")
    return share is not None and share["median"] > 90


def tables(cases: list[Case], summary: dict[str, Any], count: int) -> str:
    lines = []
    for case in cases:
        rows = [["", *(f.name for f in case.figures)]]
        for subject, found in summary[case.name].items():
            cells = [cell(f, found["figures"][f.name], count > 1) for f in case.figures]
            rows.append([subject, *cells])
            if found["threads"] and len(found["threads"]) > 1:
                rows[-1][0] += " [" + " ".join(f"{share:.0%}" for share in found["threads"]) + "]"
        widths = [max(map(len, column)) for column in zip(*rows)]
        rows.insert(1, ["-" * width for width in widths])
        lines.append(case.name)
        lines += ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in rows]
        if busy := [subject for subject, found in summary[case.name].items() if saturated(found)]:
            lines.append(f"The generator had no time left (over 90 %) for {', '.join(busy)}: these could do more.")
        lines.append("")
    return "\n".join(lines)
