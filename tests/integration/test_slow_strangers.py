"""Strangers who take their time, by a tool that is made for it, while a good client goes on. Checklist 57."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import pytest
from backend import echo
from rig import Rig, over_both
from support import PATIENCE, count_sockets
from wsclient import WsClient

COUNT = 200
CAUSES = {"handshake-timeout", "bad-handshake", "lost", "reset", "closed"}
WAYS = {  # flags of slowhttptest
    "head": ("-H", "-i", "1"),
    "body": ("-B", "-s", "8192", "-i", "1"),
    "read": ("-X", "-w", "1", "-y", "2", "-n", "1", "-z", "1"),
}


def round_trip(client: WsClient, number: int) -> None:
    message = b"%08d" % number
    client.send(message)
    assert client.expect("data").data == message


@over_both
@pytest.mark.parametrize("way", WAYS)
def test_57_slowhttptest(rig: Rig, way: str) -> None:
    """While the tool goes on, the proxy gets rid of all that it has opened, and answers the good one."""
    if shutil.which("slowhttptest") is None:
        pytest.skip("slowhttptest is not installed")
    proxy = rig.proxy(rig.backend("tcp", echo), "--handshake-timeout", "1s", "--linger", "1s")
    client = rig.client(proxy)
    url = f"{'https' if rig.is_secure else 'http'}://{proxy.address}/"
    command = ["slowhttptest", *WAYS[way], "-c", str(COUNT), "-r", str(COUNT), "-l", "60", "-p", "10", "-u", url]
    before = count_sockets(proxy.pid)
    trips = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as tool:
        deadline = time.monotonic() + PATIENCE
        while len(proxy.find("refused")) < COUNT or count_sockets(proxy.pid) > before:
            assert time.monotonic() < deadline, f"{count_sockets(proxy.pid)} sockets, {before} before"
            round_trip(client, trips)
            trips += 1
        tool.terminate()  # while it thinks that it has them all, where it does not look ("read")
        assert tool.stdout
        said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", tool.stdout.read())
    assert not re.search(r"service available:\s+NO", said), said
    assert trips > 0
    assert not proxy.find("closed"), "the good client is still there"
    assert {record["cause"] for record in proxy.find("refused")} <= CAUSES
    if way == "head":
        assert any(record["cause"] == "handshake-timeout" for record in proxy.find("refused"))
    round_trip(client, trips)
