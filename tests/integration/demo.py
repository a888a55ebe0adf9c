"""`tidegate demo`, as a program that stays up after its show."""

from __future__ import annotations

import signal
import subprocess
import threading

from support import PATIENCE, default_binary


class Demo:
    """Ready for visitors when it is made: the show is over."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [default_binary(), "demo", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.page = ""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            words = line.split()
            if words[:1] == ["page"]:
                self.page = words[1]
            if "Ctrl-C" in line:
                break
        assert self.page.startswith("http://"), "".join(self.lines)
        self.address = self.page.removeprefix("http://").rstrip("/")
        self._errors = ""
        self._thread = threading.Thread(target=self._read_errors, daemon=True)
        self._thread.start()

    def _read_errors(self) -> None:
        assert self.process.stderr
        self._errors = self.process.stderr.read()

    def finish(self) -> str:
        """Ends it as Ctrl-C does; what it had logged."""
        self.process.send_signal(signal.SIGINT)
        try:
            assert self.process.wait(PATIENCE) == 0, self._errors
        finally:
            self.kill()
        return self._errors

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join(PATIENCE)
        assert self.process.stdout and self.process.stderr
        self.process.stdout.close()
        self.process.stderr.close()
