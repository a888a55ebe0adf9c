"""System calls that fail on demand in a running program: strace, attached for a while."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import PATIENCE


class Injection:
    def __init__(self, report: Path) -> None:
        self._report = report

    def count(self, call: str = r"\w+") -> int:
        """How often `call` (a pattern) was made to fail. Exact at the end: strace writes when it likes."""
        pattern = rf"^(?:\d+ +)?{call}\(.*\(INJECTED\)$"
        return len(re.findall(pattern, self._report.read_text(), re.MULTILINE))


@contextmanager
def inject(pid: int, folder: Path, calls: str, how: str, files: Iterable[str] = ()) -> Iterator[Injection]:
    """`calls` ("read,write") fail as `how` says ("error=EINTR:when=1+2"), until the block ends. `files`
    ("socket:[12]"): only on these. libuv has pipes of its own, and aborts when they fail."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    report = folder / f"strace.{pid}"
    command = ["strace", "-f", "-p", str(pid), "-o", str(report)]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:{how}"]
    for name in files:
        command += ["-P", name]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        news = process.stderr.readline()
        while news.startswith("strace: Requested path"):  # "... resolved into ...": it thinks of files
            news = process.stderr.readline()
        if "ptrace" in news:
            pytest.skip(f"strace may not attach here: {news.strip()}")
        assert "attached" in news, news
        yield Injection(report)
        assert process.poll() is None, process.stderr.read()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # detaches: the program goes on as if nothing had been
        process.wait(PATIENCE)
        process.stderr.close()
