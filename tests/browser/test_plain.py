"""Chromium's own WebSocket, which knows nothing of half-close: docs/protocol.md section 8."""

from __future__ import annotations

import pytest
from backend import answer_at_end
from chromium import Page
from rig import Rig, over_both
from support import payload, sha256

OPEN = """globalThis.ws = new WebSocket(url, protocols);
ws.binaryType = "arraybuffer";
globalThis.parts = [];
ws.onmessage = ({data}) => parts.push(data);
globalThis.over = new Promise((resolve) => ws.onclose = ({code, wasClean}) => resolve({code, wasClean}));
await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject; });"""


def open_plain(rig: Rig, page: Page, site: str, backend, protocols: list[str]):
    proxy = rig.proxy(backend, "--allow-origin", site)
    page.run(OPEN, url=rig.url(proxy.address), protocols=protocols)
    return proxy


@over_both
@pytest.mark.parametrize("protocols", [[], ["binary"]])
def test_backend_ends(rig: Rig, site: str, page: Page, protocols: list[str]) -> None:
    """All bytes, then Close 1000."""
    data = payload(3_000_000)
    backend = rig.backend()
    open_plain(rig, page, site, backend, protocols)
    assert page.value("ws.protocol") == "".join(protocols)
    there = backend.accept()
    there.send(data)
    there.finish()
    result = page.run("return {...await over, hash: await sha256(await new Blob(parts).arrayBuffer())};")
    assert result == {"code": 1000, "wasClean": True, "hash": sha256(data)}
    assert there.wait_end() == "eof"


def test_page_closes(rig: Rig, site: str, page: Page) -> None:
    """The backend gets all, and its end; the answer is lost, which is what half-close is for."""
    backend = rig.backend(script=answer_at_end(b"the answer"))
    open_plain(rig, page, site, backend, [])
    result = page.run(
        """const data = random(2_000_000);
        ws.send(data);
        ws.close();
        return {...await over, hash: await sha256(data), parts: parts.length};"""
    )
    there = backend.connections[0]
    assert result["wasClean"] and result["parts"] == 0
    assert there.wait_end() == "eof" and there.count == 2_000_000 and there.digest == result["hash"]


def test_text_is_bytes(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    open_plain(rig, page, site, backend, [])
    page.run("ws.send('Ebbe und Flut, Größe, 潮'); ws.close();")
    there = backend.accept()
    assert there.wait_end() == "eof"
    assert bytes(there.kept).decode() == "Ebbe und Flut, Größe, 潮"


def test_backend_resets(rig: Rig, site: str, page: Page) -> None:
    backend = rig.backend()
    open_plain(rig, page, site, backend, [])
    backend.accept().reset()
    assert page.run("return (await over).code;") == 4000


@pytest.mark.parametrize("code", [1000, 3000, 4999])
def test_page_closes_with(rig: Rig, site: str, page: Page, code: int) -> None:
    backend = rig.backend()
    open_plain(rig, page, site, backend, [])
    page.run("ws.close(code); await over;", code=code)
    assert backend.accept().wait_end() == ("eof" if code == 1000 else "reset")
