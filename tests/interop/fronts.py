"""nginx and HAProxy as people put them in front of a WebSocket server: Debian's packages, a config of
our own in a temporary folder, a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support import free_port, wait_until

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    upstream tidegate {{ server {proxy}; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://tidegate;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            {extra}
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 2048
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
frontend front
    bind 127.0.0.1:{port} backlog 1024
    default_backend tidegate
backend tidegate
    server tidegate {proxy}
"""


def find(program: str) -> str:
    """Its path, or the test is skipped and says why."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


class Front:
    """One running server of another make."""

    def __init__(self, kind: str, proxy: str, folder: Path, extra: str = "") -> None:
        """`extra`: a line more in nginx's location."""
        self.folder = folder / kind
        self.folder.mkdir()
        path = find(kind)
        for _ in range(5):  # another program may take the free port first
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            config = self.folder / "config"
            template = NGINX if kind == "nginx" else HAPROXY
            config.write_text(template.format(folder=self.folder, port=port, proxy=proxy, extra=extra))
            command = [path, "-c", str(config)] if kind == "nginx" else [path, "-db", "-f", str(config)]
            self.log = open(self.folder / "log", "wb")  # noqa: SIM115: lives as long as the process
            self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
            wait_until(lambda: self.process.poll() is not None or self.is_up(), f"{kind} starts")
            if self.process.poll() is None:
                return
            self.log.close()
        raise AssertionError(f"{kind}: {(self.folder / 'log').read_text()}")

    def is_up(self) -> bool:
        host, port = self.address.split(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
