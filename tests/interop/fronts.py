"""nginx, HAProxy, varnish and stunnel as people put them in front of a WebSocket server: Debian's
packages, a config of our own in a temporary folder, a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from certificates import certificates
from support import PATIENCE, dial, free_port, wait_until
from tls import TlsSocket, client_context

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
        listen 127.0.0.1:{port} backlog=1024{listen};
        ssl_certificate {cert}; ssl_certificate_key {key};
        location / {{
            proxy_pass {to}://tidegate;
            proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate {ca};
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

# TCP alone, for who passes on the client's address in a header.
HAPROXY_TCP = """
global
    maxconn 2048
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend front
    bind 127.0.0.1:{port}{listen}
    unique-id-format front-%pid-%rt
    default_backend next
backend next
    server next {proxy} {extra}
"""

NGINX_STREAM = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
stream {{
    server {{
        listen 127.0.0.1:{port}{listen};
        set_real_ip_from 127.0.0.1;
        proxy_pass {proxy};
        proxy_protocol on;
        proxy_half_close on;
        {extra}
    }}
}}
"""

VARNISH = """
vcl 4.1;
backend default {{ .host = "{host}"; .port = "{proxy_port}"; }}
sub vcl_recv {{
    if (req.http.Upgrade) {{ return (pipe); }}
}}
sub vcl_pipe {{
    set bereq.http.Upgrade = req.http.Upgrade;
    set bereq.http.Connection = req.http.Connection;
}}
"""

STUNNEL = """
foreground = yes
pid =
debug = notice
[tls]
accept = 127.0.0.1:{port}
connect = {proxy}
cert = {cert}
key = {key}
"""

# program, its configuration, its arguments
FRONTS = {
    "nginx": ("nginx", NGINX, "-c {folder}/config"),
    "nginx-tls": ("nginx", NGINX, "-c {folder}/config"),
    "haproxy": ("haproxy", HAPROXY, "-db -f {folder}/config"),
    "haproxy-tcp": ("haproxy", HAPROXY_TCP, "-db -f {folder}/config"),
    "nginx-stream": ("nginx", NGINX_STREAM, "-c {folder}/config"),
    "varnish": (
        "varnishd",
        VARNISH,
        "-F -j none -n {folder}/work -a 127.0.0.1:{port} -f {folder}/config -s malloc,16m"
        " -p thread_pools=1 -p thread_pool_min=10",  # starts sooner
    ),
    "stunnel": ("stunnel4", STUNNEL, "{folder}/config"),
}


def find(program: str) -> str:
    """Its path, or the test is skipped and says why."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


class Front:
    """One running server of another make."""

    def __init__(
        self, kind: str, proxy: str, folder: Path, extra: str = "", *, to_tls: bool = False, listen: str = ""
    ) -> None:
        """`extra`: a line more in nginx's location, words more for HAProxy's server; `listen`: for its port. `to_tls`: nginx finds TLS at the proxy, too."""
        program, template, arguments = FRONTS[kind]
        path = find(program)
        self.folder = folder / kind
        self.folder.mkdir()
        self.has_tls = kind in ("stunnel", "nginx-tls")
        host, proxy_port = proxy.split(":")
        for _ in range(5):  # another program may take the free port first
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            words = {"folder": self.folder, "port": port, "proxy": proxy, "extra": extra}
            words |= {"host": host, "proxy_port": proxy_port, "to": "https" if to_tls else "http"}
            words |= {"listen": " ssl" if self.has_tls else listen}
            words |= {name: getattr(certificates(), name) for name in ("cert", "key", "ca")}
            (self.folder / "config").write_text(template.format(**words))
            command = [path, *arguments.format(**words).split()]
            self.log = open(self.folder / "log", "wb")  # noqa: SIM115: lives as long as the process
            self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
            wait_until(lambda: self.process.poll() is not None or self.is_up(), f"{kind} starts")
            if self.process.poll() is None:
                return
            self.log.close()
        raise AssertionError(f"{kind}: {(self.folder / 'log').read_text()}")

    def dial(self, timeout: float = PATIENCE) -> socket.socket:
        """A connection to it, with its TLS if it wants that."""
        sock = dial(self.address, timeout=timeout)
        if not self.has_tls:
            return sock
        return TlsSocket(sock, client_context())  # type: ignore[return-value]

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
