"""PROXY protocol headers in and out, and the fields of fronts: who the client is, and who may say so."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from typing import Any

import pytest
from backend import BackendConnection, echo
from certificates import certificates
from config import serve
from proxy import Proxy
from proxy_protocol import (
    AUTHORITY,
    CLIENT_NAME,
    FRONT,
    SIGNATURE,
    SSL,
    SSL_CN,
    SSL_VERSION,
    UNIQUE_ID,
    UNKNOWN,
    Behind,
    Header,
    local,
    read_header,
    tlv,
    v1,
    v2,
)
from rig import Rig, one_worker, over_both, over_wss
from support import MIB, dial, payload, sha256
from tls import TlsBackend, client_context
from wsclient import WsClient, request

LISTEN = ("proxy+127.0.0.1:0",)
CLIENT_6 = ("2001:db8::7", 4711)

pytestmark = over_both


def come(
    rig: Rig, proxy: Proxy, header: bytes, carrier: str = "extension", is_slow: bool = False, **fields: str
) -> WsClient:
    """Has sent its request, on TLS if that is wanted, behind `header`."""
    sock = rig.secure(Behind(dial(proxy.address), header, is_slow))
    client = WsClient(sock, carrier)
    rig.clients.append(client)
    client.sock.sendall(request(carrier, change={"Host": "gate.test:8443", **fields}))
    return client


def opened(rig: Rig, proxy: Proxy, header: bytes, **options: Any) -> WsClient:
    client = come(rig, proxy, header, **options)
    assert client.read_response().status == 101
    return client


def exchange(client: WsClient, connection: BackendConnection) -> None:
    """Both ways, each ended by itself."""
    up, down = payload(MIB, 1), payload(MIB, 2)
    client.send(up)
    client.fin()
    assert connection.read_to_end() == "eof"
    assert connection.digest == sha256(up)
    connection.send_in_background(down, connection.finish)
    got = client.collect()
    assert (got.order[:3], got.digest, got.close) == (["data", "fin", "close"], sha256(down), 1000)


# ---- in ----


@pytest.mark.parametrize("is_slow", [False, True], ids=["one-segment", "byte-by-byte"])
@pytest.mark.parametrize(
    ("header", "name"),
    [
        (v1(), CLIENT_NAME),
        (v2(), CLIENT_NAME),
        (v1(CLIENT_6, ("2001:db8::1", 443)), "[2001:db8::7]:4711"),
        (v2(CLIENT_6, ("2001:db8::1", 443), tlv(0xEA, b"anything")), "[2001:db8::7]:4711"),
    ],
    ids=["v1", "v2", "v1-6", "v2-6"],
)
def test_the_header_says_who_it_is(rig: Rig, header: bytes, name: str, is_slow: bool) -> None:
    """Together with the request or the ClientHello, or all of it byte by byte: nothing is lost behind it."""
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    client = opened(rig, proxy, header, is_slow=is_slow)
    exchange(client, backend.accept())
    record = proxy.wait_closed(name)
    assert (record["peer"], record["cause"]) == (client.name, "ok")


def test_the_header_alone(rig: Rig) -> None:
    """And the rest later."""
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    sock = dial(proxy.address)
    sock.sendall(v2())
    client = WsClient(rig.secure(sock), "extension")
    rig.clients.append(client)
    client.handshake()
    exchange(client, backend.accept())
    assert proxy.wait_closed()["client"] == CLIENT_NAME


def test_frames_behind_the_request(rig: Rig) -> None:
    """Header, request and frames in one segment (in that of the request, with TLS)."""
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    sock = rig.secure(Behind(dial(proxy.address), v1()))
    client = WsClient(sock, "extension")
    rig.clients.append(client)
    sock.sendall(request("extension") + b"\x82\x85\0\0\0\0hello\x8b\x85\0\0\0\0FIN 5")
    assert client.read_response().status == 101
    connection = backend.accept()
    assert (connection.read_to_end(), connection.count) == ("eof", 5)
    connection.finish()
    assert client.collect().close == 1000


MALFORMED = {
    "no header": (request("plain"), None),
    "ClientHello": (bytes.fromhex("16030100f8010000f40303") + bytes(240), None),
    "v1 too long": (b"PROXY TCP4 " + b"1" * 120, None),
    "v1 without CR": (b"PROXY UNKNOWN\n", None),
    "v1 leading zero": (b"PROXY TCP4 203.0.113.07 10.0.0.1 1 2\r\n", None),
    "v1 port": (b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 2\r\n", None),
    "v1 family": (b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n", None),
    "v2 version": (SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), None),
    "v2 command": (SIGNATURE + b"\x22\x11\0\x0c" + bytes(12), None),
    "v2 too short": (SIGNATURE + b"\x21\x11\0\x04" + bytes(4), None),
    "v2 too long": (SIGNATURE + b"\x21\x11\xff\xff" + bytes(12), None),
    "v2 tlv": (v2(tlvs=b"\x02\xff\xffx"), None),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_no_header(rig: Rig, kind: str) -> None:
    """Reset, without a word: it is not known what would be heard."""
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    client = rig.dial_bare(proxy)
    client.sock.sendall(MALFORMED[kind][0])
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    record = proxy.wait_refused(client.name)
    assert (record["cause"], record["at"], "status" in record) == ("bad-handshake", "client", False)
    assert "PROXY" in record["detail"] or "header" in record["detail"], record["detail"]
    backend.expect_none(0)


def test_only_from_trusted_peers(rig: Rig) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--trusted-proxies", "10.0.0.0/8", "--trusted-proxies", "127.0.0.2", listen=LISTEN)
    client = rig.dial_bare(proxy)
    client.sock.sendall(v1())
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    record = proxy.wait_refused(client.name)
    assert (record["cause"], record["detail"]) == ("denied", "PROXY protocol header from a peer that is no trusted proxy")
    with socket.socket() as sock:
        sock.settimeout(20)
        sock.bind(("127.0.0.2", 0))
        sock.connect(("127.0.0.1", int(proxy.address.rsplit(":", 1)[1])))
        good = WsClient(rig.secure(Behind(sock, v1())), "extension")
        rig.clients.append(good)
        good.handshake()
        good.fin()
        assert good.collect().close == 1000
    assert proxy.wait_closed()["client"] == CLIENT_NAME


def test_silence_before_the_header(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend(), "--handshake-timeout", "200ms", listen=LISTEN)
    for start in (b"", b"PROXY TCP4 ", SIGNATURE):
        client = rig.dial_bare(proxy)
        client.sock.sendall(start)
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)
        record = proxy.wait_refused(client.name)
        assert record["cause"] == "handshake-timeout"
        assert record["detail"] == "the PROXY protocol header did not come in time"


@one_worker
def test_they_are_handshakes_under_way(rig: Rig) -> None:
    """The oldest makes room."""
    proxy = rig.proxy(rig.backend("tcp", echo), "--max-handshakes", "2", listen=LISTEN)
    first, second = rig.dial_bare(proxy), rig.dial_bare(proxy)
    opened(rig, proxy, v1())
    with pytest.raises(ConnectionResetError):
        first.sock.recv(1)
    assert proxy.wait_refused(first.name)["cause"] == "limit"
    assert not proxy.find("refused", lambda r: r["client"] == second.name)


def test_an_end_before_the_header(rig: Rig) -> None:
    """As health checks do that only connect."""
    proxy = rig.proxy(rig.backend(), listen=LISTEN)
    client = rig.dial_bare(proxy)
    client.shutdown()
    assert proxy.wait_refused(client.name)["cause"] == "closed"


@one_worker
def test_going_away_before_the_header(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend(), "--max-handshakes", "5", listen=LISTEN)
    client = rig.dial_bare(proxy)
    client.sock.sendall(b"PROXY")
    opened(rig, proxy, v1())  # so the other one has been accepted, too
    proxy.signal()
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)
    assert proxy.wait_refused(client.name)["cause"] == "shutdown"


def test_a_front_that_speaks_for_itself(rig: Rig) -> None:
    """LOCAL is the front; UNKNOWN is anybody: no rule lets that one in."""
    proxy = rig.proxy(rig.backend("tcp", echo), "--allow-from", "127.0.0.0/8", listen=LISTEN)
    client = come(rig, proxy, local())
    assert client.read_response().status == 101
    client.fin()
    client.collect()
    record = proxy.wait_closed(client.name)
    assert "peer" not in record and "client_doubt" not in record
    for header in (UNKNOWN, v2(None)):
        client = come(rig, proxy, header)
        assert client.read_response().status == 403
        record = proxy.wait_refused(client.name)
        assert record["client_doubt"] == "its front does not say who it is"


def test_rules_go_by_it(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend("tcp", echo), "--allow-from", "203.0.113.0/24", listen=LISTEN)
    for source, status in ((("203.0.113.9", 1), 101), (("203.0.114.9", 1), 403), (("127.0.0.1", 1), 403)):
        for header in (v1(source), v2(source)):
            client = come(rig, proxy, header)
            assert client.read_response().status == status
            client.drop()
            proxy.wait(("closed", "refused"), lambda r, s=source: r["client"] == f"{s[0]}:{s[1]}")  # type: ignore[misc]


def test_on_a_unix_socket(rig: Rig) -> None:
    """Who may open its file is trusted, whatever the list says."""
    backend = rig.backend("tcp", echo)
    path = rig.directory / "front.sock"
    proxy = rig.proxy(backend, "--trusted-proxies", "10.0.0.0/8", listen=(f"proxy+unix:{path}",))
    client = opened(rig, proxy, v2())
    client.fin()
    assert client.collect().close == 1000
    record = proxy.wait_closed(CLIENT_NAME)
    assert record["peer"] == "unix"


@pytest.mark.parametrize("who", ["client", "backend"])
def test_a_break_goes_through(rig: Rig, who: str) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, listen=LISTEN)
    client = opened(rig, proxy, v2())
    connection = backend.accept()
    client.send(b"up")
    assert connection.sock.recv(2, socket.MSG_WAITALL) == b"up"
    if who == "client":
        client.reset()
        assert connection.read_to_end() == "reset"
    else:
        connection.reset()
        assert client.read_until("close").number == 4000
    record = proxy.wait_closed(CLIENT_NAME)
    assert (record["cause"], record["at"]) == ("reset", who)


def test_told_at_the_start(rig: Rig) -> None:
    """Beyond this machine, without a list."""
    flags = ("--allow-anyone", "--tls-cert") if rig.is_secure else ("--allow-anyone",)
    if rig.is_secure:
        flags = (*certificates().serve_flags(), "--allow-anyone")
    for more, is_told in (((), True), (("--trusted-proxies", "10.0.0.1"), False)):
        proxy = Proxy("127.0.0.1:1", *flags, *more, listen=("proxy+0.0.0.0:0",))
        rig.proxies.append(proxy)
        assert any("--trusted-proxies" in line for line in proxy.lines) == is_told
    assert not any("--trusted-proxies" in line for line in rig.proxy("127.0.0.1:1", listen=LISTEN).lines)


# ---- the fields of fronts ----

XFF, FWD = "X-Forwarded-For", "Forwarded"
TRUSTED = ("--trusted-proxies", "127.0.0.0/8,10.0.0.0/8")

FIELDS: dict[str, tuple[dict[str, str], str | None, bool]] = {
    # fields, who the log says it is (None: the peer), whether that is for sure
    "none": ({}, None, True),
    "xff": ({XFF: "203.0.113.7"}, "203.0.113.7", True),
    "xff with port": ({XFF: CLIENT_NAME}, CLIENT_NAME, True),
    "forged on the left": ({XFF: "203.0.113.7, 192.0.2.1"}, "192.0.2.1", True),
    "through another proxy": ({XFF: "198.51.100.9, 203.0.113.7, 10.0.0.1"}, "203.0.113.7", True),
    "forwarded": ({FWD: 'for="[2001:db8::7]:4711";proto=https'}, "[2001:db8::7]:4711", True),
    "forwarded, forged": ({FWD: "for=203.0.113.7, for=192.0.2.1"}, "192.0.2.1", True),
    "both agree": ({XFF: "203.0.113.7", FWD: "for=203.0.113.7"}, "203.0.113.7", True),
    "both disagree": ({XFF: "203.0.113.7", FWD: "for=192.0.2.1"}, None, False),
    "garbage": ({XFF: "localhost"}, None, False),
    "garbage on the right": ({XFF: "203.0.113.7, x"}, None, False),
    "hidden": ({FWD: "for=_hidden"}, None, False),
    "empty": ({XFF: ""}, None, False),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_fields_of_a_trusted_front(rig: Rig, kind: str) -> None:
    """In doubt no rule lets it in, although the front itself is on the list."""
    fields, name, is_sure = FIELDS[kind]
    everybody = ("--allow-from", "0.0.0.0/0,::/0")
    proxy = rig.proxy(rig.backend("tcp", echo), *TRUSTED, *everybody)
    client = rig.dial(proxy, "extension")
    client.sock.sendall(request("extension", change=fields))  # type: ignore[arg-type]
    assert client.read_response().status == (101 if is_sure else 403)
    client.drop()
    record = proxy.wait(("closed", "refused"), lambda r: r["client"] == (name or client.name))
    assert record.get("peer") == (client.name if name else None)
    assert ("client_doubt" in record) == (not is_sure)


@pytest.mark.parametrize("flags", [(), ("--trusted-proxies", "10.0.0.0/8")], ids=["no list", "not listed"])
@pytest.mark.parametrize("kind", [kind for kind, case in FIELDS.items() if case[0]])
def test_fields_of_a_stranger(rig: Rig, flags: tuple[str, ...], kind: str) -> None:
    """Are nobody's business."""
    proxy = rig.proxy(rig.backend("tcp", echo), *flags, "--allow-from", "127.0.0.0/8")
    client = rig.dial(proxy, "extension")
    client.sock.sendall(request("extension", change=FIELDS[kind][0]))  # type: ignore[arg-type]
    assert client.read_response().status == 101
    client.drop()
    record = proxy.wait_closed(client.name)
    assert "peer" not in record and "client_doubt" not in record


