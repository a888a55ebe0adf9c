"""Checklist 70: what the listener offers, and what is wrong with files. test_tls_scan.py asks a scanner."""

from __future__ import annotations

import ssl
import subprocess

import pytest
from certificates import certificates
from rig import Rig, over_wss
from support import default_binary, dial
from tls import client_context


def context_of(version: ssl.TLSVersion | None = None, ciphers: str | None = None) -> ssl.SSLContext:
    context = client_context()
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


@over_wss
@pytest.mark.parametrize("algorithm", ["ec", "rsa"])
@pytest.mark.parametrize("cipher", ["CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384"])
def test_70_tls_1_2(rig: Rig, cipher: str, algorithm: str) -> None:
    pair = certificates().make(f"server-{algorithm}", algorithm=algorithm)
    proxy = rig.proxy(rig.backend(), *pair.flags("tls"))
    name = f"ECDHE-{'ECDSA' if algorithm == 'ec' else 'RSA'}-{cipher}"
    context = context_of(ssl.TLSVersion.TLSv1_2, name)
    with context.wrap_socket(dial(proxy.address), server_hostname="localhost") as tls:
        assert (tls.version(), tls.cipher()[0]) == ("TLSv1.2", name)  # type: ignore[index]
        assert tls.compression() is None


@over_wss
@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "aNULL:@SECLEVEL=0"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_70_weak_is_refused(rig: Rig, version: ssl.TLSVersion, ciphers: str) -> None:
    proxy = rig.proxy(rig.backend())
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context_of(version, ciphers).wrap_socket(dial(proxy.address), server_hostname="localhost")
    assert proxy.wait_refused()["cause"] == "tls-failed"


@over_wss
def test_70_renegotiation_is_refused(rig: Rig) -> None:
    """What s_client sends for "R" is a handshake message behind the handshake."""
    proxy = rig.proxy(rig.backend())
    command = ["openssl", "s_client", "-connect", proxy.address, "-tls1_2", "-CAfile", certificates().ca]
    process = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=20)
    assert "Verify return code: 0 (ok)" in process.stdout
    assert "no renegotiation" in process.stderr + process.stdout, process.stderr
    proxy.wait_refused()


@over_wss
def test_alpn(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend())
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(dial(proxy.address), server_hostname="localhost") as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
    context.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(dial(proxy.address), server_hostname="localhost")


def test_bad_files_are_told_at_the_start() -> None:
    c = certificates()
    common = [default_binary(), "serve", "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:1"]
    for flags, status, says in (
        (["--tls-cert", c.cert], 64, "--tls-cert and --tls-key"),
        (["--tls-cert", "/nowhere", "--tls-key", c.key], 78, "/nowhere: cannot be read"),
        (["--tls-cert", c.ca, "--tls-key", c.key], 78, "is not that of the first certificate"),
    ):
        process = subprocess.run([*common, *flags], capture_output=True, text=True, timeout=20)
        assert process.returncode == status
        assert says in process.stderr
        assert process.stderr.count("\n") == 1
    command = [default_binary(), "probe", "wss://127.0.0.1:1/", "--pin-sha256", "abc"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (process.returncode, "SHA-256" in process.stderr) == (64, True)
