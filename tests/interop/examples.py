"""The files of docs/examples, with their addresses and files put in other places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from built import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def changed(name: str, changes: dict[str, str]) -> str:
    """The text of an example. Each change must find something."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name}: no {old!r}"
        text = text.replace(old, new)
    return text


def documents(name: str) -> list[Any]:
    return [document for document in yaml.safe_load_all((EXAMPLES / name).read_text()) if document]


def haproxy(port: int, replicas: list[tuple[str, str]]) -> str:
    """`replicas`: where each takes clients, and where it tells its status."""
    (one, one_status), (two, two_status) = replicas
    return changed(
        "haproxy/haproxy.cfg",
        {
            "bind :8000": f"bind 127.0.0.1:{port}",
            "server one 10.0.0.11:8080": f"server one {one} port {one_status.rpartition(':')[2]}",
            "server two 10.0.0.12:8080": f"server two {two} port {two_status.rpartition(':')[2]}",
            "check port 8081": "check",
            "maxconn 20000": "maxconn 2000",
        },
    )


def nginx(port: int, replicas: list[tuple[str, str]], folder: Path) -> str:
    (one, _), (two, _) = replicas
    own = f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    return own + changed(
        "nginx/nginx.conf",
        {
            "listen 8000": f"listen 127.0.0.1:{port}",
            "10.0.0.11:8080": one,
            "10.0.0.12:8080": two,
            "fail_timeout=5s": "fail_timeout=1s",  # for a shorter test
            # Smaller than a real machine's, and nothing is written outside of the folder.
            "worker_processes auto": "worker_processes 2",
            "worker_rlimit_nofile 65536": "worker_rlimit_nofile 4096",
            "worker_connections 32768": "worker_connections 2048",
            "http {\n": f"http {{\n    access_log off;\n{paths}",
        },
    )
