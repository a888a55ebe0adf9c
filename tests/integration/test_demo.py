"""`tidegate demo`: its show, the pages that it has for browsers, and its backend for visitors."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo import Demo
from support import default_binary, dial, sha256
from wsclient import Response, WsClient, request

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "proxy" / "demo" / "page"
FILES = {
    "/": PAGE / "demo.html",
    "/terminal": PAGE / "terminal.html",
    "/style.css": PAGE / "style.css",
    "/demo.js": PAGE / "demo.js",
    "/exchange.js": PAGE / "exchange.js",
    "/drawing.js": PAGE / "drawing.js",
    "/terminal.js": PAGE / "terminal.js",
    "/icon.svg": PAGE / "icon.svg",
    "/tidegate.js": ROOT / "client" / "tidegate.js",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    d = Demo()
    try:
        yield d
        d.finish()
    finally:
        d.kill()


def ask(demo: Demo, raw: bytes) -> tuple[Response, bytes]:
    client = WsClient(dial(demo.address))
    try:
        client.raw(raw)
        return client.read_response(), client.read_rest()
    finally:
        client.drop()


def get(demo: Demo, path: str, method: str = "GET", fields: str = "") -> tuple[Response, bytes]:
    return ask(demo, f"{method} {path} HTTP/1.1\r\nHost: {demo.address}\r\n{fields}\r\n".encode())


def converse(demo: Demo, data: bytes) -> tuple[WsClient, bytes]:
    """Sends it, ends, and takes the answer."""
    client = WsClient(dial(demo.address), "subprotocol")
    answer = b""
    try:
        client.handshake()
        client.send(data)
        client.fin()
        while (event := client.event()).kind not in ("eof", "reset"):
            answer += event.data if event.kind == "data" else b""
    finally:
        client.drop()
    return client, answer


def tally(data: bytes, lines: int) -> bytes:
    return f"{lines} lines, {len(data)} bytes, sha256 {sha256(data)}\n".encode()


# ---- the show ----


def test_once() -> None:
    done = subprocess.run([default_binary(), "demo", "--once"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with half-close:     91 of 91 bytes of the answer arrived, count and hash are right" in done.stdout
    assert "without half-close:  0 of 91 bytes of the answer arrived, the rest is lost" in done.stdout
    assert done.stderr == ""


# ---- pages ----


@pytest.mark.parametrize("path", FILES)
def test_page(demo: Demo, path: str) -> None:
    response, body = get(demo, path)
    assert response.status == 200
    assert body == FILES[path].read_bytes()
    assert response.get("Content-Length") == str(len(body))
    assert (response.get("Content-Type") or "").split(";")[0] == TYPES[FILES[path].suffix]
    policy = response.get("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "*" not in policy
    assert response.get("X-Content-Type-Options") == "nosniff"


def test_every_file_is_embedded() -> None:
    assert set(PAGE.iterdir()) | {ROOT / "client" / "tidegate.js"} == set(FILES.values())


def test_nothing_from_elsewhere() -> None:
    for file in FILES.values():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"""https?://|["'(]//|@import""", text), file


def test_head_of_a_page(demo: Demo) -> None:
    response, body = get(demo, "/", "HEAD")
    assert response.status == 200 and body == b""
    assert response.get("Content-Length") == str(FILES["/"].stat().st_size)


def test_query_is_not_looked_at(demo: Demo) -> None:
    assert get(demo, "/?token=1")[1] == FILES["/"].read_bytes()


@pytest.mark.parametrize(
    ("path", "method", "fields", "status"),
    [
        ("/nothing", "GET", "", 426),
        ("/demo.jsx", "GET", "", 426),
        ("/../style.css", "GET", "", 426),
        ("/", "POST", "", 405),
        ("/", "GET", "Content-Length: 1\r\n", 400),
        ("/", "GET", "Transfer-Encoding: chunked\r\n", 400),
        ("/", "GET", "Upgrade: h2c\r\n", 426),
    ],
)
def test_no_page(demo: Demo, path: str, method: str, fields: str, status: int) -> None:
    response, body = get(demo, path, method, fields)
    assert response.status == status
    assert b"<" not in body


def test_page_byte_by_byte(demo: Demo) -> None:
    client = WsClient(dial(demo.address))
    try:
        for byte in b"GET /icon.svg HTTP/1.1\r\nHost: x\r\n\r\n":
            client.raw(bytes([byte]))
        assert client.read_response().status == 200
        assert client.read_rest() == FILES["/icon.svg"].read_bytes()
    finally:
        client.drop()


def test_page_that_nobody_takes(demo: Demo) -> None:
    clients = [WsClient(dial(demo.address)) for _ in range(20)]
    for client in clients:
        client.raw(b"GET /tidegate.js HTTP/1.1\r\nHost: x\r\n\r\n")
    for client in clients:
        client.drop()
    assert get(demo, "/")[0].status == 200


def test_server_without_pages(rig) -> None:
    proxy = rig.proxy(rig.backend())
    client = rig.dial(proxy)
    client.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_response().status == 426


# ---- the backend, after the show ----


def test_websocket_where_the_page_is(demo: Demo) -> None:
    client = WsClient(dial(demo.address), "subprotocol")
    client.handshake(request("subprotocol", target="/"))
    client.drop()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"tide\nmoon\nanchor\n", [b"anchor", b"moon", b"tide"]),
        (b"b\na", [b"a", b"b"]),
        (b"\n\nx\n", [b"", b"", b"x"]),
        (b"", []),
        (b"ab\na\nabc\n", [b"a", b"ab", b"abc"]),
        (b"".join(b"%03d\n" % (i * 7 % 500) for i in range(500)), [b"%03d" % i for i in range(500)]),
    ],
)
def test_sorted_answer(demo: Demo, data: bytes, lines: list[bytes]) -> None:
    client, answer = converse(demo, data)
    assert answer == b"".join(line + b"\n" for line in lines) + tally(data, data.count(b"\n"))
    assert client.received.fin == len(answer) and client.received.close == 1000


def test_too_much_to_sort(demo: Demo) -> None:
    data = b"line\n" * 40000
    assert converse(demo, data)[1] == tally(data, 40000)


def test_stopped_in_the_middle_of_an_answer(demo: Demo) -> None:
    client = WsClient(dial(demo.address), "extension")
    client.handshake()
    client.send(b"a\n" * 400)
    client.fin()
    client.expect("data")
    client.reset()
    assert converse(demo, b"b\na\n")[1].startswith(b"a\nb\n")


def test_window_holds_the_answer(demo: Demo) -> None:
    client = WsClient(dial(demo.address), "subprotocol")
    try:
        client.handshake()
        client.window(10)
        client.send(b"wave\n" * 10)
        client.fin()
        got = b""
        while len(got) < 10:
            got += client.expect("data").data
        assert got == b"wave\nwave\n"
        client.window(1000)
        client.read_until("fin")
    finally:
        client.drop()
