"""The cases of test_conformance.py once more, but the endpoint is `tidegate serve` in front of a TCP
backend that echoes: inside the proxy the codec must refuse and accept the same things, with the same
codes.

A plain client's messages are bytes to the proxy, so what comes back is compared as one stream."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance_cases import CASES, Case
from conformance_wire import CLOSE, PATIENCE, Heard, open_as_client, write_all

TIDEGATE = os.environ.get(
    "TIDEGATE", str(Path(__file__).resolve().parent / "../../build/proxy/tidegate")
)


def echo(sock: socket.socket) -> None:
    with sock:
        try:
            while data := sock.recv(1 << 18):
                sock.sendall(data)
        except OSError:
            pass


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(PATIENCE)


@pytest.fixture(scope="module")
def proxy_port(backend: int) -> Iterator[int]:
    foreign = ("TIDEGATE", "JOURNAL_STREAM")  # would set flags, and change the log
    process = subprocess.Popen(
        [TIDEGATE, "serve", "--listen", "127.0.0.1:0", "--backend", f"127.0.0.1:{backend}"]
        + ["--log-level", "info", "--drain-timeout", "1s", "--linger", "2s"],
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(foreign)},
    )
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while lines[-1] and " msg=listening " not in lines[-1]:
        lines.append(process.stderr.readline())
    first = lines[-1]
    assert "address=127.0.0.1:" in first, "".join(lines)
    drain = threading.Thread(target=lambda: lines.extend(process.stderr or []))
    drain.start()
    yield int(first.split("address=127.0.0.1:")[1].split()[0])
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, "".join(lines[-40:])
    drain.join(PATIENCE)
    # a sanitizer's report is no record
    assert all(" msg=" in line for line in lines), "".join(lines[-40:])


def receive(sock: socket.socket, heard: Heard) -> bool:
    """False at the end of TCP. A reset is one, too, once the Close is there: so the proxy aborts."""
    try:
        data = sock.recv(1 << 18)
    except ConnectionResetError:
        assert heard.close is not None, "reset without a Close"
        return False
    heard.feed(data)
    return data != b""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_20_same_inside_the_proxy(proxy_port: int, case: Case) -> None:
    sent = [f.encode(is_client=True) for f in case.send]
    opcodes = [f.opcode for f in case.send]
    first_close = len(sent) if case.is_refused else opcodes.index(CLOSE)
    whole = b"".join(body for kind, body in case.expect if kind != "pong")
    pongs = [body for kind, body in case.expect if kind == "pong"]

    heard = Heard(from_client=False)
    with socket.create_connection(("127.0.0.1", proxy_port), timeout=PATIENCE) as sock:
        heard.feed(open_as_client(sock))
        data = b"".join(sent[:first_close])
        writer = threading.Thread(target=write_all, args=(sock, data, None))
        writer.start()
        if not case.is_refused:  # our Close would end what the backend has still to say
            while heard.payload_size < len(whole) or len(heard.events_of("pong")) < len(pongs):
                assert receive(sock, heard), "TCP ended early"
            writer.join(PATIENCE)
            writer = threading.Thread(
                target=write_all, args=(sock, b"".join(sent[first_close:]), None)
            )
            writer.start()
        while receive(sock, heard):
            pass
        writer.join(PATIENCE)

    back = b"".join(heard.events_of("binary")) + heard.partial
    assert heard.close == case.code
    assert (whole + case.unfinished).startswith(back)
    if not case.is_refused:
        assert len(back) >= len(whole)
        assert heard.events_of("pong") == pongs
    assert not heard.events_of("text")
