"""Many handshakes at once: others are not kept waiting. Checklist 57."""

from __future__ import annotations

import signal
import socket
import ssl
import struct
from pathlib import Path

from backend import echo
from proxy import Proxy
from rig import Rig, over_wss
from support import dial, open_files, wait_until
from tls import client_context
from wsclient import PING, frame

SO_TIMESTAMPNS = 35  # asm-generic/socket.h


def client_hello() -> bytes:
    """What a TLS client says first, for a socket that only plays one."""
    out = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def receive_stamped(sock: socket.socket) -> int | None:
    """When what comes next came, by the kernel's clock, in ns; None if it does not stamp yet."""
    data, ancillary, _, _ = sock.recvmsg(65536, 1024)
    assert data
    if not ancillary:
        return None
    seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2][:16])
    return int(seconds * 1_000_000_000 + nanoseconds)


def stop(proxy: Proxy) -> None:
    """As if it were busy: what comes meanwhile it finds all at once."""
    proxy.process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{proxy.pid}/stat")
    wait_until(lambda: stat.read_text().rsplit(") ", 1)[1].startswith("T"), "stopped")


@over_wss
def test_57_many_handshakes_do_not_keep_an_open_connection_waiting(rig: Rig) -> None:
    """The proxy finds a ping and 150 handshakes at once, the ping last. What it answers is put in order
    by the kernel."""
    proxy = rig.proxy(rig.backend(script=echo))
    client = rig.client(proxy, "plain")
    before = len(open_files(proxy.pid))
    strangers = [dial(proxy.address) for _ in range(150)]
    wait_until(lambda: len(open_files(proxy.pid)) == before + len(strangers), "all accepted")
    raw: socket.socket = client.sock.raw  # type: ignore[attr-defined]
    for sock in (raw, *strangers):
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    client.raw(frame(PING, b"first"))
    while receive_stamped(raw) is None:
        client.raw(frame(PING, b"again"))
    hello = client_hello()
    stop(proxy)
    for sock in strangers:
        sock.sendall(hello)
    client.raw(frame(PING, b"are you there"))
    proxy.process.send_signal(signal.SIGCONT)
    pong = receive_stamped(raw) or 0
    answers = [receive_stamped(sock) or 0 for sock in strangers]
    assert sum(answer < pong for answer in answers) <= 2
    assert answers == sorted(answers)
    for sock in strangers:
        sock.close()
