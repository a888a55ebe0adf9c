"""client/tidegate.js in Chromium, through the real proxy."""

from __future__ import annotations

import pytest
from backend import BackendConnection, echo
from chromium import Chromium, Page
from proxy import Proxy
from rig import Rig, over_both
from support import KIB, MIB, is_sanitized, payload, resident_bytes, sha256, wait_until
from wsserver import WsPeer


def proxy_for(rig: Rig, site: str, backend, *flags: str):
    return rig.proxy(backend, "--allow-origin", site, *flags)


def answer_with_hash(connection: BackendConnection) -> None:
    if connection.read_to_end() == "eof":
        connection.send(connection.digest.encode())
        connection.finish()


# ---- half-close, both ways ----


@over_both
def test_page_ends_first(rig: Rig, site: str, page: Page) -> None:
    """10 MB up, FIN, the hash down: both promises settle, the backend saw an end of file."""
    backend = rig.backend(script=answer_with_hash)
    proxy = proxy_for(rig, site, backend)
    result = page.run(
        """const data = random(10_000_000);
        const {readable, writable, closed} = connect(url);
        const writer = writable.getWriter();
        const written = writer.write(data).then(() => writer.close());
        const [answer] = await Promise.all([read(readable), written]);
        return {answer, hash: await sha256(data), ...await closed};""",
        url=rig.url(proxy.address),
    )
    assert result["answer"] == result["hash"] == backend.connections[0].digest
    assert result["closeCode"] == 1000
    assert backend.connections[0].end == "eof" and backend.connections[0].count == 10_000_000
    assert proxy.wait_closed()["first_end"] == "client"


