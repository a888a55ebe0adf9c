"""`tidegate token`: what it prints where, what it adds to a file, and what it refuses."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from support import PATIENCE, default_binary

OK, USAGE, LOST = 0, 64, 74


def token(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [default_binary(), "token", *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)


def line_of(name: str, secret: str) -> str:
    return f"{name} {hashlib.sha256(secret.encode()).hexdigest()}\n"


def test_prints_the_token_and_apart_from_it_the_line() -> None:
    result = token("alice")
    assert result.returncode == OK
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", result.stdout)
    assert result.stderr == line_of("alice", result.stdout.strip())
    assert token("alice").stdout != result.stdout


def test_adds_the_line_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    lines = ""
    for name in ("alice", "bob@example.org"):
        result = token(name, "--append", str(file))
        assert (result.returncode, result.stderr) == (OK, "")
        lines += line_of(name, result.stdout.strip())
        assert file.read_text(encoding="utf-8") == lines

    again = token("alice", "--append", str(file))
    assert (again.returncode, again.stdout) == (LOST, "")
    assert again.stderr == f"tidegate: token: {file}: has a token for alice: take its line out first\n"
    assert file.read_text(encoding="utf-8") == lines


def test_does_not_add_to_what_is_no_file_of_tokens(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("dear diary\n", encoding="utf-8")
    result = token("alice", "--append", str(file))
    assert (result.returncode, result.stdout) == (LOST, "")
    assert file.read_text(encoding="utf-8") == "dear diary\n"
    assert token("alice", "--append", str(tmp_path / "none" / "tokens")).returncode == LOST


def test_says_so_when_the_token_cannot_be_printed() -> None:
    with open("/dev/full", "wb") as full:
        result = token("alice", stdout=full.fileno())
    assert result.returncode == LOST
    assert "standard output" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("",), ("a b",), ("-x",), ("a/b",), ("a" * 65,), ("a", "b"), ("--listen", ":1", "a")])
def test_refuses_what_is_no_name(arguments: tuple[str, ...]) -> None:
    result = token(*arguments)
    assert (result.returncode, result.stdout) == (USAGE, "")
    assert result.stderr.startswith("tidegate: token: ") and result.stderr.count("\n") == 1


def test_help_names_its_flags_only() -> None:
    result = token("--help")
    assert result.returncode == OK
    assert re.findall(r"--[a-z-]+", result.stdout.split("\n\n")[-1]) == ["--append", "--help"]
