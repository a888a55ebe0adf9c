"""Checklist 77, 79: what is asked before a backend is touched, in which order, and every way to say it."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from certificates import certificates
from config import run, serve, write
from proxy import Program
from rig import Rig
from support import default_binary, dial
from tls import TlsSocket
from wsclient import CARRIERS, SUBPROTOCOL_NAME, WsClient, request

TOKEN = "V1StGXR8_Z5jdHi6B-myT"
ENTRY = "base64url.bearer.authorization.tidegate."


def ask(rig: Rig, proxy: Program, carrier: str = "plain", *, path: str = "/", **fields: str | None) -> WsClient:
    client = rig.dial(proxy.address, carrier)
    client.sock.sendall(request(carrier, target=path, change={"Host": "gate.test", **fields}))
    client.read_response()
    return client


def tokens_of(rig: Rig) -> str:
    path = rig.directory / "tokens"
    path.write_text(f"# one\n\nalice {hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    return str(path)


def entry(token: str) -> str:
    return ENTRY + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


# ---- order ----


def test_the_first_no_is_told(rig: Rig) -> None:
    """A request for which everything is wrong; then one thing after the other is right."""
    backend = rig.backend()
    common = {"allow-origin": "https://app.test", "tokens": tokens_of(rig), "plain": "refuse"}
    far = {"name": "far", "path": "/far/*", "allow-from": "10.0.0.0/8", "target": "h:1", **common}
    near = {"name": "near", "path": "/near/*", "allow-from": "127.0.0.0/8", "target": "h:1", **common}
    proxy = serve(rig, {"routes": [far, near]})
    good: dict[str, str | None] = {}
    steps: list[tuple[str, str, dict[str, str], int, str]] = [
        ("plain", "/", {}, 404, "no route for this host and path"),
        ("plain", "/far/tcp/x/1", {}, 403, "not from this address"),
        ("plain", "/near/tcp/x/1", {}, 403, "not from a page of this origin"),
        ("plain", "/near/tcp/x/1", {"Origin": "https://app.test"}, 401, "not a token that is known"),
        ("plain", "/near/tcp/x/1", {"Authorization": f"Bearer {TOKEN}"}, 426, "half-close is needed"),
        ("extension", "/near/tcp/x/1", {}, 403, "not to this target"),
    ]
    for carrier, path, right, status, says in steps:
        good.update(right)
        fields = {"Origin": "https://evil.test", "Authorization": "Bearer wrong", **good}
        client = ask(rig, proxy, carrier, path=path, **fields)
        assert client.response and client.response.status == status
        assert client.read_rest().decode().startswith(says)
        record = proxy.wait_refused(client.name)
        assert (record["cause"], record["at"], record["status"]) == ("denied", "client", status)
        assert record["detail"].startswith(says)
    backend.expect_none()


# ---- Origin ----


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    ("origin", "default", "listed"),
    [
        (None, 101, 101),
        ("https://gate.test", 101, 403),
        ("http://gate.test:80", 101, 403),
        ("https://app.test", 403, 101),
        ("https://APP.test:443", 403, 101),
        ("http://app.test", 403, 403),
        ("https://app.test:8443", 403, 403),
        ("https://sub.app.test", 403, 403),
        ("https://app.test.evil.test", 403, 403),
        ("https://evilapp.test", 403, 403),
        ("https://app.test.", 403, 403),
        ("https://gate.test.evil.test", 403, 403),
        ("null", 403, 403),
        ("", 403, 403),
        ("https://app.test, https://app.test", 403, 403),
    ],
)
def test_77_origin(rig: Rig, carrier: str, origin: str | None, default: int, listed: int) -> None:
    backend = rig.backend()
    routes = [{"name": "default", "path": "/default"}, {"name": "listed", "path": "/listed", "allow-origin": "https://app.test"}]
    proxy = serve(rig, {"backend": backend.address, "routes": routes})
    for path, status in (("/default", default), ("/listed", listed)):
        client = ask(rig, proxy, carrier, path=path, Origin=origin)
        assert client.response and client.response.status == status
        if status == 101:
            backend.accept()
            client.reset()
        else:
            client.read_rest()
    backend.expect_none(0.05)


# ---- every way to say it ----


def start_with(rig: Rig, how: str, key: str, value: str, settings: dict[str, Any]) -> Program:
    flags = [part for name, each in settings.items() for part in (f"--{name}", each)]
    variable = "TIDEGATE_" + key.upper().replace("-", "_")
    if how == "file":
        return serve(rig, {**settings, key: value})
    if how == "flag":
        program = Program([default_binary(), "serve", *flags, "--linger", "2s", f"--{key}", value])
    elif how == "environment":
        # Program takes TIDEGATE_* out of the environment: put it back.
        command = ["/usr/bin/env", f"{variable}={value}", default_binary(), "serve", *flags, "--linger", "2s"]
        program = Program(command)
    else:
        path = write(rig, {"linger": "2s", **settings, key: value})
        program = Program(["/usr/bin/env", f"TIDEGATE_CONFIG={path}", default_binary(), "serve"])
    rig.proxies.append(program)  # type: ignore[arg-type]
    return program


WAYS = ("flag", "environment", "file", "file by environment")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("key", ["tokens", "allow-from", "allow-origin", "plain"])
def test_79_every_way_enforces(rig: Rig, how: str, key: str) -> None:
    backend = rig.backend()
    value, status = {
        "tokens": (tokens_of(rig), 401),
        "allow-from": ("10.0.0.0/8", 403),
        "allow-origin": ("https://app.test", 403),
        "plain": ("refuse", 426),
    }[key]
    proxy = start_with(rig, how, key, value, {"backend": backend.address})
    client = ask(rig, proxy, Origin="https://other.test" if key == "allow-origin" else None)
    assert client.response and client.response.status == status
    client.read_rest()
    backend.expect_none()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "alice\n", f"alice {TOKEN}\n"])
def test_79_a_file_of_no_tokens_is_refused(rig: Rig, text: str) -> None:
    path = rig.directory / "tokens"
    path.write_text(text)
    result = run("serve", "--listen", ":0", "--backend", ":9", "--tokens", str(path))
    assert (result.returncode, str(path) in result.stderr, TOKEN in result.stderr) == (78, True, False)


def test_79_what_a_client_can_bring(rig: Rig) -> None:
    backend = rig.backend()
    proxy = serve(rig, {"backend": backend.address, "tokens": tokens_of(rig)})
    good: list[dict[str, str]] = [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer  {TOKEN}"},
        {"Sec-WebSocket-Protocol": f"{SUBPROTOCOL_NAME}, {entry(TOKEN)}"},
    ]
    for fields in good:
        carrier = "subprotocol" if "Sec-WebSocket-Protocol" in fields else "plain"
        client = ask(rig, proxy, carrier, **fields)
        assert client.response and client.response.status == 101, fields
        assert TOKEN not in client.response.raw.decode() and ENTRY not in client.response.raw.decode()
        backend.accept()
        client.reset()
        assert proxy.wait_closed(client.name)["token"] == "alice"
    bad: list[tuple[int, str, dict[str, str]]] = [
        (401, "/", {}),
        (401, f"/?token={TOKEN}&access_token={TOKEN}", {}),
        (401, "/", {"Cookie": f"token={TOKEN}"}),
        (401, "/", {"Authorization": f"Bearer {TOKEN[:-1]}"}),
        (401, "/", {"Authorization": f"Bearer {TOKEN}x"}),
        (401, "/", {"Sec-WebSocket-Protocol": entry("wrong")}),
        (400, "/", {"Authorization": f"Bearer {TOKEN}", "Sec-WebSocket-Protocol": entry("wrong")}),
    ]
    for status, path, fields in bad:
        client = ask(rig, proxy, path=path, **fields)
        assert client.response and client.response.status == status, fields
        assert (client.response.get("WWW-Authenticate") == "Bearer") == (status == 401)
        client.read_rest()
    backend.expect_none()
    log = "\n".join(proxy.lines)
    assert TOKEN not in log and entry(TOKEN) not in log and TOKEN[:-1] not in log


def test_79_a_token_that_was_just_made(rig: Rig) -> None:
    path = rig.directory / "tokens"
    made = run("token", "bob", "--append", str(path))
    assert made.returncode == 0
    proxy = serve(rig, {"backend": rig.backend().address, "tokens": str(path)})
    client = ask(rig, proxy, Authorization=f"Bearer {made.stdout.strip()}")
    assert client.response and client.response.status == 101


def test_79_names_of_client_certificates(rig: Rig) -> None:
    """By route: one port, several who may."""
    c = certificates()
    backend = rig.backend()
    routes = [
        {"name": "ann", "path": "/ann", "allow-client-name": ["DNS:ann.test"]},
        {"name": "both", "path": "/both", "allow-client-name": ["DNS:ann.test", "URI:spiffe://x/ben"]},
        {"name": "all", "path": "/all"},
    ]
    proxy = serve(
        rig,
        {
            "backend": backend.address,
            "tls-cert": c.cert,
            "tls-key": c.key,
            "client-ca": c.ca,
            "client-verify": "optional",
            "routes": routes,
        },
    )
    ann = c.make("gate-ann", names="DNS:ann.test", usage="clientAuth")
    ben = c.make("gate-ben", names="URI:spiffe://x/ben", usage="clientAuth")
    cases = [
        (ann, "/ann", 101),
        (ann, "/both", 101),
        (ben, "/ann", 403),
        (ben, "/both", 101),
        (None, "/ann", 403),
        (None, "/both", 403),
        (None, "/all", 101),
    ]
    for pair, path, status in cases:
        context = ssl.create_default_context(cafile=c.ca)
        if pair is not None:
            context.load_cert_chain(*pair)
        client = WsClient(TlsSocket(dial(proxy.address), context))  # type: ignore[arg-type]
        rig.clients.append(client)
        client.sock.sendall(request(target=path))
        assert client.read_response().status == status, (pair, path)
        if status == 101:
            backend.accept()
    backend.expect_none()


def test_79_tokens_on_a_unix_socket_too(rig: Rig) -> None:
    """It has no address, so that no network has it."""
    backend = rig.backend()
    where = f"unix:{rig.directory}/gate"
    proxy = serve(rig, {"backend": backend.address, "listen": [where], "allow-from": ["0.0.0.0/0", "::/0"]})
    client = ask(rig, proxy)
    assert client.response and client.response.status == 403
    client.read_rest()
    backend.expect_none()
    assert Path(os.fspath(rig.directory / "gate")).exists()