@over_both
def test_backend_ends_first(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    proxy = proxy_for(rig, site, backend)
    page.run("globalThis.c = connect(url); await c.opened;", url=rig.url(proxy.address))
    there = backend.accept()
    there.read_in_background()
    there.send(b"this is all")
    there.finish()
    assert page.run("return read(c.readable);") == "this is all"
    result = page.run(
        """const writer = c.writable.getWriter();
        const data = random(1_000_000);
        await writer.write(data);
        await writer.close();
        return {hash: await sha256(data), ...await c.closed};"""
    )
    assert there.wait_end() == "eof"
    assert there.digest == result["hash"] and result["closeCode"] == 1000
    assert proxy.wait_closed()["first_end"] == "backend"


@over_both
def test_100_mb_both_ways_at_once(rig: Rig, site: str, page: Page) -> None:
    data = payload(100_000_000)
    backend = rig.backend()
    proxy = proxy_for(rig, site, backend)
    page.run("globalThis.c = connect(url); await c.opened;", url=rig.url(proxy.address))
    there = backend.accept()
    there.read_in_background()
    there.send_in_background(data, there.finish)
    result = page.run(
        """const data = random(100_000_000);
        async function send() {
            const writer = c.writable.getWriter();
            for (let at = 0; at < data.length; at += 1_000_000) await writer.write(data.subarray(at, at + 1_000_000));
            await writer.close();
        }
        const [down] = await Promise.all([new Response(c.readable).arrayBuffer(), send()]);
        return {up: await sha256(data), down: await sha256(down), size: down.byteLength, ...await c.closed};""",
        timeout=60,
    )
    assert there.wait_end() == "eof"
    assert result["size"] == len(data) and result["down"] == sha256(data)
    assert there.count == 100_000_000 and there.digest == result["up"]
    assert result["closeCode"] == 1000
    assert proxy.wait_closed()["cause"] == "ok"


@over_both
def test_echo_of_100_mb_each_way_at_once(rig: Rig, site: str, page: Page) -> None:
    """A backend that reads no more than it is rid of, and the default window."""
    backend = rig.backend(script=echo)
    proxy = proxy_for(rig, site, backend)
    result = page.run(
        """const data = random(100_000_000), size = data.length;
        const up = await sha256(data);
        const {readable, writable, closed} = connect(url);
        async function send() {
            const writer = writable.getWriter();
            for (let at = 0; at < size; at += 1_000_000) await writer.write(data.subarray(at, at + 1_000_000));
            await writer.close();
        }
        const [down] = await Promise.all([new Response(readable).arrayBuffer(), send()]);
        return {up, down: await sha256(down), ...await closed};""",
        timeout=60,
        url=rig.url(proxy.address),
    )
    assert result["up"] == result["down"] and result["closeCode"] == 1000
    assert backend.connections[0].count == 100_000_000
    assert proxy.wait_closed()["cause"] == "ok"


# ---- back-pressure ----


class Flood:
    """A backend's script: sends a gigabyte as soon as it is connected to, and counts what it is rid of."""

    SIZE = 1_000_000_000

    def __init__(self) -> None:
        self.sent = 0
        self._last = -1

    def __call__(self, connection: BackendConnection) -> None:
        piece = payload(65536)
        while self.sent < self.SIZE:
            self.sent += connection.sock.send(piece)

    def is_stuck(self) -> bool:
        """Nothing more since the last look: the kernel's buffers are full, too."""
        was, self._last = self._last, self.sent
        return was == self._last


def hold(rig: Rig, site: str, page: Page, window: int) -> tuple[Proxy, Flood, BackendConnection]:
    """A page that does not read. The backend has had all the time to send more than the window: it has
    bytes of the page's that were sent after the window was full."""
    flood = Flood()
    backend = rig.backend(script=flood)
    proxy = proxy_for(rig, site, backend)
    page.run(
        """globalThis.c = connect(url, {window: size, WebSocket: Counted});
        globalThis.w = c.writable.getWriter();""",
        url=rig.url(proxy.address),
        size=window,
    )
    there = backend.accept()
    page.wait(f"Counted.received >= {window}")
    wait_until(flood.is_stuck, "the backend is held")
    for _ in range(3):
        page.run("await w.write(encode('still here'));")
        assert there.sock.recv(100) == b"still here"
        assert page.value("Counted.received") == window
    assert flood.sent < 64 * MIB
    return proxy, flood, there


@over_both
@pytest.mark.parametrize("window", [1, 65536, 1_048_576])
def test_page_that_does_not_read(rig: Rig, site: str, chromium: Chromium, page: Page, window: int) -> None:
    """Exactly its window comes, and not one byte more, while the backend would send a gigabyte; the memory
    of the proxy and of all of the browser stays flat."""
    of_browser = chromium.resident_bytes()
    proxy, flood, there = hold(rig, site, page, window)
    of_proxy = resident_bytes(proxy.pid)
    page.run("await new Promise((resolve) => setTimeout(resolve, 1000));")
    assert page.value("Counted.received") == window
    assert flood.sent < 64 * MIB
    if not is_sanitized():
        assert resident_bytes(proxy.pid) - of_proxy < 256 * KIB
        assert of_proxy < 8 * MIB
    assert chromium.resident_bytes() - of_browser < 64 * MIB
    page.run("c.abort(new Error('enough')); return outcome(c.closed);")
    assert there.wait_end() == "reset"


def test_page_that_reads_on(rig: Rig, site: str, page: Page) -> None:
    """Never more than what it has taken, and the window."""
    window = 300_000
    _, _, there = hold(rig, site, page, window)
    taken = page.run(
        """const reader = c.readable.getReader();
        let taken = 0;
        while (taken < 5_000_000) {
            taken += (await reader.read()).value.byteLength;
            if (Counted.received > taken + size) throw new Error("more than the window");
        }
        return taken;""",
        size=window,
    )
    page.wait(f"Counted.received > {taken + window // 2 - 1}")
    assert page.value("Counted.received") <= taken + window
    page.run("c.abort(new Error('enough')); return outcome(c.closed);")
    assert there.wait_end() == "reset"


def test_backend_that_does_not_read_holds_the_page(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend(rcvbuf=16384)
    proxy = proxy_for(rig, site, backend)
    page.run("globalThis.c = connect(url); await c.opened;", url=rig.url(proxy.address))
    there = backend.accept()
    page.run(
        """globalThis.sent = 0;
        const writer = c.writable.getWriter(), piece = random(65536);
        globalThis.all = (async () => {
            while (sent < 60_000_000) { await writer.write(piece); sent += piece.length; }
            await writer.close();
        })();"""
    )
    page.run(
        """let before = -1;
        while (before !== sent) { before = sent; await new Promise((r) => setTimeout(r, 200)); }"""
    )
    assert page.value("sent") < 40_000_000, "a writer that waits for nobody"
    there.read_in_background()
    page.run("await all;", timeout=60)
    there.finish()
    assert there.wait_end() == "eof" and there.count == page.value("sent")
    assert page.run("await read(c.readable); return (await c.closed).closeCode;") == 1000


# ---- ends that are none ----


def follow(page: Page, url: str, **options: object) -> None:
    """Connects; how everything ends is in `ends`."""
    page.run(
        """globalThis.c = connect(url, options);
        globalThis.ends = Promise.all([outcome(c.opened), outcome(c.closed), outcome(read(c.readable))]);""",
        url=url,
        options=options,
    )


def check_broken(page: Page, code: str, close_code: int, is_open: bool = True) -> None:
    opened, closed, text = page.run("return ends;")
    assert ("ok" in opened) is is_open
    for end in (closed, text):
        assert end == {"name": "TidegateError", "code": code, "closeCode": close_code, "isOurs": True}


def test_backend_reset(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    follow(page, rig.url(proxy_for(rig, site, backend).address))
    there = backend.accept()
    page.run("await c.opened;")
    there.send(b"half of it")
    there.reset()
    check_broken(page, "ECONNRESET", 4000)


def test_no_backend(rig: Rig, site: str, page: Page, unused_tcp_address: str) -> None:
    follow(page, rig.url(proxy_for(rig, site, unused_tcp_address).address))
    check_broken(page, "EUNREACHABLE", 4003)


def test_backend_that_does_not_accept(rig: Rig, site: str, page: Page, deaf_tcp_address: str) -> None:
    follow(page, rig.url(proxy_for(rig, site, deaf_tcp_address, "--connect-timeout", "200ms").address))
    check_broken(page, "ETIMEDOUT", 4004)


def test_idle(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    follow(page, rig.url(proxy_for(rig, site, backend, "--idle-timeout", "300ms").address))
    assert backend.accept().wait_end() == "reset"
    check_broken(page, "ETIMEDOUT", 4005)


def test_half_closed_and_idle(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    follow(page, rig.url(proxy_for(rig, site, backend, "--half-closed-timeout", "300ms").address))
    page.run("await c.writable.close();")
    there = backend.accept()
    there.read_in_background()
    check_broken(page, "ETIMEDOUT", 4006)


def test_lifetime(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    follow(page, rig.url(proxy_for(rig, site, backend, "--max-lifetime", "300ms").address))
    assert backend.accept().wait_end() == "reset"
    check_broken(page, "ETIMEDOUT", 1012)


def test_shutdown(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    proxy = proxy_for(rig, site, backend, "--drain-timeout", "100ms")
    follow(page, rig.url(proxy.address))
    there = backend.accept()
    page.run("await c.opened;")
    proxy.signal()
    assert there.wait_end() == "reset"
    check_broken(page, "ECONNRESET", 1001)
    assert proxy.wait_exit() in (0, 1)
    rig.proxies.remove(proxy)


def test_not_from_this_origin(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, "--allow-origin", "https://elsewhere.example")
    follow(page, rig.url(proxy.address))
    check_broken(page, "EUNREACHABLE", 1006, is_open=False)
    assert proxy.wait_refused()["status"] == 403
    backend.expect_none(0)


@pytest.mark.parametrize(
    ("close_code", "code"),
    [
        (1000, "ETRUNCATED"),
        (1001, "ECONNRESET"),
        (1002, "EPROTO"),
        (1003, "EPROTO"),
        (1007, "EPROTO"),
        (1008, "EDENIED"),
        (1009, "EPROTO"),
        (1011, "ECONNRESET"),
        (1012, "ETIMEDOUT"),
        (1013, "EDENIED"),
        (4000, "ECONNRESET"),
        (4001, "EPROTO"),
        (4002, "ETRUNCATED"),
        (4003, "EUNREACHABLE"),
        (4004, "ETIMEDOUT"),
        (4005, "ETIMEDOUT"),
        (4006, "ETIMEDOUT"),
        (4007, "ETIMEDOUT"),
        (4008, "EUNREACHABLE"),
    ],
)
def test_close_code(rig: Rig, page: Page, close_code: int, code: str) -> None:
    """Each that docs/protocol.md has, from a server that is told to say it: some the proxy says only when it is ill."""
    server = rig.backend()
    follow(page, f"ws://{server.address}/")
    peer = WsPeer(server.accept())
    peer.open("subprotocol")
    peer.close_frame(close_code)
    peer.connection.finish()
    check_broken(page, code, close_code)


def test_wrong_count(rig: Rig, page: Page) -> None:
    server = rig.backend()
    follow(page, f"ws://{server.address}/")
    peer = WsPeer(server.accept())
    peer.open("subprotocol")
    peer.send(b"12345")
    peer.control("FIN 6")
    check_broken(page, "ETRUNCATED", 4002)


@over_both
def test_page_that_is_left(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    proxy = proxy_for(rig, site, backend)
    page.run(
        """globalThis.c = connect(url);
        globalThis.w = c.writable.getWriter();
        await w.write(encode("half a document"));""",
        url=rig.url(proxy.address),
    )
    there = backend.accept()
    there.read_in_background()
    there.wait_count(15)
    page.open("about:blank")
    assert there.wait_end() == "reset"


def test_tab_that_is_closed(rig: Rig, site: str, chromium: Chromium, page: Page) -> None:
    backend = rig.backend()
    other = chromium.page()
    other.open(f"{site}/")
    other.wait("globalThis.connect")
    other.run(
        "globalThis.c = connect(url); await c.writable.getWriter().write(encode('x'));",
        url=rig.url(proxy_for(rig, site, backend).address),
    )
    there = backend.accept()
    there.read_in_background()
    there.wait_count(1)
    other.close()
    assert there.wait_end() == "reset"


def test_abort_by_the_page(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    page.run(
        """globalThis.c = connect(url);
        await c.opened;
        const w = c.writable.getWriter();
        await w.write(encode("some"));""",
        url=rig.url(proxy_for(rig, site, backend).address),
    )
    there = backend.accept()
    there.read_in_background()
    there.wait_count(4)
    assert page.run("c.abort(new Error('by hand')); return outcome(c.closed);")["name"] == "Error"
    assert there.wait_end() == "reset"
