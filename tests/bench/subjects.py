"""What is compared: tidegate and its peers, each started afresh for a measurement, on the proxy's CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import kit

MAX_CONNECTIONS = 8500  # two descriptors each, and HAProxy's pipes: within a limit of 20000

NGINX = """daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/pid;
error_log {folder}/errors warn;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {{ worker_connections {descriptors}; }}
stream {{
    proxy_buffer_size 64k;
    {certificate}
    server {{
        listen 127.0.0.1:{port} {ssl};
        proxy_pass 127.0.0.1:{backend};
    }}
}}
"""

HAPROXY = """global
    nbthread 1
    maxconn {connections}
    maxpipes 1000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    {splice}
listen bench
    bind 127.0.0.1:{port} {ssl}
    server backend 127.0.0.1:{backend}
"""


@dataclass(frozen=True)
class Subject:
    """`kind` is tidegate or a peer's name; `build` is a meson folder, for tidegate alone."""

    label: str
    kind: str
    build: Path = Path()
    workers: int = 0  # 0: the program has no such option
    shares_cpu: bool = False  # all workers have one

    @property
    def is_raw(self) -> bool:
        return self.kind not in ("tidegate", "websockify")

    @property
    def has_tls(self) -> bool:
        return self.kind in ("tidegate", "nginx", "haproxy")

    def cpus(self) -> Sequence[int]:
        if self.workers > 1 and not self.shares_cpu:
            return range(os.cpu_count() or 1)[: self.workers]
        return [kit.PROXY_CPU]

    def version(self) -> str:
        programs = {
            "tidegate": [str(self.build / "proxy/tidegate"), "--version"],
            "nginx": ["nginx", "-v"],
            "haproxy": ["haproxy", "-v"],
            "haproxy-splice": ["haproxy", "-v"],
            "websockify": ["dpkg-query", "-W", "-f", "websockify ${Version}", "websockify"],
        }
        done = subprocess.run(programs[self.kind], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.splitlines()[0] if done.stdout else "?"

    def command(self, port: int, backend: int, folder: Path, tls: Sequence[str]) -> list[str]:
        """`tls`: --tls-cert FILE --tls-key FILE, or nothing."""
        if self.kind == "tidegate":
            scheme = "wss" if tls else "ws"
            command = [str(self.build / "proxy/tidegate"), "serve", "--listen", f"{scheme}://127.0.0.1:{port}"]
            command += ["--backend", f"127.0.0.1:{backend}", *tls]
            return command + (["--workers", str(self.workers)] if self.workers else [])
        if self.kind == "websockify":
            return ["websockify", f"127.0.0.1:{port}", f"127.0.0.1:{backend}"]
        config = folder / "config"
        if self.kind == "nginx":
            certificate = f"ssl_certificate {tls[1]}; ssl_certificate_key {tls[3]};" if tls else ""
            config.write_text(
                NGINX.format(
                    folder=folder,
                    port=port,
                    backend=backend,
                    descriptors=2 * MAX_CONNECTIONS,
                    certificate=certificate,
                    ssl="ssl" if tls else "",
                )
            )
            return ["nginx", "-e", str(folder / "errors"), "-c", str(config)]
        ssl = ""
        if tls:
            both = folder / "both.pem"
            both.write_text(Path(tls[1]).read_text() + Path(tls[3]).read_text())
            ssl = f"ssl crt {both}"
        splice = "option splice-auto" if self.kind == "haproxy-splice" else ""
        config.write_text(
            HAPROXY.format(connections=MAX_CONNECTIONS, port=port, backend=backend, ssl=ssl, splice=splice)
        )
        return ["haproxy", "-db", "-q", "-f", str(config)]


def has_workers(build: Path) -> bool:
    done = subprocess.run([str(build / "proxy/tidegate"), "serve", "--help"], stdout=subprocess.PIPE, text=True)
    return "--workers" in done.stdout


def parse(text: str, build: Path) -> Subject:
    """tidegate, tidegate-2 (two workers), tidegate-2-on-1 (which share a CPU), any of them with =BUILD; or a
    peer's name."""
    name, _, folder = text.partition("=")
    if name in ("tidegate", "tidegate-2", "tidegate-2-on-1"):
        own = Path(folder) if folder else build
        workers = 1 if name == "tidegate" else 2
        if not has_workers(own):
            if workers > 1:
                raise ValueError(f"{text}: this tidegate has no --workers")
            workers = 0
        return Subject(text, "tidegate", own, workers, name.endswith("-on-1"))
    if name in ("nginx", "haproxy", "haproxy-splice", "websockify") and not folder:
        return Subject(text, name)
    raise ValueError(f"{text}: unknown subject (tidegate tidegate-2 tidegate-2-on-1 nginx haproxy haproxy-splice websockify)")


def free_port() -> int:
    with kit.listen() as sock:
        return sock.getsockname()[1]


def is_listening(port: int) -> bool:
    """Asked of the kernel: a connection would go on to the backend, and count there."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            _, address, _, state = line.split(maxsplit=4)[:4]
            if state != "0A":  # those that listen come first, and then maybe thousands
                return False
            if address == f"0100007F:{port:04X}":
                return True
    return False


class Running:
    """A subject that runs, and its backend's socket."""

    def __init__(self, subject: Subject, tls: Sequence[str] = ()) -> None:
        self.subject = subject
        self.folder = tempfile.TemporaryDirectory()
        self.backend = kit.listen()
        port = free_port()
        command = subject.command(port, self.backend.getsockname()[1], Path(self.folder.name), tls)
        pinned = ["taskset", "-c", ",".join(map(str, subject.cpus())), *command]
        # tidegate logs a line for each connection, as it does by default; the others log none.
        self.process = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.pid = self.process.pid
        self.address = f"127.0.0.1:{port}"
        ends = time.monotonic() + 10
        while not is_listening(port):
            if self.process.poll() is not None or time.monotonic() > ends:
                self.stop()
                raise RuntimeError(f"{subject.label} does not start: {' '.join(command)}")
            time.sleep(0.01)

    def stop(self) -> None:
        """At once, with all its children: nobody waits for connections to drain."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.backend.close()
        self.folder.cleanup()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
