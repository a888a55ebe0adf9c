"""What the benches share: the proxy under test, a certificate for it, the load generator, where they run."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

PROXY_CPU, LOAD_CPU = 0, 1


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no Rss in smaps_rollup")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_certificate(folder: Path) -> list[str]:
    """A key and a certificate of it; returns the options of `serve` that name them."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]


def listen() -> socket.socket:
    """The backend's socket: the load generator inherits it. Reno: see link.c."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def on_cpu(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def run_json(command: list[str], **how: Any) -> dict[str, Any]:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **how)
    return json.loads(done.stdout)


class Proxy:
    """`tidegate serve` before a backend, on a CPU of its own."""

    def __init__(self, build: Path, backend: socket.socket, options: list[str]) -> None:
        command = [str(build / "proxy/tidegate"), "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
        command += ["--backend", f"127.0.0.1:{backend.getsockname()[1]}", *options]
        self.process = subprocess.Popen(on_cpu(PROXY_CPU, command), stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.port = int(json.loads(line)["address"].rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"
        self.pid = self.process.pid
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def load(build: Path, job: str, proxy: Proxy, backend: socket.socket, options: list[str]) -> dict[str, Any]:
    """One run of the load generator; what it prints."""
    command = [str(build / "tests/bench/load"), job, "--to", proxy.address, "--pid", str(proxy.pid)]
    command += ["--backend-fd", str(backend.fileno()), *options]
    return run_json(on_cpu(LOAD_CPU, command), pass_fds=[backend.fileno()])


def machine() -> str:
    model = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
        "?",
    )
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"
