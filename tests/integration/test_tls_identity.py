"""Who is who: certificates chosen by the name asked for, certificates of clients, and ours for a backend.
Checklist 67 and 72."""

from __future__ import annotations

import ssl
import subprocess

import pytest
from backend import answer_at_end, echo
from certificates import Pair, certificates
from proxy import Proxy
from rig import Rig, over_wss
from support import MIB, default_binary, dial, payload, sha256
from tls import TlsSocket, client_context, server_context
from tunnel import local, local_end, start_tunnel
from wsclient import HALF_CLOSE_CARRIERS, WsClient, request

pytestmark = over_wss

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "best": ssl.TLSVersion.MAXIMUM_SUPPORTED}
any_version = pytest.mark.parametrize("version", VERSIONS)


def context_of(version: str = "best", pair: Pair | None = None) -> ssl.SSLContext:
    context = client_context()
    context.maximum_version = VERSIONS[version]
    if pair:
        context.load_cert_chain(*pair)
    return context


# ---- the name asked for ----


def named(name: str, algorithm: str = "ec") -> Pair:
    return certificates().make(f"{name}-{algorithm}", names=f"DNS:{name}", algorithm=algorithm, subject=f"/CN={name}")


def served(proxy: Proxy, asked: str | None, ciphers: str = "") -> tuple[str, str]:
    """The names of the certificate that comes, and what its key is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates().ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose suites tell the key
    if ciphers:
        context.set_ciphers(ciphers)
    with context.wrap_socket(dial(proxy.address), server_hostname=asked) as tls:
        cipher = tls.cipher()
        names = tls.getpeercert()["subjectAltName"]  # type: ignore[index]
        assert cipher
        return ",".join(str(name[1]) for name in names), "rsa" if "-RSA-" in cipher[0] else "ec"


def test_67_certificate_by_name(rig: Rig) -> None:
    """The first is that of those who ask for none of them, or for nothing."""
    one, two, wild = named("one.test"), named("two.test"), named("*.wild.test")
    proxy = rig.proxy(rig.backend(), *one.flags("tls"), *two.flags("tls"), *wild.flags("tls"))
    for asked, name in (
        ("one.test", "one.test"),
        ("two.test", "two.test"),
        ("TWO.test", "two.test"),
        ("a.wild.test", "*.wild.test"),
        ("wild.test", "one.test"),
        ("a.b.wild.test", "one.test"),
        ("unknown.test", "one.test"),
        (None, "one.test"),
    ):
        assert served(proxy, asked)[0] == name, asked


def test_67_two_keys_for_one_name(rig: Rig) -> None:
    """ECDSA and RSA: the one that the client can."""
    pairs = [named("both.test", "ec"), named("both.test", "rsa"), named("other.test", "rsa")]
    proxy = rig.proxy(rig.backend(), *(flag for pair in pairs for flag in pair.flags("tls")))
    assert served(proxy, "both.test", "ECDHE+ECDSA+AESGCM") == ("both.test", "ec")
    assert served(proxy, "both.test", "ECDHE+aRSA+AESGCM") == ("both.test", "rsa")
    assert served(proxy, "both.test")[0] == "both.test"
    assert served(proxy, "other.test", "ECDHE+aRSA+AESGCM") == ("other.test", "rsa")


def test_67_data_with_each_certificate(rig: Rig) -> None:
    pairs = [named("one.test"), named("two.test", "rsa")]
    proxy = rig.proxy(rig.backend("tcp", echo), *(flag for pair in pairs for flag in pair.flags("tls")))
    for name in ("one.test", "two.test"):
        client = WsClient(TlsSocket(dial(proxy.address), client_context(), name=name), "extension")  # type: ignore[arg-type]
        rig.clients.append(client)
        client.handshake()
        client.send(payload(100_000, 170))
        client.fin()
        assert client.collect().digest == sha256(payload(100_000, 170))


# ---- clients with a certificate ----


def alice() -> Pair:
    return certificates().make(
        "alice", names="DNS:alice.test,URI:spiffe://test/alice,email:alice@test", subject="/O=example/CN=alice", usage="clientAuth"
    )


def bad_client(what: str) -> Pair:
    make = certificates().make
    return {
        "other authority": lambda: make("mallory", signer="other", subject="/CN=alice"),
        "self-signed": lambda: make("self-alice", signer="", subject="/CN=alice"),
        "expired": lambda: make("old-alice", days=(-20, -10), subject="/CN=alice"),
        "not yet valid": lambda: make("young-alice", days=(10, 20), subject="/CN=alice"),
        "for servers only": lambda: make("server-alice", usage="serverAuth", subject="/CN=alice"),
    }[what]()


BAD_CLIENTS = ["other authority", "self-signed", "expired", "not yet valid", "for servers only"]


def asking(rig: Rig, *flags: str) -> Proxy:
    return rig.proxy(rig.backend("tcp", echo), "--client-ca", certificates().ca, *flags)


def expect_refusal(rig: Rig, proxy: Proxy, context: ssl.SSLContext) -> str:
    """With TLS 1.3 the client's handshake is over before the server has seen its certificate. Says what the log says."""
    with pytest.raises(OSError):  # noqa: PT011: an alert, a reset, or an end
        client = rig.dial(proxy, context=context)
        client.raw(request())
        client.sock.recv(1)
        raise AssertionError("served")
    record = proxy.wait_refused()
    assert (record["cause"], record["at"]) == ("tls-failed", "client"), record
    assert not proxy.find("closed")
    assert "client_subject" not in record
    return str(record["detail"])


