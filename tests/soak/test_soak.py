"""The soak, short: what soak.py does for hours, for some seconds, with two workers where there are such. Memory is left
to the long one: in seconds it has not settled.

TIDEGATE_SOAK_SECONDS makes them longer (5 by default), TIDEGATE_SOAK_SEED another one.
"""

from __future__ import annotations

import os

import pytest
from pattern import LENGTH, Corrupt, Stream
from soak import CREW, Options, Report, run
from support import default_binary, is_sanitized
from verdict import Verdict, judge_flat
from watch import Sample

SECONDS = float(os.environ.get("TIDEGATE_SOAK_SECONDS", "5"))
SEED = int(os.environ.get("TIDEGATE_SOAK_SEED", "1"))


def options(**changes: object) -> Options:
    usual: dict[str, object] = {
        "share": None,
        "idlers": 60,
        "workers": 2,
        "load_seconds": SECONDS / 2.5,
        "quiet_seconds": 0.2,
        "scale": 0.2,
        "seed": SEED,
        "has_memory": False,
    }
    return Options(default_binary(), SECONDS, **{**usual, **changes})  # type: ignore[arg-type]


def check(report: Report) -> None:
    assert report.is_good, report.bad()


def test_what_is_sent_is_known_by_its_place() -> None:
    sender, receiver = Stream(LENGTH - 100), Stream(LENGTH - 100)
    key, masked = sender.next_masked(1001, 1)
    receiver.compare(memoryview(bytes(b ^ key[i % 4] for i, b in enumerate(masked[:500]))))
    receiver.count = 1001
    receiver.compare(sender.next(1000))
    assert sender.count == receiver.count == 2001
    bad = bytearray(sender.next(1000))
    bad[500] ^= 1
    with pytest.raises(Corrupt, match="byte 2501 "):
        receiver.compare(memoryview(bad))


def test_what_grows_is_found() -> None:
    def judge(**growth: int) -> list[str]:
        usual = {"rss": 5_000_000, "pss": 0, "anonymous": 4_000_000}
        usual |= {"descriptors": 12, "threads": 1, "deadlines": 30, "active": 10}
        samples = [
            Sample(60.0 * i, cpu=0.0, **{name: n + growth.get(name, 0) * i for name, n in usual.items()})
            for i in range(20)
        ]
        v = Verdict()
        judge_flat(v, samples[0], samples, True)
        return [what.split()[0].rstrip(":") for good, what in v.checks if not good]

    assert judge() == []
    for name, step in (("descriptors", 1), ("threads", 1), ("deadlines", 3), ("anonymous", 25_000)):
        assert judge(**{name: step}) == ["memory" if name == "anonymous" else name]
    assert judge(anonymous=10_000) == []


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_92_mixed_load_leaves_nothing_and_loses_nothing(scheme: str) -> None:
    report = run(options(is_tls=scheme == "wss"))
    check(report)
    assert len(report.quiet) >= 2
    assert set(report.talks) == set(CREW), "each kind was played"


def test_60_churn_of_short_connections() -> None:
    """10,000 of them; a tenth with the sanitizers, which take longer for each."""
    count = 1000 if is_sanitized() else 10_000
    report = run(
        options(
            idlers=10,
            crew={"short": 12, "refused": 1, "abandoned": 1},
            counts={"short": count, "refused": count // 20, "abandoned": count // 20},
            load_seconds=2 * SECONDS,
        )
    )
    check(report)
    assert report.talks["short"] == count
    if not is_sanitized():
        growth = report.quiet[-1].anonymous - report.quiet[0].anonymous
        assert growth <= 256 * 1024, [sample.anonymous for sample in report.quiet]
