"""Clients of other makes: Debian's python3-websockets, and curl."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from backend import answer_at_end, echo
from fronts import find
from rig import Rig, over_both, over_ws
from support import MIB, payload, sha256
from tls import client_context

websockets = pytest.importorskip("websockets", reason="python3-websockets is not installed")
pytestmark = over_both


def talk(rig: Rig, address: str, dialogue: Callable[[Any], Awaitable[None]], *subprotocols: str) -> None:
    """Runs one dialogue on a connection of the library's client."""

    async def run() -> None:
        async with websockets.connect(
            rig.url(address.replace("127.0.0.1", "localhost")),
            subprotocols=list(subprotocols) or None,
            max_size=None,
            ssl=client_context() if rig.is_secure else None,
        ) as ws:
            assert ws.subprotocol == (subprotocols[0] if subprotocols else None)
            await dialogue(ws)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_websockets_echo_and_close(rig: Rig) -> None:
    """A plain client: its Close 1000 is an end for the backend."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend)
    data = payload(3 * MIB, 60)

    async def dialogue(ws: Any) -> None:
        sending = asyncio.create_task(ws.send(data))
        got = b""
        while len(got) < len(data):
            got += await ws.recv()
        await sending
        assert got == data
        await ws.send("a text message is data, too")
        assert await ws.recv() == b"a text message is data, too"
        await asyncio.wait_for(await ws.ping(), 10)

    talk(rig, proxy.address, dialogue)
    record = proxy.wait_closed()
    assert (record["cause"], record["carrier"], record["first_end"]) == ("ok", "plain", "client")


def test_websockets_backend_ends(rig: Rig) -> None:
    backend = rig.backend("tcp", lambda c: (c.send(b"bye"), c.finish(), c.read_in_background())[0])
    proxy = rig.proxy(backend)

    async def dialogue(ws: Any) -> None:
        assert await ws.recv() == b"bye"
        with pytest.raises(websockets.ConnectionClosedOK):
            await ws.recv()
        assert ws.close_code == 1000

    talk(rig, proxy.address, dialogue)
    assert proxy.wait_closed()["cause"] == "ok"
    assert backend.accept().wait_end() == "eof"


def test_websockets_backend_resets(rig: Rig) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend)

    async def dialogue(ws: Any) -> None:
        await asyncio.to_thread(lambda: backend.accept().reset())
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()
        assert ws.close_code == 4000

    talk(rig, proxy.address, dialogue)
    assert proxy.wait_closed()["cause"] == "reset"


def test_websockets_binary_subprotocol(rig: Rig) -> None:
    """What noVNC offers."""
    proxy = rig.proxy(rig.backend("tcp", echo))

    async def dialogue(ws: Any) -> None:
        await ws.send(b"RFB 003.008\n")
        assert await ws.recv() == b"RFB 003.008\n"

    talk(rig, proxy.address, dialogue, "binary")
    assert proxy.wait_closed()["carrier"] == "plain"


def test_websockets_half_closes_by_the_subprotocol(rig: Rig) -> None:
    """Any library can: the end of a stream is a Text message."""
    reply = payload(3 * MIB, 61)
    backend = rig.backend("tcp", answer_at_end(reply))
    proxy = rig.proxy(backend)

    async def dialogue(ws: Any) -> None:
        for at in range(0, MIB, 50_000):
            await ws.send(payload(MIB, 62)[at : at + 50_000])
        await ws.send(f"FIN {MIB}")
        got = b""
        while isinstance(message := await ws.recv(), bytes):
            got += message
        assert message == f"FIN {len(reply)}"
        assert sha256(got) == sha256(reply)
        await ws.wait_closed()
        assert ws.close_code == 1000

    talk(rig, proxy.address, dialogue, "v1.tidegate")
    assert backend.accept().digest == sha256(payload(MIB, 62))
    assert proxy.wait_closed()["cause"] == "ok"


def test_websockets_backend_unreachable(rig: Rig) -> None:
    """A page's way: 101, then a Close that says why."""
    proxy = rig.proxy(f"unix:{rig.directory}/nobody.sock")

    async def dialogue(ws: Any) -> None:
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()
        assert ws.close_code == 4003

    talk(rig, proxy.address, dialogue, "v1.tidegate")
    assert proxy.wait_closed()["cause"] == "unreachable"


def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [find("curl"), "-sS", "--max-time", "10", *arguments]
    # curl prints a Close frame's payload, too
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=20, check=False
    )


@over_ws  # test_tls_peers.py has the others
def test_curl_reads_a_refusal(rig: Rig) -> None:
    proxy = rig.proxy(rig.backend())
    result = curl("-i", f"http://{proxy.address}/")
    assert result.returncode == 0, result.stderr
    head, _, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 426 ") and "sec-websocket-version: 13" in head.lower()
    assert body.strip()


@over_ws  # test_tls_peers.py has the others
def test_curl_posts_a_megabyte_and_reads_the_refusal(rig: Rig) -> None:
    """It still sends when the answer comes; no reset may destroy that."""
    proxy = rig.proxy(rig.backend())
    file = rig.directory / "megabyte"
    file.write_bytes(bytes(MIB))
    result = curl("-w", "%{http_code}", "-H", "Expect:", "--data-binary", f"@{file}", f"http://{proxy.address}/")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(("400", "405"))


@over_ws  # test_tls_peers.py has the others
def test_curl_websocket(rig: Rig) -> None:
    if " ws " not in curl("--version").stdout + " ":
        pytest.skip("this curl speaks no WebSocket (Debian 12's does not)")
    backend = rig.backend("tcp", lambda c: (c.send(b"from the backend\n"), c.finish())[0])
    proxy = rig.proxy(backend)
    assert "from the backend" in curl(f"ws://{proxy.address}/").stdout
