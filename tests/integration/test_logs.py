"""Checklist 17 and the log contract: one record a line, whatever a peer sends, and never a secret."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import subprocess

import pytest
from backend import echo
from rig import Rig, one_worker
from support import default_binary
from wsclient import CARRIERS, request


SECRETS = [
    ("Authorization", "Basic c2VjcmV0LXdvcmQ="),
    ("Cookie", "session=secret-word"),
    ("Proxy-Authorization", "Bearer secret-word"),
    ("X-Note", "secret-word"),
]
NASTY = [
    "/a\x1b[31mred",
    "/quote\"s and 'more'",
    "/back\\slash",
    "/\u00fcml\u00e4ut",
    "/\xff\xfe\xc0",
    "/level=error msg=forged",
    "/%0d%0alevel=error",
]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_17_one_line_a_record(rig: Rig, log_format: str) -> None:
    """Rig checks in the end that every line of stderr parses as one record."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--log-level", "debug", log_format=log_format)
    count = 0
    for target in NASTY:
        for extra in ([("X-Nasty", target)], [("Origin", target), ("User-Agent", target)]):
            client = rig.dial(proxy)
            client.sock.sendall(request(target=target.replace(" ", "%20"), extra=extra))
            client.read_response()
            client.reset()
            count += 1
    raw = request().replace(b"13", b'8" level=error msg=forged x="\x1b]0;gotcha\x07')
    client = rig.dial(proxy)
    client.sock.sendall(raw)
    assert client.read_response().status in (400, 426)
    client.reset()
    count += 1
    for _ in range(count):
        proxy.wait_any("closed", "refused")
    assert all(line.isascii() and line.isprintable() for line in proxy.lines)
    assert not [r for r in proxy.records if r["level"] == "error"]


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("level", ["debug", "info"])
def test_17_no_secret_is_logged(rig: Rig, level: str, is_good: bool) -> None:
    proxy = rig.proxy(rig.backend(), "--log-level", level)
    client = rig.dial(proxy)
    change = {} if is_good else {"Sec-WebSocket-Version": "1"}
    client.sock.sendall(request(target="/?token=secret-word", change=change, extra=SECRETS))
    assert client.read_response().status == (101 if is_good else 426)
    client.reset()
    proxy.wait_any("closed", "refused")
    text = "\n".join(proxy.lines)
    assert "secret-word" not in text and "c2VjcmV0" not in text


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("how", ["closed", "refused"])
@pytest.mark.parametrize(
    ("field", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-00f067aa0ba902b7-01\" level=error", None),
        (TRACE, None),
        (None, None),
    ],
)
def test_trace_id(rig: Rig, how: str, field: str | None, trace_id: str | None) -> None:
    """Of a valid traceparent, and only of one; in the record of the connection, whatever became of it."""
    proxy = rig.proxy(rig.backend())
    client = rig.dial(proxy)
    change = {"Sec-WebSocket-Version": "1"} if how == "refused" else {}
    extra = [("traceparent", field)] if field else []
    client.sock.sendall(request(change=change, extra=extra))
    client.read_response()
    client.reset()
    assert proxy.wait(how).get("trace_id") == trace_id


def test_17_no_query_token_or_cookie_of_a_good_client(rig: Rig) -> None:
    """Nor of one who is refused."""
    tokens = rig.directory / "tokens"
    tokens.write_text(f"ci {hashlib.sha256(b'secret-word').hexdigest()}\n")
    proxy = rig.proxy(rig.backend("tcp", echo), "--log-level", "debug", "--tokens", str(tokens))
    encoded = base64.urlsafe_b64encode(b"secret-word").decode().rstrip("=")
    offers = f"v1.tidegate, base64url.bearer.authorization.tidegate.{encoded}"
    ways: list[tuple[int, list[tuple[str, str]]]] = [
        (101, [("Authorization", "Bearer secret-word")]),
        (101, [("Sec-WebSocket-Protocol", offers)]),
        (401, [("Authorization", "Bearer wrong-secret-word")]),
        (400, [("Authorization", "Bearer secret-word"), ("Authorization", "Bearer secret-word")]),
        (401, []),
    ]
    for status, extra in ways:
        client = rig.dial(proxy)
        extra = [*extra, ("Cookie", "id=secret-word"), ("Referer", "http://h/?secret-word")]
        client.sock.sendall(request(target="/a?token=secret-word", extra=extra))
        assert client.read_response().status == status
        client.reset()
        proxy.wait_any("closed", "refused")
    text = "\n".join(proxy.lines)
    assert "secret-word" not in text and encoded not in text
    assert '"ci"' in text  # the name of its bearer is no secret


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_journal_takes_the_level_and_knows_the_time(rig: Rig, log_format: str) -> None:
    """JOURNAL_STREAM names our stderr: here a socket of the test's, as the journal's is. Another one, or JSON:
    nothing changes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        about = os.fstat(theirs.fileno())
        for stream, is_journal in ((f"{about.st_dev}:{about.st_ino}", True), ("1:1", False)):
            env = {**os.environ, "JOURNAL_STREAM": stream}
            process = subprocess.Popen(
                [default_binary(), "serve", "--listen", "127.0.0.1:0", "--backend", "127.0.0.1:9", "--log-format", log_format],
                stderr=theirs, env=env,
            )  # fmt: skip
            try:
                line = ours.recv(4096).decode()
                process.terminate()
                assert process.wait(20) == 0
            finally:
                process.kill()
                process.wait()
            ours.recv(4096)  # draining, stopped
            if log_format == "json":
                assert "ts" in json.loads(line.splitlines()[0])
            elif is_journal:
                assert line.startswith("<6>level=info msg=listening ")
            else:
                assert line.startswith("ts=")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_closed_record(rig: Rig, carrier: str, log_format: str) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, log_format=log_format)
    client, connection = rig.pair(proxy, backend, carrier)
    client.send(b"four")
    connection.send(b"seven")
    client.read_data(5)
    connection.finish()
    if carrier != "plain":
        client.read_until("fin")
        client.fin()
    assert client.collect().close == 1000
    record = proxy.wait_closed(client.name)
    assert list(record)[:3] == ["ts", "level", "msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["ts"])
    expected = {
        "level": "info", "conn": 1, "client": client.name, "backend": backend.address,
        "carrier": carrier, "bytes_to_backend": 4, "bytes_to_client": 5, "first_end": "backend",
        "cause": "ok",
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert "native" not in record and record["detail"]
    assert isinstance(record["duration_ms"], int) and isinstance(record["half_closed_ms"], int)


def test_connections_are_numbered_and_logged_once(rig: Rig) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend)
    for number in range(1, 31):
        client = rig.dial(proxy)
        if number % 3 == 0:
            client.sock.sendall(b"x\r\n\r\n")
            client.read_response()
        else:
            client.handshake()
        client.reset()
        assert proxy.wait_any("closed", "refused")["conn"] == number
    proxy.wait_idle()
    numbers = [r["conn"] for r in proxy.records if r["msg"] in ("closed", "refused")]
    assert sorted(numbers) == list(range(1, 31))


@one_worker  # the file is there before further workers are
def test_log_level_keeps_the_rest_quiet(rig: Rig) -> None:
    """At "error" even the start says nothing, so the address must be known: a unix socket."""
    path = rig.directory / "front.sock"
    proxy = rig.proxy(
        rig.backend(), "--log-level", "error", listen=(f"unix:{path}",), is_quiet=True
    )
    rig.client(f"unix:{path}").reset()
    proxy.wait_idle()
    assert proxy.lines == []
