"""Checklist 75: sessions taken up again, and when not."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from backend import echo
from certificates import certificates
from proxy import Proxy
from rig import Rig, over_wss
from support import dial, payload, sha256
from tls import TlsSocket, client_context
from wsclient import WsClient

pytestmark = over_wss

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "best": ssl.TLSVersion.MAXIMUM_SUPPORTED}
any_version = pytest.mark.parametrize("version", VERSIONS)


def context_of(version: str) -> ssl.SSLContext:
    context = client_context()
    context.maximum_version = VERSIONS[version]
    return context


def resumes(rig: Rig, proxy: Proxy, context: ssl.SSLContext) -> bool:
    """Whether the second of two connections takes up the first one's session."""
    first = rig.dial(proxy, "extension", context=context)
    first.handshake()
    session = first.sock.tls.session  # type: ignore[attr-defined]
    first.fin()
    first.collect()
    secure = TlsSocket(dial(proxy.address), context, session=session)
    client = WsClient(secure, "extension")  # type: ignore[arg-type]
    rig.clients.append(client)
    client.handshake()
    client.send(payload(100_000, 174))
    client.fin()
    got = client.collect()
    assert (got.close, got.digest) == (1000, sha256(payload(100_000, 174)))
    return bool(secure.tls.session_reused)


@any_version
def test_75_resumption(rig: Rig, version: str) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo))
    assert resumes(rig, proxy, context_of(version))


@any_version
def test_75_no_resumption_with_client_certificates(rig: Rig, version: str) -> None:
    """Who a client is is asked every time."""
    c = certificates()
    proxy = rig.proxy(rig.backend("tcp", echo), "--client-ca", c.ca, "--client-verify", "optional")
    context = context_of(version)
    context.load_cert_chain(*c.make("alice", usage="clientAuth"))
    assert not resumes(rig, proxy, context)


@any_version
def test_75_a_session_of_another_proxy_is_not_taken(rig: Rig, version: str) -> None:
    """It is a full handshake then, and no failure."""
    context = context_of(version)
    first = rig.dial(rig.proxy(rig.backend("tcp", echo)), "extension", context=context)
    first.handshake()
    first.fin()
    first.collect()
    other = rig.proxy(rig.backend("tcp", echo))
    session = first.sock.tls.session  # type: ignore[attr-defined]
    secure = TlsSocket(dial(other.address), context, session=session)
    rig.clients.append(WsClient(secure, "plain"))  # type: ignore[arg-type]
    rig.clients[-1].handshake()
    assert not secure.tls.session_reused


def test_75_s_client_resumes(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo))
    session = Path(rig.directory, "session")
    common = ["openssl", "s_client", "-connect", proxy.address, "-CAfile", certificates().ca, "-tls1_2"]
    for flags, says in ((["-sess_out", str(session)], "New, TLSv1.2"), (["-sess_in", str(session)], "Reused, TLSv1.2")):
        process = subprocess.run([*common, *flags], input="", capture_output=True, text=True, timeout=30, check=False)
        assert says in process.stdout, process.stdout + process.stderr
