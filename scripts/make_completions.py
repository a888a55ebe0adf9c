"""Writes the completions of a shell to standard output.

usage: make_completions.py DESCRIPTION bash|zsh|fish
"""

from __future__ import annotations

import sys

from description import OTHERS, Option, Subcommand, read


def first_words(subcommands: list[Subcommand]) -> dict[str, str]:
    return {s.name: s.summary for s in subcommands} | OTHERS


# ---- bash ----

BASH_HEAD = """# Completions of tidegate for bash. Written by scripts/make_completions.py.
# shellcheck shell=bash

_tidegate()
{
    local cur=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} flags='' words='' files=''
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '%(first)s' -- "$cur")
        return
    fi
    # --flag=value is three words: '=' is one.
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $last == '=' ]] && ((COMP_CWORD > 2)); then
        last=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case ${COMP_WORDS[1]} in
"""

BASH_TAIL = """    esac
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    elif [[ $flags && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
    fi
}
complete -F _tidegate tidegate
"""


def bash_values(subcommand: Subcommand) -> list[str]:
    """What may stand behind the flag that is the word before."""
    files = [f"--{flag.name}" for flag in subcommand.flags if flag.is_file]
    others = [f"--{f.name}" for f in subcommand.flags if not (f.is_flag or f.is_file or f.words)]
    lines = [f"        {'|'.join(files)}) files=yes ;;"] if files else []
    for flag in subcommand.flags:
        if flag.words:
            lines.append(f"        --{flag.name}) words='{' '.join(flag.words)}' ;;")
    if others:
        lines.append(f"        {'|'.join(others)}) return ;;")
    return lines


def bash(subcommands: list[Subcommand]) -> list[str]:
    lines = [BASH_HEAD.rstrip("\n") % {"first": " ".join(first_words(subcommands))}]
    for subcommand in subcommands:
        flags = " ".join(f"--{flag.name}" for flag in subcommand.flags)
        lines += [f"    {subcommand.name})", f"        flags='{flags} --help'", '        case $last in']
        lines += [*bash_values(subcommand), "        esac", "        ;;"]
    return [*lines, BASH_TAIL.rstrip("\n")]


# ---- zsh ----


def zsh_quoted(text: str) -> str:
    """Inside single quotes."""
    return text.replace("'", "'\\''")


def zsh_text(text: str) -> str:
    for special in "\\[]:":
        text = text.replace(special, "\\" + special)
    return zsh_quoted(text)


def zsh_flag(option: Option) -> str:
    star = "*" if option.is_repeated else ""
    head = f"'{star}--{option.name}{'' if option.is_flag else '='}[{zsh_text(option.help)}]"
    if option.is_flag:
        return head + "'"
    what = "_files" if option.is_file else f"({' '.join(option.words)})" if option.words else ""
    return f"{head}:{zsh_text(option.value)}:{what}'"


def zsh(subcommands: list[Subcommand]) -> list[str]:
    lines = [
        "#compdef tidegate",
        "# Completions of tidegate for zsh. Written by scripts/make_completions.py.",
        "",
        "_tidegate() {",
        "    local -a subcommands",
        "    subcommands=(",
        *(f"        '{name}:{zsh_quoted(summary)}'" for name, summary in first_words(subcommands).items()),
        "    )",
        "    if ((CURRENT == 2)); then",
        "        _describe subcommand subcommands",
        "        return",
        "    fi",
        "    shift words",
        "    ((CURRENT--))",
        "    case $words[1] in",
    ]
    for subcommand in subcommands:
        specs = [*(zsh_flag(flag) for flag in subcommand.flags), "'--help[show the flags]'"]
        if subcommand.argument:
            specs.append(f"'1:{zsh_text(subcommand.argument.value)}:'")
        lines += [f"    {subcommand.name})", "        _arguments \\"]
        lines += [f"            {spec} \\" for spec in specs[:-1]] + [f"            {specs[-1]}", "        ;;"]
    return [*lines, "    esac", "}", "", '_tidegate "$@"']


# ---- fish ----


def fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_flag(option: Option, subcommand: str) -> str:
    line = f"complete -c tidegate -n '__fish_seen_subcommand_from {subcommand}' -l {option.name}"
    if option.is_file:
        line += " -r -F"
    elif option.words:
        line += f" -x -a {fish_text(' '.join(option.words))}"
    elif not option.is_flag:
        line += " -x"
    return f"{line} -d {fish_text(option.help)}"


def fish(subcommands: list[Subcommand]) -> list[str]:
    lines = [
        "# Completions of tidegate for fish. Written by scripts/make_completions.py.",
        "complete -c tidegate -f",
    ]
    for name, summary in first_words(subcommands).items():
        lines.append(f"complete -c tidegate -n __fish_use_subcommand -a {name} -d {fish_text(summary)}")
    for subcommand in subcommands:
        lines += [fish_flag(flag, subcommand.name) for flag in subcommand.flags]
        seen = f"'__fish_seen_subcommand_from {subcommand.name}'"
        lines.append(f"complete -c tidegate -n {seen} -l help -d 'show the flags'")
    return lines


def main() -> None:
    _, description, shell = sys.argv
    print("\n".join({"bash": bash, "zsh": zsh, "fish": fish}[shell](read(description))))


if __name__ == "__main__":
    main()
