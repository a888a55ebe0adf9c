"""Proxies with a configuration file."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from proxy import Program
from rig import Rig
from support import default_binary


def write(rig: Rig, settings: dict[str, Any]) -> Path:
    """YAML that is JSON as well: every key and value quoted, so that nothing is read in two ways."""
    path = rig.directory / "tidegate.yaml"
    lines = [f"{key}: {json.dumps(value)}" for key, value in settings.items() if key != "routes"]
    if "routes" in settings:
        lines += ["routes:", *(f"  - {json.dumps(route)}" for route in settings["routes"])]
    path.write_text("\n".join(lines) + "\n")
    return path


def serve(
    rig: Rig, settings: dict[str, Any], *flags: str, prefix: tuple[str, ...] = (), **options: Any
) -> Program:
    """On one port, unless `settings` say where."""
    path = write(rig, {"linger": "2s", **settings})
    if "listen" in settings:
        options = {"listen": (), "listeners": len(settings["listen"]), **options}
    program = Program([*prefix, default_binary(), "serve", "--config", str(path), *flags], **options)
    rig.proxies.append(program)  # type: ignore[arg-type]
    return program


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [default_binary(), *arguments], capture_output=True, text=True, timeout=20, check=False, **options
    )
