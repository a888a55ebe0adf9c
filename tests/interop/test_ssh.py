"""ssh over `tidegate stdio` as its ProxyCommand: login, files, forwarded ports, and nothing left behind.

TIDEGATE_SSH_MB is the size of the big file; 64 by default.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fronts import find
from rig import Rig
from services import Service, World, is_listening, processes_with, run, stdio_command
from support import MIB, PATIENCE, free_port, payload, wait_until

BIG_MB = int(os.environ.get("TIDEGATE_SSH_MB", "64"))

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
AllowTcpForwarding yes
LogLevel VERBOSE
"""


class Ssh:
    """An sshd with keys of its own, a proxy to it, and a client's configuration."""

    def __init__(self, world: World) -> None:
        self.folder = world.folder
        for name in ("host_key", "user_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        sshd = find("sshd")  # it wants its whole path
        if os.getuid() == 0:  # as sshd's own start script does; it stays, for another sshd may be using it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

        def command(port: int) -> list[str]:
            config = self.folder / "sshd_config"
            config.write_text(SSHD.format(port=port, folder=self.folder))
            return [sshd, "-D", "-e", "-f", str(config)]

        self.service = world.service(command)
        self.url = world.url(self.service)
        self.config = self.folder / "ssh_config"
        self.config.write_text(
            f"Host server\n  User {getpass.getuser()}\n  IdentityFile {self.folder}/user_key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  StrictHostKeyChecking accept-new\n  BatchMode yes\n"
            f"  ProxyCommand {stdio_command(self.url)}\n"
        )
        self.options = ["-F", str(self.config)]

    def run(self, *command: str, send: bytes = b"", timeout: float = 60) -> bytes:
        return run("ssh", *self.options, "server", *command, send=send, timeout=timeout)

    def wait_gone(self) -> None:
        wait_until(lambda: not processes_with(self.url), f"{processes_with(self.url)} end")


@pytest.fixture
def world(rig: Rig) -> Iterator[World]:
    w = World(rig)
    try:
        yield w
    finally:
        w.stop()


@pytest.fixture
def ssh(world: World) -> Iterator[Ssh]:
    s = Ssh(world)
    yield s
    s.wait_gone()  # no tidegate stdio is left behind


def test_43_ssh_login(ssh: Ssh) -> None:
    assert ssh.run("echo", "hello") == b"hello\n"
    assert ssh.run("sort", send=b"b\na\n") == b"a\nb\n"
    result = subprocess.run(["ssh", *ssh.options, "server", "exit 3"], capture_output=True, check=False, timeout=60)
    assert result.returncode == 3, result.stderr


def test_43_ssh_big_file(ssh: Ssh) -> None:
    """There and back, with equal hash."""
    source, copy = ssh.folder / "source", ssh.folder / "copy"
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for i in range(BIG_MB):
            piece = payload(MIB, 160 + i % 3)
            file.write(piece)
            digest.update(piece)
    timeout = 60 + BIG_MB
    command = ["ssh", *ssh.options, "server"]
    with source.open("rb") as stdin:
        subprocess.run([*command, f"cat > {copy}"], stdin=stdin, check=True, timeout=timeout)
    source.unlink()
    back = ssh.folder / "back"
    with back.open("wb") as stdout:
        subprocess.run([*command, f"cat {copy}"], stdin=subprocess.DEVNULL, stdout=stdout, check=True, timeout=timeout)
    for path in (copy, back):
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest.hexdigest()


def test_43_sftp(ssh: Ssh) -> None:
    source, copy, back = (ssh.folder / name for name in ("source", "copy", "back"))
    source.write_bytes(payload(20 * MIB, 163))
    batch = f"put {source} {copy}\nget {copy} {back}\nls {ssh.folder}\nbye\n"
    run("sftp", "-b", "-", *ssh.options, "server", send=batch.encode())
    assert source.read_bytes() == copy.read_bytes() == back.read_bytes()


def test_43_ssh_forwards_a_port(world: World, ssh: Ssh) -> None:
    """-L to a server that answers at the end of input: half-close in half-close."""
    sort: Service = world.socat("EXEC:sort")
    port = free_port()
    forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:{sort.address}"]
    process = subprocess.Popen(["ssh", *ssh.options, *forward, "server"], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or is_listening(port), "ssh listens")
        for _ in range(20):
            assert run("nc", "-N", "127.0.0.1", str(port), send=b"b\na\n") == b"a\nb\n"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_43_ssh_that_is_killed_leaves_nothing(ssh: Ssh, number: signal.Signals) -> None:
    """Its ProxyCommand goes with it, in mid-stream too."""
    process = subprocess.Popen(
        ["ssh", *ssh.options, "server", "echo up; cat /dev/zero"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdin
    assert process.stdout.read(3) == b"up\n"
    process.send_signal(number)
    process.wait(PATIENCE)
    process.stdin.close()
    process.stdout.close()
    ssh.wait_gone()
