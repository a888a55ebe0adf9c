"""Random scripts for two ends: through tunnel and proxy they must see what they see over plain TCP.

TIDEGATE_DIFFERENTIAL_SCRIPTS plays more of them (150 by default), TIDEGATE_DIFFERENTIAL_SEED others; differential.py
plays them for hours.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from differential import Bench, Summary, run, scripts_of
from paths import find
from script import MEANING, InvalidScript, Script, Step, generate

SEED = int(os.environ.get("TIDEGATE_DIFFERENTIAL_SEED", "1"))
SCRIPTS = int(os.environ.get("TIDEGATE_DIFFERENTIAL_SCRIPTS", "150"))


def check(summary: Summary, count: int) -> None:
    assert not summary.findings, "\n\n" + "\n\n".join(str(finding) for finding in summary.findings)
    assert not summary.failures, "\n".join(summary.failures)
    assert len(summary.unstable) <= count // 100, str(summary)
    assert summary.played == count


@pytest.mark.parametrize("seed", [SEED])
def test_random_scripts_see_plain_tcp(seed: int) -> None:
    check(run(scripts_of(seed, SCRIPTS)), SCRIPTS)


@pytest.mark.parametrize("seed", [SEED + 2])
def test_random_scripts_over_wss(seed: int) -> None:
    check(run(scripts_of(seed, SCRIPTS // 2), "wss"), SCRIPTS // 2)


@pytest.mark.parametrize("through", ["nginx", "nginx-subprotocol"])
@pytest.mark.parametrize("seed", [SEED + 1])
def test_random_scripts_through_nginx(seed: int, through: str) -> None:
    """The second takes the extension out, so the ends travel in the other carrier."""
    find("nginx")
    check(run(scripts_of(seed, SCRIPTS // 2), through), SCRIPTS // 2)


# ---- the test itself ----


def test_every_step_is_played() -> None:
    """And plain TCP has one trace for each script."""
    count = 150
    steps = Counter(step.op for script in scripts_of(SEED, count) for step in script.steps)
    assert set(steps) == set(MEANING)
    check(run(scripts_of(SEED, count), "plain"), count)


def test_a_relay_that_is_no_plain_tcp_is_told() -> None:
    """socat makes ends of resets; and the shortest script that tells is short."""
    find("socat")
    bench = Bench("socat")
    try:
        for script in scripts_of(1, 60):
            traces = bench.differs(script)
            if traces:
                break
        assert traces, "socat went through"
        finding = bench.shrink(script, *traces)
    finally:
        bench.stop()
    assert len(finding.shortest.steps) <= len(script.steps)
    assert finding.plain != finding.other
    text = str(finding)
    assert finding.script.name in text and str(finding.shortest) in text


def test_shrinking_finds_the_one_step() -> None:
    """Without a network: only the end of the client matters here."""

    class OneStep(Bench):
        def __init__(self) -> None:
            pass

        def differs(self, script: Script) -> tuple[dict, dict] | None:
            return ({}, {}) if Step("client", "end") in script.steps else None

    script = next(s for s in scripts_of(1, 100) if Step("client", "end") in s.steps and len(s.steps) > 8)
    assert OneStep().shrink(script, {}, {}).shortest.steps == [Step("client", "end")]


@pytest.mark.parametrize(
    "steps",
    [
        [Step("client", "read", 1)],  # never sent
        [Step("client", "end"), Step("client", "send", 1)],
        [Step("client", "send", 100_000)],  # nobody reads
        [Step("client", "drain"), Step("server", "drain")],
        # may overtake what is sent
        [Step("client", "drain"), Step("server", "send", 99_999), Step("server", "meet"), Step("server", "reset")],
        [Step("server", "flood")],
        [Step("server", "landed"), Step("server", "meet"), Step("server", "reset"), Step("client", "send", 1)],
        [Step("server", "send", 5), Step("client", "meet"), Step("client", "close")],  # an end or a reset
    ],
)
def test_what_plain_tcp_does_not_fix_is_no_script(steps: list[Step]) -> None:
    with pytest.raises(InvalidScript):
        Script(steps).plan()


def test_a_seed_is_a_script() -> None:
    number = random.Random(1).randrange(1000)
    assert generate(3, number).steps == generate(3, number).steps != generate(4, number).steps
