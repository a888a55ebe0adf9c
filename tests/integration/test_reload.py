"""Checklist 67: what TLS reads from files, when they have changed or on SIGHUP."""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest
from backend import BackendConnection, echo
from certificates import Certificates, Pair, certificates
from proxy import Program, Proxy
from rig import Rig, over_wss
from support import KIB, dial, payload, sha256
from tunnel import local, local_end, start_tunnel
from wsclient import WsClient

LOOKS = ("--reload-interval", "100ms")
BLIND = ("--reload-interval", "0")
both_ways = pytest.mark.parametrize("how", ["files", "SIGHUP"])


def replace(target: Path, source: str) -> None:
    """In one step."""
    fresh = target.with_suffix(".new")
    fresh.write_bytes(Path(source).read_bytes())
    fresh.rename(target)


def interval(how: str) -> tuple[str, str]:
    return LOOKS if how == "files" else BLIND


def reload(program: Program, how: str, outcome: str = "reloaded") -> None:
    """Waits until it has been, by itself or because it is told to."""
    if how == "SIGHUP":
        program.signal(signal.SIGHUP)
    program.wait(outcome)


def trust_in(authority: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.ca)


def is_served_by(proxy: Proxy, authority: Certificates) -> bool:
    try:
        with trust_in(authority).wrap_socket(dial(proxy.address), server_hostname="localhost"):
            return True
    except ssl.SSLCertVerificationError:
        return False


def finish_conversation(client: WsClient, connection: BackendConnection) -> None:
    """On a connection that is open: as if nothing had happened."""
    data = payload(100 * KIB, 67)
    connection.read_in_background()
    client.send(data)
    client.fin()
    assert connection.wait_end() == "eof"
    assert connection.digest == sha256(data)
    connection.finish()
    assert client.collect().close == 1000