@any_version
@pytest.mark.parametrize("verify", ["require", "optional"])
def test_72_good_client_certificate(rig: Rig, verify: str, version: str) -> None:
    """Its subject and its names are in the log."""
    proxy = asking(rig, "--client-verify", verify)
    client = rig.dial(proxy, "extension", context=context_of(version, alice()))
    client.handshake()
    client.send(payload(MIB, 171))
    client.fin()
    assert client.collect().digest == sha256(payload(MIB, 171))
    record = proxy.wait_closed(client.name)
    assert record["client_subject"] == "CN=alice,O=example"
    assert record["client_names"] == "DNS:alice.test,URI:spiffe://test/alice,email:alice@test"


@any_version
@pytest.mark.parametrize("verify", ["require", "optional"])
def test_72_no_client_certificate(rig: Rig, verify: str, version: str) -> None:
    proxy = asking(rig, "--client-verify", verify)
    if verify == "require":
        assert "certificate" in expect_refusal(rig, proxy, context_of(version))
        return
    client = rig.dial(proxy, context=context_of(version))
    client.handshake()
    client.close_frame(1000)
    assert client.collect().close == 1000
    assert "client_subject" not in proxy.wait_closed(client.name)


@any_version
@pytest.mark.parametrize("what", BAD_CLIENTS)
@pytest.mark.parametrize("verify", ["require", "optional"])
def test_72_bad_client_certificate(rig: Rig, verify: str, what: str, version: str) -> None:
    """Also where none would do: one that proves nothing is no less wrong for it."""
    proxy = asking(rig, "--client-verify", verify)
    expect_refusal(rig, proxy, context_of(version, bad_client(what)))
    good = rig.dial(proxy, context=context_of(version, alice()))
    good.handshake()


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_72_tunnel_with_a_certificate(rig: Rig, kind: str, carrier: str) -> None:
    """End to end: tunnel to serve to a backend that asks for one, too; half-close both ways."""
    ours = certificates().make("gate", subject="/CN=gate", usage="clientAuth")
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates().ca)
    up, down = payload(MIB, 172), payload(2 * MIB, 173)
    backend = rig.backend(kind, answer_at_end(down), **({"context": context} if kind == "tls" else {}))
    flags = ("--client-ca", certificates().ca, *(ours.flags("backend") if kind == "tls" else ()))
    proxy = rig.proxy(backend, *flags)
    if carrier == "extension":
        tunnel = start_tunnel(rig, proxy.address, *alice().flags("client"))
        program = local(rig, tunnel)
        program.read_in_background()
        program.send(up)
        program.finish()
        assert program.wait_end() == "eof"
        assert program.digest == sha256(down)
    else:
        command = [default_binary(), "stdio", *rig.trust(), *alice().flags("client"), rig.url(proxy.address)]
        process = subprocess.run(command, input=up, capture_output=True, timeout=60, check=False)
        assert (process.returncode, process.stderr) == (0, b"")
        assert sha256(process.stdout) == sha256(down)
    connection = backend.accept()
    assert (connection.end, connection.digest) == ("eof", sha256(up))
    if kind == "tls":
        assert (("commonName", "gate"),) in connection.sock.tls.getpeercert()["subject"]  # type: ignore[attr-defined]
    assert proxy.wait_closed()["client_subject"] == "CN=alice,O=example"


@pytest.mark.parametrize("pair", ["none", *BAD_CLIENTS])
def test_72_tunnel_without_a_good_certificate(rig: Rig, pair: str) -> None:
    """The local program is reset, and probe does not say ok."""
    proxy = asking(rig)
    flags = [] if pair == "none" else bad_client(pair).flags("client")
    tunnel = start_tunnel(rig, proxy.address, *flags)
    assert local_end(rig, tunnel) == "reset"
    record = tunnel.wait_any("failed", "closed")
    assert record["at"] == "server" and record["cause"] in ("tls-failed", "lost", "reset"), record
    command = [default_binary(), "probe", "--linger", "1s", *rig.trust(), *flags, rig.url(proxy.address)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode in (74, 76, 77, 69) and process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert proxy.wait_refused()["cause"] == "tls-failed"


@pytest.mark.parametrize("what", ["none", "other authority"])
def test_72_backend_refuses_us(rig: Rig, what: str) -> None:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates().ca)
    backend = rig.backend("tls", answer_at_end(b"never"), context=context)
    proxy = rig.proxy(backend, *([] if what == "none" else bad_client(what).flags("backend")))
    page = rig.dial(proxy, "subprotocol")
    page.handshake()
    assert page.expect("close").number == 4008
    record = proxy.wait_closed(page.name)
    assert (record["cause"], record["at"]) == ("tls-failed", "backend"), record
    assert not backend.connections
