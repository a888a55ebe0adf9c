"""Fills in a template of the manual: writes scdoc to standard output.

usage: make_manual.py DESCRIPTION TEMPLATE VERSION

In the template a line @SYNOPSIS@, @SUBCOMMANDS@, @VARIABLES@ or @KEYS@ stands for what the option table
says, @VERSION@ anywhere for the version.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from description import OTHERS, Option, Subcommand, read

SPECIAL = re.compile(r"([\\*_#\[\]<>`~.|+-])")


def plain(text: str) -> str:
    """Text of which scdoc makes nothing."""
    return SPECIAL.sub(r"\\\1", text)


def bold(text: str) -> str:
    return f"*{plain(text)}*"


def slanted(text: str) -> str:
    return f"_{plain(text)}_"


def value_of(option: Option) -> str:
    if option.words:
        return "|".join(bold(word) for word in option.words).replace("|", "\\|")
    return slanted(option.value)


def told(option: Option) -> str:
    words = plain(option.help)
    return words if option.default is None else f"{words} (default {bold(option.default)})"


def broken(lines: Iterable[str]) -> list[str]:
    """One below the other."""
    return "++\n".join(lines).split("\n")


def synopsis(subcommands: list[Subcommand]) -> list[str]:
    lines = [f"{bold('tidegate ' + s.name)} {plain(s.usage)}" for s in subcommands]
    return broken([*lines, *(bold("tidegate " + name) for name in OTHERS)])


def flags_of(subcommand: Subcommand, before: list[Subcommand]) -> list[str]:
    for other in before:
        if subcommand.has_flags_of(other):
            return [f"Its flags are those of {bold(other.name)}.", ""]
    lines = []
    for flag in subcommand.flags:
        value = "" if flag.is_flag else " " + value_of(flag)
        needed = " (needed)" if flag.is_required else ""
        lines += [f"{bold('--' + flag.name)}{value}{needed}", f"\t{told(flag)}", ""]
    return [*lines, "*\\-\\-help*", "\tprint its flags", ""]


def sections(subcommands: list[Subcommand]) -> list[str]:
    lines: list[str] = []
    for number, subcommand in enumerate(subcommands):
        lines += [f"## tidegate {subcommand.name}", "", plain(subcommand.summary), ""]
        for part in subcommand.about:
            lines += [plain(part), ""]
        argument = subcommand.argument
        if argument:
            lines += [slanted(argument.value), f"\t{plain(argument.help)}", ""]
        lines += flags_of(subcommand, subcommands[:number])
    return lines


def variables(subcommands: list[Subcommand]) -> list[str]:
    """One line for each: what it stands for, the table says under the flag of the same name."""
    names: dict[str, list[str]] = {}
    for subcommand in subcommands:
        for option in [*filter(None, [subcommand.argument]), *subcommand.flags]:
            names.setdefault(option.variable, []).append(subcommand.name)
    return broken(f"{bold(name)} ({', '.join(used)})" for name, used in names.items())


def keys(subcommands: list[Subcommand]) -> list[str]:
    lines: list[str] = []
    serve = next(s for s in subcommands if s.name == "serve")
    for option in serve.flags:
        if option.scope == "line":
            continue
        value = "*true*\\|*false*" if option.is_flag else value_of(option)
        if option.kind == "list":
            value = f"\\[{value}, ...\\]"
        words = plain(option.help.replace("; may be repeated", "").replace(", may be repeated", ""))
        default = "" if option.default is None else f" (default {bold(option.default)})"
        lines += [f"{bold(option.name + ':')} {value} ({option.scope})", f"\t{words}{default}", ""]
    return lines


def main() -> None:
    _, description, template, version = sys.argv
    subcommands = read(description)
    makers = {"SYNOPSIS": synopsis, "SUBCOMMANDS": sections, "VARIABLES": variables, "KEYS": keys}
    for line in Path(template).read_text().splitlines():
        name = re.fullmatch(r"@([A-Z]+)@", line)
        if name:
            print("\n".join(makers[name[1]](subcommands)).rstrip("\n"))
        else:
            print(line.replace("@VERSION@", version))


if __name__ == "__main__":
    main()
