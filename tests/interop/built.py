"""The build folder of the program under test, and what the program says of itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support import default_binary

ROOT = Path(__file__).resolve().parent.parent.parent
SUBCOMMANDS = ("serve", "check", "tunnel", "stdio", "probe", "demo", "token")


def build_folder() -> Path:
    folder = Path(default_binary()).resolve().parent.parent
    if not (folder / "build.ninja").exists():
        pytest.skip(f"{default_binary()} is not in a build folder")
    return folder


def built(name: str) -> Path:
    """A file of it; a missing one is a failure."""
    path = build_folder() / name
    assert path.exists(), f"{path}: not built"
    return path


def help_of(subcommand: str) -> str:
    command = [default_binary(), subcommand, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


def flags_of(subcommand: str) -> list[str]:
    """As --help lists them: not those that its sentences name."""
    flags = re.findall(r"^  (--[a-z0-9-]+)", help_of(subcommand), re.MULTILINE)
    assert flags[-1] == "--help" and len(flags) > 1, flags
    return flags


def choices_of(subcommand: str) -> dict[str, list[str]]:
    found = re.findall(r"^  (--[a-z0-9-]+) ([a-z+]+(?:\|[a-z+]+)+)(?: |$)", help_of(subcommand), re.MULTILINE)
    return {flag: words.split("|") for flag, words in found}
