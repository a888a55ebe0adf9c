"""What proxy/tools/describe.c prints, for the generators beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# They take no flags, and stand in main.c.
OTHERS = {"version": "print versions", "help": "print all subcommands"}


class Option:
    def __init__(self, given: dict[str, Any]) -> None:
        self.name: str = given["name"]
        self.variable: str = given["variable"]
        self.kind: str = given["kind"]
        self.scope: str = given["scope"]
        self.value: str = given["value"] or ""
        self.default: str | None = given["default"]
        self.help: str = given["help"]
        self.is_required: bool = given["is_required"]
        self.is_flag = self.kind == "flag"
        self.is_file = self.value in ("FILE", "PATH")
        self.is_repeated = "may be repeated" in self.help
        self.words: list[str] = self.value.split("|") if self.kind == "choice" else []


class Subcommand:
    def __init__(self, given: dict[str, Any]) -> None:
        self.name: str = given["name"]
        self.usage: str = given["usage"]
        self.summary: str = given["summary"]
        self.about = [" ".join(part.split()) for part in given["about"].split("\n\n")]
        self.argument = Option(given["argument"]) if given["argument"] else None
        self.flags = [Option(flag) for flag in given["flags"]]

    def has_flags_of(self, other: Subcommand) -> bool:
        return [flag.name for flag in self.flags] == [flag.name for flag in other.flags]


def read(path: str) -> list[Subcommand]:
    return [Subcommand(given) for given in json.loads(Path(path).read_text())]
