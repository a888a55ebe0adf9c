"""[proxy+][ws://|wss://]ADDR: what each port of one program speaks."""

from __future__ import annotations

import signal

import pytest
from backend import echo
from certificates import certificates
from config import run, serve, write
from proxy import Program
from rig import Rig
from support import dial
from tls import TlsSocket, client_context
from wsclient import WsClient


def speaks(rig: Rig, address: str, is_secure: bool) -> None:
    sock = dial(address)
    client = WsClient(TlsSocket(sock, client_context()) if is_secure else sock, "extension")  # type: ignore[arg-type]
    rig.clients.append(client)
    client.handshake()
    client.send(b"hello")
    client.read_data(5)
    client.fin()
    assert client.collect().close == 1000


def forms(proxy: Program) -> list[str]:
    return [record["form"] for record in proxy.find("listening")]


def test_each_port_has_its_own(rig: Rig) -> None:
    proxy = rig.proxy(
        rig.backend("tcp", echo),
        *certificates().serve_flags(),
        listen=("127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"),
    )
    assert forms(proxy) == ["wss", "ws", "wss"]
    for address, is_secure in zip(proxy.addresses, (True, False, True), strict=True):
        speaks(rig, address, is_secure)


def test_plain_by_default(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo), listen=("127.0.0.1:0", "proxy+127.0.0.1:0"))
    assert forms(proxy) == ["ws", "proxy+ws"]
    speaks(rig, proxy.address, False)


def test_in_the_file_and_printed(rig: Rig) -> None:
    """One flag takes several, with or without a scheme; what is printed can be read again."""
    listen = ["ws://127.0.0.1:1", "proxy+127.0.0.1:2", "proxy+wss://127.0.0.1:3"]
    line = "listen: [" + ", ".join(f'"{a}"' for a in listen) + "]"
    result = run("serve", "--listen", *listen, "--backend", ":1", "--print-config")
    assert line + "  # flag --listen" in result.stdout, result.stderr
    path = str(write(rig, {"listen": listen, "backend": ":1"}))
    result = run("serve", "--config", path, "--print-config")
    assert line + f"  # {path}:" in result.stdout
    result = run("serve", "--print-config", "--backend", ":1", env={"TIDEGATE_LISTEN": " ".join(listen)})
    assert line + "  # environment TIDEGATE_LISTEN" in result.stdout


@pytest.mark.parametrize("address", ["wss://127.0.0.1:1", "proxy+wss://127.0.0.1:1"])
def test_tls_needs_a_certificate(address: str) -> None:
    for subcommand in ("check", "serve"):
        result = run(subcommand, "--listen", address, "--backend", ":2")
        assert result.returncode == 78
        assert f"--listen {address}: needs --tls-cert" in result.stderr


@pytest.mark.parametrize("address", ["ws://127.0.0.1:1", "wss://127.0.0.1:1", "proxy+127.0.0.1:1"])
def test_for_serve_only(address: str) -> None:
    for flags in (("tunnel", f"--listen={address}", "ws://127.0.0.1:1"), ("demo", "--listen", address)):
        result = run(*flags)
        assert result.returncode == 64
        assert f"--listen {address}: ws://, wss:// and proxy+ are for serve" in result.stderr


def test_without_tls_beyond_this_machine() -> None:
    """A certificate is no guard for a port that does not use it."""
    pair = certificates().serve_flags()
    assert run("check", "--listen", "wss://0.0.0.0:1", "--backend", ":2", *pair).returncode == 0
    result = run("check", "--listen", "wss://0.0.0.0:1", "ws://0.0.0.0:2", "--backend", ":2", *pair)
    assert result.returncode == 78
    assert "--listen ws://0.0.0.0:2" in result.stderr


def test_reload_does_not_change_them(rig: Rig) -> None:
    """Another form needs a restart; nor can the certificates go while a port needs them."""
    backend = rig.backend("tcp", echo).address
    pair = {"tls-cert": certificates().cert, "tls-key": certificates().key}
    common = {"backend": backend, "reload-interval": "0", "linger": "2s"}
    listen = ["ws://127.0.0.1:0", "wss://127.0.0.1:0"]
    proxy = serve(rig, {"listen": listen, **common, **pair}, listen=(), listeners=2)
    write(rig, {"listen": ["ws://127.0.0.1:0", "127.0.0.1:0"], **common})
    proxy.signal(signal.SIGHUP)
    assert proxy.wait("needs a restart")["key"] == "listen"
    assert "wss://127.0.0.1:0: needs --tls-cert" in proxy.wait("not reloaded")["detail"]
    for address, is_secure in zip(proxy.addresses, (False, True), strict=True):
        speaks(rig, address, is_secure)
