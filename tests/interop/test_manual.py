"""The man pages: they render without a word of complaint, and leave nothing out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from built import SUBCOMMANDS, built, flags_of
from fronts import find

PAGES = ("tidegate.1", "tidegate.yaml.5")


def page(name: str) -> Path:
    find("scdoc")
    return built(f"docs/{name}")


def rendered(name: str) -> str:
    command = [find("man"), "--warnings", "-l", str(page(name))]
    environment = {"PATH": "/usr/bin:/bin", "MANWIDTH": "200", "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert result.stderr == ""
    return result.stdout


def sections(text: str) -> dict[str, str]:
    """What stands under each subcommand."""
    parts = re.split(r"^   tidegate ([a-z]+)$", text.split("\nENVIRONMENT\n")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_against_it(name: str) -> None:
    """Its warnings are about the empty paragraphs that all pages of scdoc have."""
    command = [find("mandoc"), "-T", "lint", "-W", "warning", str(page(name))]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    assert [line for line in lines if "skipping paragraph macro" not in line] == []


def test_all_flags() -> None:
    found = sections(rendered("tidegate.1"))
    assert list(found) == list(SUBCOMMANDS)
    for subcommand, text in found.items():
        other = re.search(r"Its flags are those of ([a-z]+)\.", text)
        if other:
            assert flags_of(subcommand) == flags_of(other[1])
        else:
            assert re.findall(r"^       (--[a-z0-9-]+)", text, re.MULTILINE) == flags_of(subcommand)


def test_all_variables() -> None:
    variables = dict(re.findall(r"^       (TIDEGATE_[A-Z0-9_]+) \(([a-z, ]+)\)$", rendered("tidegate.1"), re.MULTILINE))
    for subcommand in SUBCOMMANDS:
        for flag in flags_of(subcommand)[:-1]:
            name = "TIDEGATE_" + flag.removeprefix("--").replace("-", "_").upper()
            assert subcommand in variables[name].split(", "), (subcommand, flag)


def test_all_keys() -> None:
    pattern = r"^       ([a-z0-9-]+): .* \((?:route|top|start)\)$"
    keys = re.findall(pattern, rendered("tidegate.yaml.5"), re.MULTILINE)
    not_in_file = ["--config", "--print-config", "--help"]
    assert [f"--{key}" for key in keys] == [flag for flag in flags_of("serve") if flag not in not_in_file]
