"""Checklist 60 for TLS: handshakes by the thousand, good, broken off, refused, and none of them leaves anything."""

from __future__ import annotations

import contextlib
import ssl
import threading

from backend import echo
from certificates import certificates
from proxy import Proxy
from rig import Rig, over_wss
from support import KIB, dial, is_sanitized, open_files, reset, resident_bytes, wait_until
from tls import client_context
from tunnel import local, start_tunnel
from wsclient import request

pytestmark = over_wss

COUNT = 400 if is_sanitized() else 2000
WORKERS = 4


def shake(proxy: Proxy, context: ssl.SSLContext, kind: int) -> None:
    """One connection of that kind. What the other side makes of it is told by the log."""
    sock = dial(proxy.address)
    try:
        if kind == 0:  # good
            with context.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(request("plain"))
                assert tls.recv(4096).startswith(b"HTTP/1.1 101 ")
                tls.sendall(b"\x88\x80\0\0\0\0")
                while tls.recv(4096):
                    pass
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls_object = context.wrap_bio(incoming, outgoing, False, "localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls_object.do_handshake()
        hello = outgoing.read()
        if kind == 1:  # no TLS
            sock.sendall(bytes(100))
            sock.recv(100)
        elif kind == 2:  # broken off in the hello
            sock.sendall(hello[: len(hello) // 2])
        elif kind == 3:  # broken off behind it
            sock.sendall(hello)
            sock.recv(100)
        elif kind == 4:  # no suite in common
            strange = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            strange.maximum_version = ssl.TLSVersion.TLSv1_2
            strange.set_ciphers("AES128-SHA256")
            strange.wrap_socket(sock, server_hostname="localhost")
    except OSError:
        pass
    finally:
        reset(sock)


def many(proxy: Proxy, count: int, context: ssl.SSLContext) -> None:
    failures: list[BaseException] = []
    before = len(proxy.find("closed")) + len(proxy.find("refused"))

    def run(worker: int) -> None:
        try:
            for i in range(worker, count, WORKERS):
                shake(proxy, context, i % 5)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert not failures, failures
    wait_until(lambda: len(proxy.find("closed")) + len(proxy.find("refused")) == before + count, "a record for each")
    proxy.wait_idle()


def test_60_thousands_of_handshakes(rig: Rig) -> None:
    """What the first half has left is what the second leaves."""
    proxy = rig.proxy(rig.backend("tcp", echo))
    context = client_context()
    many(proxy, COUNT // 2, context)
    memory, files = resident_bytes(proxy.pid), len(open_files(proxy.pid))
    many(proxy, COUNT - COUNT // 2, context)
    assert len(open_files(proxy.pid)) <= files
    if not is_sanitized():
        grown = resident_bytes(proxy.pid) - memory
        assert grown < 512 * KIB, f"{grown // KIB} KiB more after the second half"


def test_60_hundreds_of_handshakes_of_ours(rig: Rig) -> None:
    """Tunnel and serve as clients: a backend on TLS that is good, and a server that is not believed."""
    proxy = rig.proxy(rig.backend("tls", echo))
    good = start_tunnel(rig, proxy.address)
    bad = start_tunnel(rig, proxy.address, "--ca-file", certificates().other_ca)
    count = COUNT // 10
    memory = 0
    for i in range(count):
        if i == count // 2:
            memory = resident_bytes(good.pid) + resident_bytes(bad.pid) + resident_bytes(proxy.pid)
        program = local(rig, good)
        program.finish()
        assert program.wait_end() == "eof"
        program.close()
        with contextlib.suppress(ConnectionResetError):
            assert local(rig, bad).wait_end() == "reset"
    for one in (good, bad, proxy):
        one.wait_idle()
    if not is_sanitized():
        grown = resident_bytes(good.pid) + resident_bytes(bad.pid) + resident_bytes(proxy.pid) - memory
        assert grown < 256 * KIB, f"{grown // KIB} KiB more after the second half"
