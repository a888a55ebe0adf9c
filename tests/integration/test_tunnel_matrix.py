"""The half-close matrix once more, from one bare socket to the other, with tunnel and proxy between them: backend x
who ends first x what is going on meanwhile. Both ends must see what they would over plain TCP."""

from __future__ import annotations

from socket import MSG_PEEK

import pytest
from backend import BackendConnection
from rig import Rig, over_both
from support import MIB, payload, sha256
from tunnel import local, start_tunnel

pytestmark = over_both

UP, DOWN = payload(MIB, 160), payload(3 * MIB, 161)

all_backends = pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
any_first = pytest.mark.parametrize("first", ["local", "backend"])


class Case:
    def __init__(self, rig: Rig, kind: str, is_slow: bool = False) -> None:
        self.kind = kind
        self.pause = 0.001 if is_slow else 0.0
        small = 16384 if is_slow else None
        backend = rig.backend(kind, rcvbuf=small)
        self.proxy = rig.proxy(backend)
        self.tunnel = start_tunnel(rig, self.proxy.address)
        self.local: BackendConnection = local(rig, self.tunnel, rcvbuf=small)
        self.backend: BackendConnection = backend.accept()

    def ends(self, first: str) -> tuple[BackendConnection, BackendConnection]:
        """The one of that name, and the other."""
        return (self.local, self.backend) if first == "local" else (self.backend, self.local)

    def read(self, *sides: BackendConnection) -> None:
        for side in sides:
            side.read_in_background(self.pause, 16384 if self.pause else 262144)

    def check(self, up: bytes, down: bytes) -> None:
        assert (self.backend.wait_end(), self.local.wait_end()) == ("eof", "eof")
        assert (self.backend.count, self.backend.digest) == (len(up), sha256(up))
        assert (self.local.count, self.local.digest) == (len(down), sha256(down))
        self.local.close()

    def check_logs(self, first: str) -> None:
        for record, names in (
            (self.tunnel.wait_closed(), {"local": "local", "backend": "server"}),
            (self.proxy.wait_closed(), {"local": "client", "backend": "backend"}),
        ):
            assert record["cause"] == "ok", record
            if first in names:
                assert record["first_end"] == names[first]

    def check_broken(self, side: BackendConnection) -> None:
        """A unix socket has no reset if nothing was left unread; and what it said before must be what was sent."""
        is_unix = self.kind == "unix" and side is self.backend
        assert side.wait_end() in (("reset", "eof") if is_unix else ("reset",))
        assert side.digest == sha256((UP if side is self.backend else DOWN)[: side.count])
        for program in (self.tunnel, self.proxy):
            assert program.wait_closed()["cause"] in ("reset", "closed")


def size_of(traffic: str) -> tuple[bytes, bytes]:
    return {"nothing": (b"", b""), "idle": (b"hello", b"world!!")}.get(traffic, (UP, DOWN))


@pytest.mark.parametrize("traffic", ["nothing", "idle", "in-flight", "slow-reader"])
@any_first
@all_backends
def test_34_35_one_ends_first(rig: Rig, kind: str, first: str, traffic: str) -> None:
    """The other one hears it, and still sends."""
    up, down = size_of(traffic)
    case = Case(rig, kind, traffic == "slow-reader")
    one, other = case.ends(first)
    data, answer = (up, down) if first == "local" else (down, up)
    case.read(other, one)
    half = len(answer) // 2
    sender = other.send_in_background(answer[:half])
    one.send(data)
    one.finish()
    assert other.wait_end() == "eof"
    sender.join(20)
    assert one.end is None
    other.send(answer[half:])
    other.finish()
    case.check(up, down)
    case.check_logs(first)


@pytest.mark.parametrize("traffic", ["nothing", "in-flight", "slow-reader"])
@all_backends
def test_36_ends_cross(rig: Rig, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, kind, traffic == "slow-reader")
    case.read(case.local, case.backend)
    senders = [
        case.local.send_in_background(up, case.local.finish),
        case.backend.send_in_background(down, case.backend.finish),
    ]
    for sender in senders:
        sender.join(20)
    case.check(up, down)
    case.check_logs("both")


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@any_first
@all_backends
def test_44_48_reset(rig: Rig, kind: str, first: str, traffic: str) -> None:
    """Before any end."""
    case = Case(rig, kind, traffic == "slow-reader")
    one, other = case.ends(first)
    data, answer = (UP, DOWN) if first == "local" else (DOWN, UP)
    case.read(other)
    if traffic == "idle":
        one.send(data[:5])
        other.wait_count(5)
        other.send(answer[:1])  # for a unix socket: what is unread makes its close a reset
        wait_unread(one)
    else:
        senders = [one.send_in_background(data[: MIB // 2]), other.send_in_background(answer)]
        while one.count < MIB // 4:
            one.read_some(16384)
        senders[0].join(20)
        wait_unread(one)
    one.reset()
    case.check_broken(other)


@pytest.mark.parametrize("traffic", ["idle", "in-flight"])
@any_first
@all_backends
def test_44_48_reset_by_the_one_that_has_ended(rig: Rig, kind: str, first: str, traffic: str) -> None:
    """The other one has had its end, rightly. That nobody hears its answer it must learn, too."""
    case = Case(rig, kind)
    one, other = case.ends(first)
    data = (UP if first == "local" else DOWN) if traffic == "in-flight" else b"hello"
    case.read(other)
    one.send(data)
    one.finish()
    assert other.wait_end() == "eof"
    assert (other.count, other.digest) == (len(data), sha256(data))
    other.send(b"x" * 1000)
    while one.count < 1000:
        one.read_some()
    one.reset()
    assert other.wait_broken() in ("EPIPE", "ECONNRESET")
    for program in (case.tunnel, case.proxy):
        assert program.wait_closed()["cause"] in ("reset", "closed")


@pytest.mark.parametrize(  # a unix socket with nothing unread has no reset
    ("kind", "first"), [("tcp", "local"), ("tls", "local"), ("unix", "local"), ("tcp", "backend"), ("tls", "backend")]
)
def test_44_48_reset_by_the_one_that_has_heard_the_end(rig: Rig, kind: str, first: str) -> None:
    """It had not ended itself: a failure for the one that has, with the rest unread."""
    case = Case(rig, kind)
    one, other = case.ends(first)  # `one` resets
    case.read(one)
    other.send(b"hello")
    other.finish()
    assert one.wait_end() == "eof"
    one.send((UP if first == "local" else DOWN)[:100_000])
    while other.count < 1000:
        other.read_some(1000)
    one.reset()
    case.check_broken(other)


def wait_unread(side: BackendConnection) -> None:
    side.sock.settimeout(20)
    raw = getattr(side.sock, "raw", side.sock)
    assert raw.recv(1, MSG_PEEK)