def test_fields_behind_a_header(rig: Rig) -> None:
    """Believed if the header names a proxy that is trusted, too."""
    proxy = rig.proxy(rig.backend("tcp", echo), *TRUSTED, listen=LISTEN)
    for source, name in ((("10.9.9.9", 1), "192.0.2.1"), (("203.0.113.7", 1), "203.0.113.7:1")):
        client = come(rig, proxy, v2(source), **{XFF: "192.0.2.1"})
        assert client.read_response().status == 101
        client.drop()
        assert proxy.wait_closed(name)["peer"] == client.name
    client = come(rig, proxy, UNKNOWN, **{XFF: "192.0.2.1"})
    assert client.read_response().status == 101
    client.drop()
    assert "client_doubt" in proxy.wait_closed(client.name)


@pytest.mark.parametrize("by", ["header", "fields"])
def test_limits_count_the_client(rig: Rig, by: str) -> None:
    """Not its front, which has as many as there are clients."""
    limit = ("--max-connections-per-client", "1")
    proxy = rig.proxy(rig.backend("tcp", echo), *limit, *TRUSTED, listen=LISTEN if by == "header" else ("127.0.0.1:0",))

    def ask(client: str) -> WsClient:
        if by == "header":
            return come(rig, proxy, v2((client, 1)))
        return come(rig, proxy, b"", **{XFF: client})

    first = ask("203.0.113.1")
    assert first.read_response().status == 101
    assert ask("203.0.113.2").read_response().status == 101
    assert ask("203.0.113.1").read_response().status == 503
    refused = proxy.wait("refused")
    assert (refused["cause"], refused["client"].split(":")[0]) == ("limit", "203.0.113.1")
    first.fin()
    first.collect()
    proxy.wait_closed()
    assert ask("203.0.113.1").read_response().status == 101


