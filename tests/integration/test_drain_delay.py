"""Checklist 66: --drain-delay, in which connections are still taken."""

from __future__ import annotations

import signal

import pytest
from backend import echo
from rig import Rig, over_both
from support import dial, wait_until

pytestmark = over_both


def is_refused(address: str) -> bool:
    try:
        dial(address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_66_drain_delay_takes_connections(rig: Rig) -> None:
    """The delay has no end here: what comes in it is served, what was there goes on; a second signal ends it."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--drain-delay", "1h")
    early = rig.client(proxy)
    proxy.signal()
    record = proxy.wait("draining")
    assert (record["delay_ms"], record["connections"]) == (3600000, 1)
    for carrier in ("extension", "subprotocol", "plain"):
        late = rig.client(proxy, carrier)
        late.send(b"late")
        late.read_data(4)
        late.reset()
        proxy.wait_closed(late.name)
    early.send(b"early")
    early.fin()
    assert early.collect().close == 1000
    proxy.signal()
    proxy.check_exit(0)
    assert len(proxy.find("draining")) == 1


def test_66_drain_delay_ends(rig: Rig) -> None:
    """Then it is a drain like any other."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--drain-delay", "100ms", "--drain-timeout", "1h")
    client = rig.client(proxy)
    proxy.signal()
    wait_until(lambda: is_refused(proxy.address), "it still listens")
    client.send(b"after")
    client.fin()
    assert client.collect().close == 1000
    client.sock.close()
    proxy.check_exit(0)
    assert len(proxy.find("draining")) == 1


def test_66_drain_delay_refuses_who_is_still_shaking_hands(rig: Rig) -> None:
    """At its end, not at its beginning."""
    proxy = rig.proxy(rig.backend(), "--drain-delay", "1s", "--handshake-timeout", "1h")
    client = rig.dial(proxy)
    client.sock.sendall(b"GET / HTTP/1.1\r\n")
    proxy.signal()
    proxy.wait("draining")
    assert client.read_response().status == 503
    client.sock.close()
    proxy.check_exit(0)
    assert proxy.find("refused")[0]["cause"] == "shutdown"


def test_66_who_has_asked_for_nothing_is_told_nothing(rig: Rig) -> None:
    """A front would take it for the answer to what it asks next, perhaps of another."""
    proxy = rig.proxy(rig.backend(), "--handshake-timeout", "1h")
    client = rig.dial(proxy)
    rig.client(proxy).reset()  # so that the other one has been accepted, too
    proxy.signal()
    assert client.read_rest() == b""
    client.sock.close()
    proxy.check_exit(0)
    record = proxy.wait_refused(client.name)
    assert (record["cause"], "status" in record) == ("shutdown", False)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_66_no_delay_on_a_terminal(rig: Rig, first: signal.Signals) -> None:
    """SIGINT does not wait; nor does SIGTERM if nobody asked for it, and there is no status listener."""
    flags = ("--drain-delay", "1h") if first == signal.SIGINT else ()
    proxy = rig.proxy(rig.backend(), *flags)
    proxy.signal(first)
    assert proxy.wait("draining")["delay_ms"] == 0
    proxy.check_exit(0)


def test_66_second_signal_in_the_delay(rig: Rig) -> None:
    """SIGTERM, then SIGINT: now, and the open connection is broken."""
    backend = rig.backend()
    proxy = rig.proxy(backend, "--drain-delay", "1h", "--drain-timeout", "1h")
    client, connection = rig.pair(proxy, backend)
    proxy.signal()
    proxy.wait("draining")
    proxy.signal(signal.SIGINT)
    assert client.expect("close").number == 1001
    assert connection.wait_end() == "reset"
    client.sock.close()
    proxy.check_exit(0)


def test_66_delay_where_somebody_can_ask(rig: Rig) -> None:
    """With a status listener it is five seconds, unless said otherwise; /readyz says so at once."""
    for flags, delay_ms in (((), 5000), (("--drain-delay", "1h"), 3600000), (("--drain-delay", "0"), 0)):
        proxy = rig.proxy(rig.backend(), "--status", "127.0.0.1:0", *flags)
        status = str(proxy.wait("status")["address"])
        assert answer(status, "/readyz") == 200
        proxy.signal()
        assert proxy.wait("draining")["delay_ms"] == delay_ms
        if delay_ms > 5000:  # the others may be over by now
            assert (answer(status, "/readyz"), answer(status, "/livez")) == (503, 200)
        if delay_ms > 0:
            proxy.signal()
        proxy.check_exit(0)


def answer(address: str, path: str) -> int:
    with dial(address) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        return int(sock.makefile().readline().split()[1])
