"""--max-lifetime: a connection that is old enough is broken, never ended, and the client told to come again."""

from __future__ import annotations

import pytest
from backend import Script, echo
from rig import Rig, over_both
from support import MIB, payload
from tunnel import local, start_tunnel
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS

pytestmark = over_both


@pytest.mark.parametrize("carrier", CARRIERS)
def test_lifetime_of_a_quiet_connection(rig: Rig, carrier: str) -> None:
    backend = rig.backend()
    proxy = rig.proxy(backend, "--max-lifetime", "500ms")
    client, connection = rig.pair(proxy, backend, carrier)
    client.send(b"before")
    close = client.expect("close")
    assert close.number == 1012
    assert connection.wait_end() == "reset"
    client.sock.close()
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["at"]) == ("lifetime", "proxy")
    assert record["duration_ms"] >= 450 and record["bytes_to_backend"] == 6


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_lifetime_of_a_half_closed_connection(rig: Rig, carrier: str) -> None:
    """The backend has seen an end, and now sees that it was not the end of all: a reset."""
    backend = rig.backend()
    proxy = rig.proxy(backend, "--max-lifetime", "1s", "--half-closed-timeout", "1h")
    client, connection = rig.pair(proxy, backend, carrier)
    client.fin()
    assert connection.wait_end() == "eof"
    assert client.expect("close").number == 1012
    client.sock.close()
    record = proxy.wait_closed(client.name)
    assert (record["cause"], record["first_end"]) == ("lifetime", "client")


def test_lifetime_in_a_stream(rig: Rig) -> None:
    """What a client has got by then is the beginning of what was sent."""
    data = payload(MIB, 5)

    def pour(connection: object) -> None:
        try:
            while True:
                connection.send(data)  # type: ignore[attr-defined]
        except OSError:
            pass

    script: Script = pour
    proxy = rig.proxy(rig.backend("tcp", script), "--max-lifetime", "500ms")
    client = rig.client(proxy)
    got = client.collect()
    assert got.close == 1012 and got.fin is None
    assert proxy.wait_closed(client.name)["cause"] == "lifetime"


def test_lifetime_at_a_tunnel(rig: Rig) -> None:
    """A local program sees a reset; the tunnel's record says why."""
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--max-lifetime", "1s")
    tunnel = start_tunnel(rig, proxy.address)
    program = local(rig, tunnel)
    assert program.wait_end() == "reset"
    record = tunnel.wait_closed()
    assert (record["cause"], record["native"]) == ("closed", 1012)
    assert proxy.wait_closed()["cause"] == "lifetime"


def test_no_lifetime_by_default_and_none_for_what_ends_before(rig: Rig) -> None:
    backend = rig.backend("tcp", echo)
    proxy = rig.proxy(backend, "--max-lifetime", "1h")
    client = rig.client(proxy)
    client.send(b"all")
    client.fin()
    assert client.collect().close == 1000
    client.sock.close()
    assert proxy.wait_closed()["cause"] == "ok"