# ---- out ----


def told(connection: BackendConnection) -> Header:
    return read_header(connection.sock)


def send_proxy(rig: Rig, version: str, *flags: str, **options: Any) -> Proxy:
    return rig.proxy(rig.backend(), "--send-proxy", version, *flags, **options)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_backend_is_told(rig: Rig, version: str) -> None:
    proxy = send_proxy(rig, version)
    client, connection = rig.pair(proxy, rig.backends[0])
    header = told(connection)
    host, port = client.name.rsplit(":", 1)
    assert (header.version, header.source) == (int(version[1]), (host, int(port)))
    assert header.to == ("127.0.0.1", int(proxy.address.rsplit(":", 1)[1]))
    assert set(header.tlvs) == ({AUTHORITY, UNIQUE_ID, *([SSL] if rig.is_secure else [])} if version == "v2" else set())
    exchange(client, connection)
    record = proxy.wait_closed(client.name)
    assert record["bytes_to_backend"] == MIB
    if version == "v1":
        assert "unique_id" not in record
        return
    assert header.tlvs[AUTHORITY] == b"proxy.test"
    assert header.tlvs[UNIQUE_ID].decode() == record["unique_id"]
    assert re.fullmatch("[0-9a-f]{32}", record["unique_id"])
    if rig.is_secure:
        flags, verify, inside = header.tls()
        assert (flags, verify) == (1, 1)
        assert inside[SSL_VERSION].startswith(b"TLSv1.") and set(inside) == {SSL_VERSION}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_a_front_has_told_is_passed_on(rig: Rig, version: str) -> None:
    proxy = send_proxy(rig, version, listen=LISTEN)
    tls = tlv(SSL, struct.pack(">BI", 7, 0) + tlv(SSL_VERSION, b"TLSv1.3") + tlv(SSL_CN, b"alice"))
    opened(rig, proxy, v2(tlvs=tlv(UNIQUE_ID, b"front-17") + tlv(AUTHORITY, b"front.test") + tls)).drop()
    header = told(rig.backends[0].accept())
    assert (header.source, header.to) == (("203.0.113.7", 4711), FRONT)
    record = proxy.wait_closed(CLIENT_NAME)
    assert record["unique_id"] == "front-17"
    if version == "v1":
        return
    assert (header.tlvs[UNIQUE_ID], header.tlvs[AUTHORITY]) == (b"front-17", b"gate.test")
    flags, verify, inside = header.tls()
    if rig.is_secure:  # ours is nearer
        assert (flags, verify, SSL_CN in inside) == (1, 1, False)
    else:
        assert (flags, verify, inside) == (7, 0, {SSL_VERSION: b"TLSv1.3", SSL_CN: b"alice"})