class Versions:
    """Pairs as Kubernetes mounts them: each in a folder, and links through one link that is turned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pair = Pair(str(folder / "cert.pem"), str(folder / "key.pem"))
        self.count = 0
        (folder / "cert.pem").symlink_to("..data/cert.pem")
        (folder / "key.pem").symlink_to("..data/key.pem")

    def show(self, cert: str, key: str) -> None:
        self.count += 1
        version = self.folder / f"..{self.count}"
        version.mkdir()
        (version / "cert.pem").write_bytes(Path(cert).read_bytes())
        (version / "key.pem").write_bytes(Path(key).read_bytes())
        (self.folder / "..fresh").symlink_to(version.name)
        os.rename(self.folder / "..fresh", self.folder / "..data")


@over_wss
def test_67_files_renamed_into_place(rig: Rig, tmp_path: Path) -> None:
    old, new = certificates(), Certificates()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    replace(cert, old.cert)
    replace(key, old.key)
    backend = rig.backend()
    proxy = rig.proxy(backend, "--tls-cert", str(cert), "--tls-key", str(key), *LOOKS)
    client, connection = rig.pair(proxy, backend)
    replace(cert, new.cert)
    replace(key, new.key)
    proxy.wait("reloaded")  # with a bad pair before it, if the second file came late
    assert is_served_by(proxy, new) and not is_served_by(proxy, old)
    finish_conversation(client, connection)


@over_wss
def test_67_a_link_is_turned(rig: Rig, tmp_path: Path) -> None:
    """A bad pair keeps the old one, is told once, and the next good one is taken."""
    old, new = certificates(), Certificates()
    versions = Versions(tmp_path)
    versions.show(old.cert, old.key)
    backend = rig.backend()
    proxy = rig.proxy(backend, *versions.pair.flags("tls"), *LOOKS)
    client, connection = rig.pair(proxy, backend)
    versions.show(new.cert, old.key)
    assert "is not that of the first certificate" in proxy.wait("not reloaded")["detail"]
    assert is_served_by(proxy, old)
    versions.show(new.cert, new.key)
    proxy.wait("reloaded")
    assert is_served_by(proxy, new) and not is_served_by(proxy, old)
    versions.show(old.cert, old.key)
    proxy.wait("reloaded")
    assert is_served_by(proxy, old)
    assert (len(proxy.find("reloaded")), len(proxy.find("not reloaded"))) == (2, 1)
    finish_conversation(client, connection)


@over_wss
@both_ways
def test_67_authorities_of_clients(rig: Rig, tmp_path: Path, how: str) -> None:
    ca = tmp_path / "ca.pem"
    replace(ca, certificates().other_ca)
    proxy = rig.proxy(rig.backend(), "--client-ca", str(ca), *interval(how))
    context = trust_in(certificates())
    context.load_cert_chain(*certificates().make("client", usage="clientAuth"))
    with pytest.raises((OSError, AssertionError)):
        rig.dial(proxy, context=context).handshake()
    replace(ca, certificates().ca)
    reload(proxy, how)
    rig.dial(proxy, context=context).handshake()


@both_ways
def test_67_authorities_of_the_backend(rig: Rig, tmp_path: Path, how: str) -> None:
    """Only the backend has TLS."""
    ca = tmp_path / "ca.pem"
    replace(ca, certificates().other_ca)
    backend = rig.backend("tls")
    proxy = rig.proxy(backend, "--backend-ca", str(ca), *interval(how))
    client = rig.dial(proxy)
    with pytest.raises(AssertionError, match="502"):
        client.handshake()
    replace(ca, certificates().ca)
    reload(proxy, how)
    client, connection = rig.pair(proxy, backend)
    replace(ca, certificates().other_ca)
    reload(proxy, how)
    finish_conversation(client, connection)


@over_wss
def test_67_both_sides_or_neither(rig: Rig, tmp_path: Path) -> None:
    old, new = certificates(), Certificates()
    versions = Versions(tmp_path)
    versions.show(old.cert, old.key)
    ca = tmp_path / "ca.pem"
    replace(ca, old.ca)
    backend = rig.backend("tls")
    proxy = rig.proxy(backend, *versions.pair.flags("tls"), "--backend-ca", str(ca), *BLIND)
    versions.show(new.cert, new.key)
    replace(ca, old.key)
    reload(proxy, "SIGHUP", "not reloaded")
    assert is_served_by(proxy, old)
    rig.pair(proxy, backend)
    replace(ca, new.ca)
    reload(proxy, "SIGHUP")
    assert is_served_by(proxy, new)
    client = rig.dial(proxy, context=trust_in(new))
    with pytest.raises(AssertionError, match="502"):
        client.handshake()


@over_wss
@pytest.mark.parametrize("is_good", [True, False])
def test_67_hangup_while_draining(rig: Rig, tmp_path: Path, is_good: bool) -> None:
    versions = Versions(tmp_path)
    versions.show(certificates().cert, certificates().key)
    backend = rig.backend()
    proxy = rig.proxy(backend, *versions.pair.flags("tls"), *LOOKS)
    client, connection = rig.pair(proxy, backend)
    proxy.signal()
    proxy.wait("draining")
    if not is_good:
        versions.show(certificates().ca, certificates().key)
    reload(proxy, "SIGHUP", "reloaded" if is_good else "not reloaded")
    finish_conversation(client, connection)
    proxy.check_exit(0)


@over_wss
@both_ways
def test_67_authorities_of_a_tunnel(rig: Rig, tmp_path: Path, how: str) -> None:
    ca = tmp_path / "ca.pem"
    replace(ca, certificates().other_ca)
    tunnel = start_tunnel(rig, rig.proxy(rig.backend(script=echo)).address, "--ca-file", str(ca), *interval(how))
    assert local_end(rig, tunnel) == "reset"
    assert tunnel.wait_failed()["cause"] == "tls-failed"
    replace(ca, certificates().ca)
    reload(tunnel, how)
    open_before = local(rig, tunnel)
    open_before.send(b"one")
    open_before.read_in_background()
    open_before.wait_count(3)
    replace(ca, certificates().key)
    reload(tunnel, how, "not reloaded")
    open_after = local(rig, tunnel)
    for connection in (open_before, open_after):
        connection.send(b"two")
        connection.finish()
    open_after.read_in_background()
    assert (open_before.wait_end(), open_after.wait_end()) == ("eof", "eof")
    assert (bytes(open_before.kept), bytes(open_after.kept)) == (b"onetwo", b"two")
