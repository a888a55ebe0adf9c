"""The completions, in the shells that they are for."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from built import SUBCOMMANDS, built, choices_of, flags_of
from fronts import find
from support import PATIENCE

WORDS = [*SUBCOMMANDS, "version", "help"]

# What bash does: sets these four, and takes what the function leaves in COMPREPLY.
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
[[ $(complete -p tidegate) == 'complete -F _tidegate tidegate' ]] || exit 1
_tidegate tidegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(*words: str) -> list[str]:
    """`words`: as bash splits them, the last of which is being typed."""
    command = [find("bash"), "--norc", "-ic", BASH, "bash", str(built("docs/tidegate")), "tidegate", *words]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL, start_new_session=True
    )
    return result.stdout.split("\n")[:-1] if result.stdout.strip() else []


def fish(*words: str) -> list[str]:
    command = [find("fish"), "--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]
    line = " ".join(["tidegate", *words])
    result = subprocess.run(
        [*command, str(built("docs/tidegate.fish")), line], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stderr == ""
    return [row.split("\t")[0] for row in result.stdout.splitlines()]


class Zsh:
    """An interactive one on a terminal of its own: there is no other way to ask it."""

    def __init__(self, folder: Path) -> None:
        (folder / "_tidegate").write_text(built("docs/_tidegate").read_text())
        start = f"fpath=({folder} $fpath); autoload -U compinit; compinit -u -D; PS1='%%%%'; stty cols 400 rows 200"
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        parent, child = pty.openpty()
        self.process = subprocess.Popen(
            [find("zsh"), "-f", "-i"], stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)
        self.terminal = parent
        self.type(start + "; zstyle ':completion:*' list-prompt ''; LISTMAX=0\n")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def read_until(self, is_enough: Callable[[str], bool]) -> str:
        got = ""
        deadline = time.monotonic() + PATIENCE
        while not is_enough(got):
            assert time.monotonic() < deadline, f"zsh said {got!r}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                got += os.read(self.terminal, 65536).decode("utf-8", "replace")
        return got

    def completes(self, line: str, *words: str) -> None:
        """All the words appear when a tab is typed behind the line."""
        self.type(f"\x15{line}\t\t")
        self.read_until(lambda got: all(word in got.replace(line, "", 1) for word in words))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.mark.parametrize("ask", [bash, fish])
def test_subcommands(ask: Callable[..., list[str]]) -> None:
    assert sorted(ask("")) == sorted(WORDS)
    assert ask("st") == ["stdio"]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
@pytest.mark.parametrize("ask", [bash, fish])
def test_flags_and_choices(ask: Callable[..., list[str]], subcommand: str) -> None:
    assert sorted(ask(subcommand, "--")) == sorted(flags_of(subcommand))
    for flag, words in choices_of(subcommand).items():
        assert sorted(ask(subcommand, flag, "")) == sorted(words)
        begun = words[-1][:3]
        assert sorted(ask(subcommand, flag, begun)) == sorted(word for word in words if word.startswith(begun))


def test_values_in_bash(tmp_path: Path) -> None:
    (tmp_path / "tidegate.yaml").touch()
    (tmp_path / "folder").mkdir()
    for words in (["--config"], ["--config", "="]):
        assert sorted(bash("serve", *words, f"{tmp_path}/")) == [f"{tmp_path}/folder", f"{tmp_path}/tidegate.yaml"]
    assert bash("serve", "--balance", "=") == ["roundrobin", "leastconn"]
    assert bash("serve", "--balance", "=", "l") == ["leastconn"]
    assert bash("serve", "--allow-anyone", "--bal") == ["--balance"]
    assert bash("serve", "--listen", "") == []
    assert bash("unknown", "--") == []


def test_values_in_fish(tmp_path: Path) -> None:
    (tmp_path / "tidegate.yaml").touch()
    assert fish("serve", "--config", f"{tmp_path}/tide") == [f"{tmp_path}/tidegate.yaml"]
    assert fish("serve", "--balance=l") == ["--balance=leastconn"]
    assert fish("serve", "--listen", "") == []


def test_zsh(tmp_path: Path) -> None:
    (tmp_path / "tidegate.yaml").touch()
    shell = Zsh(tmp_path)
    try:
        shell.completes("tidegate ", *WORDS)
        for subcommand in SUBCOMMANDS:
            shell.completes(f"tidegate {subcommand} --", *flags_of(subcommand))
            for flag, words in choices_of(subcommand).items():
                shell.completes(f"tidegate {subcommand} {flag} ", *words)
                shell.completes(f"tidegate {subcommand} {flag}=", *words)
        shell.completes(f"tidegate serve --config {tmp_path}/tidegate.y", "aml")
    finally:
        shell.stop()


@pytest.mark.parametrize("name", ["docs/tidegate", "docs/_tidegate", "docs/tidegate.fish"])
def test_written_from_the_table(name: str) -> None:
    """Not by hand: every flag that there is, and no other one."""
    described = json.loads(built("proxy/description.json").read_text())
    assert {s["name"] for s in described} == set(SUBCOMMANDS)
    for subcommand in described:
        names = [f"--{flag['name']}" for flag in subcommand["flags"]]
        assert [*names, "--help"] == flags_of(subcommand["name"])
    text = built(name).read_text()
    assert all(flag["name"] in text for subcommand in described for flag in subcommand["flags"])