def test_an_id_that_is_no_text_is_replaced(rig: Rig) -> None:
    proxy = send_proxy(rig, "v2", listen=LISTEN)
    opened(rig, proxy, v2(tlvs=tlv(UNIQUE_ID, b"a\0b\n"))).drop()
    given = told(rig.backends[0].accept()).tlvs[UNIQUE_ID].decode()
    assert re.fullmatch("[0-9a-f]{32}", given)
    assert proxy.wait_closed()["unique_id"] == given


def test_of_fields_too(rig: Rig) -> None:
    """A port is not known then."""
    proxy = send_proxy(rig, "v2", *TRUSTED)
    client = rig.dial(proxy, "extension")
    client.sock.sendall(request("extension", change={XFF: "2001:db8::7"}))
    assert client.read_response().status == 101
    header = told(rig.backends[0].accept())
    assert header.source == ("2001:db8::7", 0)
    assert header.to and ipaddress.ip_address(header.to[0]) == ipaddress.ip_address("::ffff:127.0.0.1")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nothing_known(rig: Rig, version: str) -> None:
    """A client on a unix socket."""
    proxy = send_proxy(rig, version, listen=(f"unix:{rig.directory / 'in.sock'}",))
    client, connection = rig.pair(proxy, rig.backends[0])
    header = told(connection)
    assert (header.version, header.source) == (int(version[1]), None)
    exchange(client, connection)


