"""The program under test: started on a port of its own, watched through its log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import PATIENCE, default_binary, open_files, wait_until

Record = dict[str, Any]


class Program:
    """A subcommand that listens, with JSON logs. Each record is an event that tests wait for."""

    def __init__(
        self,
        command: list[str],
        listen: tuple[str, ...] = ("127.0.0.1:0",),
        log_format: str = "json",
        is_quiet: bool = False,
        listeners: int = 0,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        """`is_quiet`: it logs no "listening", so a unix socket's file tells that it is ready.
        `listeners`: so many more than `listen` are in its configuration file."""
        command = [*command, "--log-format", log_format]
        for address in listen:
            command += ["--listen", address]
        self.records: list[Record] = []
        self.lines: list[str] = []  # every line of stderr
        self.odd_lines: list[str] = []  # those that are no record
        self._log_format = log_format
        self._news = threading.Condition()
        self._taken: set[int] = set()
        self._is_told = False  # to end
        env = {k: v for k, v in os.environ.items() if k == "TIDEGATE_WORKERS" or not k.startswith("TIDEGATE")}
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=0")
        env.pop("JOURNAL_STREAM", None)
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, pass_fds=pass_fds
        )
        self.pid = self.process.pid
        self._thread = threading.Thread(target=self._read_log, daemon=True)
        self._thread.start()
        try:
            self.addresses = list(listen) if is_quiet else self._wait_listening(len(listen) + listeners)
            if is_quiet:
                wait_until(lambda: os.path.exists(listen[0].removeprefix("unix:")), listen[0])
        except BaseException:
            self.kill()
            raise
        self.address: str = self.addresses[0]
        self.idle_files = open_files(self.pid)

    def _wait_listening(self, count: int) -> list[str]:
        return [str(self.wait("listening")["address"]) for _ in range(count)]

    # ---- the log ----

    def _read_log(self) -> None:
        assert self.process.stderr
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            record: Record | None = None
            try:
                parsed = json.loads(line) if self._log_format == "json" else parse_logfmt(line)
                record = parsed if isinstance(parsed, dict) and "msg" in parsed else None
            except ValueError:
                pass
            with self._news:
                self.lines.append(line)
                if record is None:
                    self.odd_lines.append(line)
                else:
                    self.records.append(record)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def find(self, message: str, condition: Callable[[Record], bool] | None = None) -> list[Record]:
        with self._news:
            return [r for r in self.records if r["msg"] == message and (not condition or condition(r))]

    def wait(
        self,
        message: str | tuple[str, ...],
        condition: Callable[[Record], bool] | None = None,
        timeout: float = PATIENCE,
    ) -> Record:
        """The first such record that has not been waited for before."""
        messages = (message,) if isinstance(message, str) else message
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for record in self.records:
                    if id(record) not in self._taken and record["msg"] in messages:
                        if condition is None or condition(record):
                            self._taken.add(id(record))
                            return record
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._thread.is_alive()):
                    tail = "\n".join(self.lines[-30:])
                    raise AssertionError(f"no {message} record; status {self.process.poll()}, log:\n{tail}")
                self._news.wait(min(left, 0.1))

    def wait_any(self, *messages: str) -> Record:
        return self.wait(messages)

    def wait_closed(self, client: str | None = None, timeout: float = PATIENCE) -> Record:
        """The one record of a connection that had got 101; `client` is its own name for itself."""
        return self.wait("closed", lambda r: client is None or r["client"] == client, timeout)

    def wait_refused(self, client: str | None = None, timeout: float = PATIENCE) -> Record:
        return self.wait("refused", lambda r: client is None or r["client"] == client, timeout)

    # ---- the process ----

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._is_told = self._is_told or number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)
        if "TSAN_OPTIONS" in os.environ:
            timer = threading.Timer(0.5, self._wake_up)
            timer.daemon = True
            timer.start()

    def _wake_up(self) -> None:
        """ThreadSanitizer hands a signal on at the thread's next call. Seen: there was none, for it slept already.
        This ends its sleep."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            self.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """As if it, or its machine, had no time: what comes meanwhile it finds all at once."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            tasks = Path(f"/proc/{self.pid}/task").glob("*/stat")
            states = [stat.read_text for stat in tasks]
            wait_until(lambda: all(read().rsplit(") ", 1)[1][0] == "T" for read in states), "stopped")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            tail = "\n".join(self.lines[-30:])
            raise AssertionError(f"still running after {timeout} s; log:\n{tail}") from None
        self._thread.join(PATIENCE)
        return status

    def wait_idle(self, timeout: float = PATIENCE) -> None:
        """Until it holds no more descriptors than before its first connection: libuv opens /dev/null
        with the first stream of each worker, for good."""

        def is_idle() -> bool:
            files = [name for name in open_files(self.pid) if name != "/dev/null"]
            before = [name for name in self.idle_files if name != "/dev/null"]
            sockets = [name for name in files if name.startswith("socket:")]
            return len(files) <= len(before) and set(sockets) <= set(before)

        try:
            wait_until(is_idle, "descriptors", timeout)
        except AssertionError:
            tail = "\n".join(self.lines[-10:])
            raise AssertionError(
                f"open: {open_files(self.pid)}\nat start: {self.idle_files}\n{tail}"
            ) from None

    def finish(self) -> None:
        """The orderly end of a test: nothing leaked, exit 0, nothing on stderr but records."""
        if self.process.poll() is None:
            try:
                if not self._is_told:
                    self.wait_idle()
            finally:
                if not self._is_told:
                    self.signal()
                try:
                    self.wait_exit()
                except AssertionError:
                    self.kill()
                    raise
        self.check_exit(0)

    def check_exit(self, status: int) -> None:
        text = "\n".join(self.odd_lines)
        assert self.wait_exit() == status, f"exit {self.process.returncode}\n{text}"
        assert not self.odd_lines, f"stderr has more than records:\n{text}"

    def check_stopped(self) -> None:
        """Exit 0, nothing leaked, and the last record says so."""
        self.check_exit(0)
        assert self.records[-1]["msg"] == "stopped"

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join(PATIENCE)


class Proxy(Program):
    """`tidegate serve`."""

    def __init__(self, backend: str, *flags: str, prefix: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__([*prefix, default_binary(), "serve", "--backend", backend, *flags], **options)


def parse_logfmt(line: str) -> Record:
    """One text record. Values are bare, or quoted with backslash escapes as JSON has them."""
    record: Record = {}
    at = 0
    decoder = json.JSONDecoder()
    while at < len(line):
        key, equals, _ = line[at:].partition("=")
        if not equals or not key or " " in key:
            raise ValueError(f"not logfmt at {at}: {line!r}")
        at += len(key) + 1
        if line[at : at + 1] == '"':
            value, at = decoder.raw_decode(line, at)
        else:
            stop = line.find(" ", at)
            stop = len(line) if stop < 0 else stop
            value, at = line[at:stop], stop
            value = int(value) if value.lstrip("-").isdigit() else value
        if at < len(line) and line[at] != " ":
            raise ValueError(f"no space at {at}: {line!r}")
        at += 1
        record[key] = value
    return record
