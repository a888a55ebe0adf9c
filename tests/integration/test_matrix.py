"""The half-close matrix: ws or wss x carrier x backend x who ends first x what is going on meanwhile. That of tunnel
and proxy is in test_tunnel_matrix.py.

Each case checks the content both ways, the order of the ends, what each socket saw, the Close code and
the log record. A unix socket has no reset: a unix backend sees EOF or ECONNRESET for one, and can make
one only by closing with something unread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from backend import BackendConnection
from proxy import Proxy, Record
from rig import Rig, over_both
from support import MIB, payload, sha256
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient

pytestmark = over_both

UP, DOWN = payload(MIB, 1), payload(3 * MIB, 2)
BACKENDS = ("tcp", "tls", "unix")
FIRST = ("client", "backend", "both")


class Case:
    """One connection through a proxy of its own."""

    def __init__(self, rig: Rig, carrier: str, kind: str, is_slow: bool = False) -> None:
        self.carrier, self.kind = carrier, kind
        self.pause = 0.001 if is_slow else 0.0
        small = 16384 if is_slow else None
        listener = rig.backend(kind, rcvbuf=small)
        self.proxy: Proxy = rig.proxy(listener)
        self.client: WsClient
        self.backend: BackendConnection
        self.client, self.backend = rig.pair(self.proxy, listener, carrier, rcvbuf=small)

    def start_reading(self) -> None:
        self.client.collect_in_background(self.pause)
        self.backend.read_in_background(self.pause, 16384 if self.pause else 262144)

    def closed(self) -> Record:
        return self.proxy.wait_closed(self.client.name)

    # ---- what must hold in the end ----

    def check_up(self, data: bytes) -> None:
        assert self.backend.wait_end() == "eof"
        assert (self.backend.count, self.backend.digest) == (len(data), sha256(data))

    def check_down(self, data: bytes) -> None:
        got = self.client.wait_collected()
        assert (got.count, got.digest) == (len(data), sha256(data))
        tail = ["close", "eof"] if self.carrier == "plain" else ["fin", "close", "eof"]
        assert [kind for kind in got.order if kind != "data"] == tail
        assert got.close == 1000
        if self.carrier != "plain":
            assert got.fin == len(data)

    def check_log(self, up: int, down: int, first: str) -> Record:
        record = self.closed()
        assert record["cause"] == "ok"
        assert (record["bytes_to_backend"], record["bytes_to_client"]) == (up, down)
        assert record["carrier"] == self.carrier
        if first == "both":
            assert record["first_end"] in ("client", "backend")
        else:
            assert record["first_end"] == first
        assert 0 <= record["half_closed_ms"] <= record["duration_ms"]
        return record

    def check_prefixes(self) -> None:
        """What came before a break is the beginning of what was sent, nothing else."""
        down = self.client.received
        assert down.digest == sha256(DOWN[: down.count])
        assert self.backend.digest == sha256(UP[: self.backend.count])

    def check_backend_broken(self) -> None:
        end = self.backend.wait_end()
        assert end in (("reset", "eof") if self.kind == "unix" else ("reset",))

    def check_client_aborted(self) -> None:
        got = self.client.wait_collected()
        assert got.close == 4000 and got.order[-1] in ("eof", "reset")


@pytest.fixture(params=[(c, k) for c in CARRIERS for k in BACKENDS], ids=lambda p: f"{p[0]}-{p[1]}")
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    yield request.param


def size_of(traffic: str) -> tuple[bytes, bytes]:
    return (b"hello", b"world!!") if traffic == "idle" else (UP, DOWN)


# ---- orderly ends, both carriers: 1 MiB up, 3 MiB down ----


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_34_client_ends_first(rig: Rig, carrier: str, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, carrier, kind, traffic == "slow-reader")
    case.start_reading()
    half = len(down) // 2
    sender = case.backend.send_in_background(down[:half])
    case.client.send(up)
    case.client.fin()
    case.check_up(up)
    sender.join(20)
    case.backend.send(down[half:])  # the other direction goes on
    case.backend.finish()
    case.check_down(down)
    case.check_log(len(up), len(down), "client")


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_35_backend_ends_first(rig: Rig, carrier: str, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, carrier, kind, traffic == "slow-reader")
    half = len(up) // 2
    case.backend.read_in_background(case.pause, 16384 if case.pause else 262144)
    case.backend.send_in_background(down, then=case.backend.finish)
    if traffic != "in-flight":  # otherwise both directions would wait for one thread
        case.client.read_until("fin")
        case.client.collect_in_background(case.pause)
        case.client.send(up)
    else:
        case.client.send(up[:half])
        case.client.read_until("fin")
        case.client.collect_in_background()
        case.client.send(up[half:])  # the other direction goes on
    assert case.backend.end is None
    case.client.fin()
    case.check_up(up)
    case.check_down(down)
    case.check_log(len(up), len(down), "backend")


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_36_ends_cross(rig: Rig, carrier: str, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, carrier, kind, traffic == "slow-reader")
    case.start_reading()
    case.backend.send_in_background(down, then=case.backend.finish)
    case.client.send(up)
    case.client.fin()
    case.check_up(up)
    case.check_down(down)
    case.check_log(len(up), len(down), "both")


# ---- orderly ends, plain (protocol.md section 8) ----


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
def test_42_plain_client_ends_first(rig: Rig, kind: str, traffic: str) -> None:
    """Close 1000 says that all was sent; what the backend still sends has no reader."""
    up, down = size_of(traffic)
    case = Case(rig, "plain", kind, traffic == "slow-reader")
    case.start_reading()
    sender = case.backend.send_in_background(down)
    case.client.send(up)
    case.client.close_frame(1000)
    case.check_up(up)
    got = case.client.wait_collected()
    assert got.close == 1000 and got.end == "eof"
    assert got.digest == sha256(down[: got.count])
    sender.join(20)
    assert not sender.is_alive(), "the backend's sending must not stall: the proxy discards it"
    case.backend.finish()
    record = case.closed()
    assert (record["cause"], record["first_end"]) == ("ok", "client")
    assert record["bytes_to_backend"] == len(up)


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
def test_42_plain_backend_ends_first(rig: Rig, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, "plain", kind, traffic == "slow-reader")
    case.start_reading()
    case.client.send(up)
    case.backend.wait_count(len(up))
    case.backend.send_in_background(down, then=case.backend.finish)
    case.check_down(down)
    case.check_up(up)  # the client's answer to Close 1000 ends its stream
    case.check_log(len(up), len(down), "backend")


@pytest.mark.parametrize("traffic", ["idle", "in-flight", "slow-reader"])
@pytest.mark.parametrize("kind", BACKENDS)
def test_42_plain_ends_cross(rig: Rig, kind: str, traffic: str) -> None:
    up, down = size_of(traffic)
    case = Case(rig, "plain", kind, traffic == "slow-reader")
    case.client.answers_close = False  # its own Close is the answer
    case.start_reading()
    case.backend.send_in_background(down, then=case.backend.finish)
    case.client.send(up)
    case.client.close_frame(1000)
    case.check_up(up)
    got = case.client.wait_collected()
    assert (got.close, got.end) == (1000, "eof")
    assert got.digest == sha256(down[: got.count])
    record = case.closed()
    assert record["cause"] == "ok" and record["bytes_to_backend"] == len(up)


# ---- resets: before any end, with data in flight, after the first end ----


@pytest.mark.parametrize("first", FIRST)
def test_46_48_reset_before(rig: Rig, ends: tuple[str, str], first: str) -> None:
    case = Case(rig, *ends)
    case.client.send(UP[:5])
    if case.kind != "unix" or first == "client":
        case.backend.read_in_background()
        case.backend.wait_count(5)
    if first != "client":
        # a unix backend leaves the five bytes unread: that makes a reset of its close
        (case.backend.close if case.kind == "unix" else case.backend.drop)()
    if first == "backend":
        case.client.collect_in_background()
        case.check_client_aborted()
        check_broken(case.closed(), ("backend",))
        return
    case.client.reset()
    if first == "client":
        case.check_backend_broken()
    check_broken(case.closed(), ("client",) if first == "client" else ("client", "backend"))


@pytest.mark.parametrize("first", FIRST)
def test_46_48_reset_during(rig: Rig, ends: tuple[str, str], first: str) -> None:
    case = Case(rig, *ends)
    sender = case.backend.send_in_background(DOWN)  # 3 MiB are more than one side's buffers hold
    case.client.send(UP[: MIB // 4])
    case.client.read_data(MIB // 4)
    case.backend.read_some(4096)
    if first == "client":
        case.client.reset()
        case.check_backend_broken()
    elif first == "backend":
        case.client.collect_in_background()
        case.backend.drop()
        case.check_client_aborted()
    else:
        case.client.reset()
        case.backend.drop()
    sender.join(20)
    case.check_prefixes()
    record = case.closed()
    check_broken(record, (first,) if first != "both" else ("client", "backend"))
    assert case.client.received.count <= record["bytes_to_client"] <= len(DOWN)
    assert case.backend.count <= record["bytes_to_backend"] <= len(UP)


@pytest.mark.parametrize("first", ["client", "backend"])
def test_46_48_reset_with_slow_readers(rig: Rig, ends: tuple[str, str], first: str) -> None:
    """Both buffers full, both sides in the middle of what they read. A side that is not read is not heard, so
    those who read on, slowly, decide when a reset is found."""
    case = Case(rig, *ends, is_slow=True)
    senders = [case.backend.send_in_background(DOWN), threading.Thread(target=send_quietly, args=(case.client, UP))]
    senders[1].start()
    case.client.read_data(MIB // 8)
    while case.backend.count < MIB // 8:
        case.backend.read_some(16384)
    if first == "client":
        case.client.reset()
        case.backend.read_in_background(case.pause, 16384)
        case.check_backend_broken()
    else:
        case.backend.drop()
        case.client.collect_in_background(case.pause)
        case.check_client_aborted()
    for sender in senders:
        sender.join(20)
    case.check_prefixes()
    check_broken(case.closed(), (first,))


def send_quietly(client: WsClient, data: bytes) -> None:
    try:
        client.send(data, piece=8192)
    except OSError:  # told by the reading side
        pass


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_46_client_resets_after_its_end(rig: Rig, carrier: str, kind: str) -> None:
    """The backend has had its EOF, rightly; that nobody hears its answer it must learn, too."""
    case = Case(rig, carrier, kind)
    case.client.send(UP)
    case.client.fin()
    case.check_up(UP)
    case.backend.send(DOWN[:1000])
    case.client.read_data(1000)
    case.client.reset()
    assert case.backend.wait_broken() in ("ECONNRESET", "EPIPE")
    record = case.closed()
    check_broken(record, ("client",))
    assert (record["first_end"], record["bytes_to_backend"]) == ("client", len(UP))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_48_backend_resets_after_its_end(rig: Rig, carrier: str, kind: str) -> None:
    """A reset behind a FIN is no event (the kernel has nothing to read); the next write finds it."""
    case = Case(rig, carrier, kind)
    case.backend.send_in_background(DOWN, then=case.backend.finish)
    case.client.read_until("fin")
    case.backend.reset()
    case.client.collect_in_background()
    try:
        for at in range(0, len(UP), 4096):
            case.client.send(UP[at : at + 4096])
    except OSError:
        pass  # the proxy has hung up, as it should
    case.check_client_aborted()
    assert (case.client.received.count, case.client.received.fin) == (len(DOWN), len(DOWN))
    record = case.closed()
    check_broken(record, ("backend",))
    assert record["first_end"] == "backend"


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_46_reset_after_both_ends_harms_nothing(rig: Rig, carrier: str, kind: str) -> None:
    case = Case(rig, carrier, kind)
    case.client.answers_close = False
    case.client.send(UP)
    case.client.fin()
    case.check_up(UP)
    case.backend.send_in_background(DOWN, then=case.backend.finish)
    assert case.client.read_until("close").number == 1000
    case.client.reset()
    case.check_log(len(UP), len(DOWN), "client")


def check_broken(record: Record, where: tuple[str, ...]) -> None:
    assert record["cause"] == "reset", record
    assert record["at"] in where, record
    assert record["native"] in (-104, -32), record  # ECONNRESET, EPIPE