@over_wss
def test_the_name_in_a_client_certificate(rig: Rig) -> None:
    """Told to the backend; but what a front tells of one opens no door here."""
    pair = certificates().make("alice", names="DNS:alice", usage="clientAuth", subject="/O=x/CN=alice")
    ca = ("--client-ca", certificates().ca)
    proxy = send_proxy(rig, "v2", *ca)
    context = client_context()
    context.load_cert_chain(*pair)
    client, connection = rig.pair(proxy, rig.backends[0], context=context)
    flags, verify, inside = told(connection).tls()
    assert (flags & 1, flags & 6 != 0, verify, inside[SSL_CN]) == (1, True, 0, b"alice")
    client.drop()
    named = rig.proxy(
        rig.backends[0], *ca, "--client-verify", "optional", "--allow-client-name", "DNS:alice", listen=LISTEN
    )
    front = tlv(SSL, struct.pack(">BI", 7, 0) + tlv(SSL_CN, b"alice"))
    assert come(rig, named, v2(tlvs=front)).read_response().status == 403


class HeaderTlsBackend(TlsBackend):
    """Reads a header ahead of TLS."""

    def _secure(self, sock: socket.socket) -> None:
        self.header = read_header(sock)
        super()._secure(sock)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_ahead_of_tls_to_the_backend(rig: Rig, version: str) -> None:
    folder = rig.directory / "tls"
    folder.mkdir()
    backend = HeaderTlsBackend(folder)
    rig.backends.append(backend)
    proxy = rig.proxy(backend, "--send-proxy", version)
    client, connection = rig.pair(proxy, backend)
    assert backend.header.source and backend.header.source[1] == int(client.name.rsplit(":", 1)[1])
    exchange(client, connection)


