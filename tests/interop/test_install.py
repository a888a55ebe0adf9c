"""`meson install`: what it puts where."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from built import ROOT, build_folder
from fronts import find


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_everything_in_its_place(tmp_path: Path) -> None:
    command = [find("meson"), "install", "-C", str(build_folder()), "--no-rebuild", "--quiet", "--destdir", str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    prefix = tmp_path / "usr" / "local"
    wanted = {
        "bin/tidegate",
        "share/bash-completion/completions/tidegate",
        "share/zsh/site-functions/_tidegate",
        "share/fish/vendor_completions.d/tidegate.fish",
        "share/doc/tidegate/README.md",
    }
    if shutil.which("scdoc"):
        wanted |= {"share/man/man1/tidegate.1", "share/man/man5/tidegate.yaml.5"}
    wanted |= {f"share/doc/tidegate/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    wanted |= {f"lib/systemd/system/{path.name}" for path in (ROOT / "docs/examples/systemd").glob("*.*")}
    wanted |= {f"share/doc/tidegate/examples/{name}" for name in files_below(ROOT / "docs/examples")}
    assert files_below(tmp_path) == {f"usr/local/{name}" for name in wanted}
    assert os.access(prefix / "bin/tidegate", os.X_OK)
    for unit in (prefix / "lib/systemd/system").glob("*.service"):
        assert "ExecStart=/usr/local/bin/tidegate " in unit.read_text()
