"""docs/examples/systemd: what people copy is good, confined, and works."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from backend import answer_at_end
from certificates import certificates
from manager import Manager, handing_over
from proxy import Program
from rig import Rig, over_wss
from support import default_binary, is_sanitized

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "systemd"
INSTALLED = "/usr/bin/tidegate"

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies that name the program under test."""
    for source in FOLDER.iterdir():
        text = source.read_text().replace(INSTALLED, os.path.abspath(default_binary()))
        (tmp_path / source.name).write_text(text)
    return tmp_path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "LANG": "C.UTF-8"},
    )  # fmt: skip


@needs_systemd
def test_units_are_good(units: Path) -> None:
    result = analyze("verify", "--man=no", *sorted(units.iterdir()))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    broken = units / "tidegate.service"
    broken.write_text(broken.read_text().replace("ProtectClock=yes", "ProtectClocks=yes"))
    assert "ProtectClocks" in analyze("verify", "--man=no", broken).stderr  # so it does look


@needs_systemd
def test_93_exposure_is_low(units: Path) -> None:
    result = analyze("security", "--offline=true", "--no-pager", units / "tidegate.service")
    level = re.search(r"Overall exposure level for tidegate.service: ([0-9.]+)", result.stdout)
    assert level and float(level[1]) < 2.0, result.stdout + result.stderr


def allowed_calls() -> set[str]:
    """Of the unit: the sets that it names, without those behind a ~."""
    calls: set[str] = set()
    for line in (FOLDER / "tidegate.service").read_text().splitlines():
        if not line.startswith("SystemCallFilter="):
            continue
        value = line.partition("=")[2]
        named = set().union(*(members_of(name) for name in value.removeprefix("~").split()))
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def members_of(name: str) -> set[str]:
    lines = [line.strip() for line in analyze("syscall-filter", "--no-pager", name).stdout.splitlines()]
    assert lines and lines[0] == name
    members: set[str] = set()
    for word in lines[1:]:
        if word.startswith("@"):
            members |= members_of(word)
        elif word and not word.startswith("#"):
            members.add(word)
    return members


def can_trace() -> bool:
    command = ["strace", "-o", "/dev/null", "true"]
    return bool(shutil.which("strace")) and subprocess.run(command, capture_output=True, check=False).returncode == 0


@needs_systemd
@over_wss
@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
def test_93_all_that_it_calls_is_allowed(rig: Rig) -> None:
    """From start to end, with TLS, names to resolve, a unix socket and a reload."""
    if is_sanitized():
        pytest.skip("a sanitizer makes calls of its own")
    trace = rig.directory / "trace"
    path = rig.directory / "front.sock"
    backend = rig.backend("tcp", answer_at_end(b"traced"))
    with Manager(rig.directory / "notify") as manager:
        proxy = rig.proxy(
            f"localhost:{backend.address.rsplit(':', 1)[1]}",
            listen=("127.0.0.1:0", f"unix:{path}"),
            prefix=(*manager.prefix(), "strace", "-f", "-qq", "-o", str(trace)),
        )
        for address in proxy.addresses:
            client = rig.client(address)
            client.fin()
            assert client.collect().close == 1000
            client.sock.close()
        proxy.wait("closed")
        proxy.wait("closed")
        pid = int(trace.read_text().split()[0])  # of the program; ours is strace
        os.kill(pid, signal.SIGHUP)
        proxy.wait("reloaded")
        os.kill(pid, signal.SIGTERM)
        proxy.check_exit(0)
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", trace.read_text(), re.MULTILINE))
    assert {"epoll_ctl", "accept4", "sendto"} <= called
    assert called - {"execve"} <= allowed_calls()


@over_wss
def test_as_the_unit_says(rig: Rig) -> None:
    """Its command, with the configuration of its first lines, its credentials and its socket."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "tidegate.service")
    sockets = configparser.ConfigParser()
    sockets.read(FOLDER / "tidegate.socket")
    backend = rig.backend("tcp", answer_at_end(b"as the unit says"))
    comment = re.findall(r"^#   (.*)$", (FOLDER / "tidegate.service").read_text(), re.MULTILINE)
    config = rig.directory / "tidegate.yaml"
    config.write_text("\n".join(comment).replace("127.0.0.1:5432", backend.address) + "\n")
    credentials = rig.directory / "credentials"
    credentials.mkdir()
    for name, source in (("cert.pem", certificates().cert), ("key.pem", certificates().key)):
        assert f"LoadCredential={name}:" in (FOLDER / "tidegate.service").read_text()
        (credentials / name).write_bytes(Path(source).read_bytes())

    def command(key: str) -> list[str]:
        line = unit["Service"][key].replace(INSTALLED, default_binary())
        return line.replace("/etc/tidegate/tidegate.yaml", str(config)).split()

    env = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
    checked = subprocess.run(command("ExecStartPre"), env=env, capture_output=True, text=True, check=False, timeout=20)
    assert (checked.returncode, checked.stderr) == (0, "")
    with socket.socket() as sock, Manager(rig.directory / "notify") as manager:
        sock.bind(("0.0.0.0", 0))
        sock.listen()
        options = handing_over((sock, sockets["Socket"]["FileDescriptorName"]))
        prefix = (*manager.prefix(CREDENTIALS_DIRECTORY=str(credentials)), *options["prefix"])
        proxy = Program(
            [*prefix, *command("ExecStart")], listen=(), listeners=1, pass_fds=options["pass_fds"]
        )
        rig.proxies.append(proxy)  # type: ignore[arg-type]
        assert unit["Service"]["Type"] == "notify" and manager.next()["READY"] == "1"
        client = rig.client(f"127.0.0.1:{sock.getsockname()[1]}")
        client.fin()
        got = client.collect()
        assert (got.close, got.count) == (1000, len(b"as the unit says"))
        client.sock.close()
        proxy.finish()


@pytest.mark.parametrize("flag", ["--tls-cert", "--config", "--client-ca", "--backend-ca", "--tokens"])
def test_credentials_that_are_not_there(flag: str) -> None:
    """In words, with the name of the variable."""
    env = {k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"}
    result = subprocess.run(
        [default_binary(), "serve", "--listen", ":0", "--backend", ":9", flag, "credential:x"],
        env=env, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert result.returncode == 64 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f'tidegate: serve: {flag}: "credential:x": there are no credentials')
    assert "CREDENTIALS_DIRECTORY is not set" in result.stderr