def test_the_next_backend_is_told_anew(rig: Rig) -> None:
    """The first takes connections, and resets them in its handshake."""
    got: list[Header] = []

    def give_up(connection: BackendConnection) -> None:
        got.append(read_header(connection.sock))
        connection.reset()

    first = rig.backend("tcp", give_up)
    folder = rig.directory / "tls"
    folder.mkdir()
    second = HeaderTlsBackend(folder)
    rig.backends.append(second)
    proxy = rig.proxy(f"tls://{first.address}", "--backend", second.address, "--backend-ca", certificates().ca,
                      "--backend-server-name", "localhost", "--send-proxy", "v2")  # fmt: skip
    client, connection = rig.pair(proxy, second)
    exchange(client, connection)
    assert len(got) == 1 and got[0] == second.header


def test_by_route(rig: Rig) -> None:
    backend = rig.backend()
    flags: dict[str, Any] = {"tls-cert": certificates().cert, "tls-key": certificates().key} if rig.is_secure else {}
    routes = [{"name": kind, "path": f"/{kind}", "send-proxy": kind} for kind in ("none", "v1", "v2")]
    proxy = serve(rig, {"backend": backend.address, "routes": routes, **flags})
    for kind in ("none", "v1", "v2"):
        client = rig.dial(proxy.address, "extension")
        client.sock.sendall(request("extension", target=f"/{kind}"))
        assert client.read_response().status == 101
        client.send(b"ENDOFHEADER.")
        connection = backend.accept()
        if kind == "none":
            assert connection.sock.recv(12, socket.MSG_WAITALL) == b"ENDOFHEADER."
            continue
        assert told(connection).version == int(kind[1])
        assert connection.sock.recv(12, socket.MSG_WAITALL) == b"ENDOFHEADER."
