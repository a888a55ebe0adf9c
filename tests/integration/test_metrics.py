"""What /metrics counts, compared with what was done to the proxy. Checklist 63."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import threading
import time
from pathlib import Path

import config
import pytest
from backend import BackendConnection, echo
from certificates import certificates
from proxy import Proxy
from rig import Rig, one_worker, over_both, over_wss
from status import FLAGS, Status, watch, watched
from support import KIB, MIB, payload, wait_until
from wsclient import CARRIERS, HALF_CLOSE_CARRIERS, WsClient, request

ROOT = Path(__file__).resolve().parent.parent.parent
DIRECTION = {"client": "to_backend", "backend": "to_client"}  # by the side where it begins


def opened(rig: Rig, carrier: str, *flags: str) -> tuple[Proxy, Status, WsClient, BackendConnection]:
    backend = rig.backend()
    proxy, status = watched(rig, backend, *flags)
    client, connection = rig.pair(proxy, backend, carrier)
    return proxy, status, client, connection


def end(side: str, client: WsClient, connection: BackendConnection) -> None:
    if side == "client":
        client.fin()
    else:
        connection.finish()


# ---- the documents ----


def test_every_metric_is_documented(rig: Rig) -> None:
    """docs/metrics.md has one row for each: name, type, labels."""
    backend = rig.backend()
    proxy, status = watched(rig, backend, *certificates().serve_flags())
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE
    )
    documented = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(documented) == len(rows)
    # Something of everything: causes that never came have no sample.
    bare = rig.dial_bare(proxy)
    bare.raw(b"GET / HTTP/1.1\r\n\r\n")
    proxy.wait("refused")
    with ssl.create_default_context(cafile=certificates().ca).wrap_socket(
        rig.dial_bare(proxy).sock, server_hostname="localhost"
    ) as sock:
        client = WsClient(sock, "extension")  # type: ignore[arg-type]
        client.handshake()
        backend.accept().reset()
        client.collect()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.types == {name: kind for name, (kind, _) in documented.items()}
    for (name, labels), _ in metrics.samples.items():
        family = name if name in documented else re.sub("_(bucket|sum|count)$", "", name)
        assert {k for k, _ in labels} - {"le"} == documented[family][1], name
    sampled = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in metrics.samples} | {
        name for name, _ in metrics.samples
    }
    assert set(documented) <= sampled


# ---- ends ----


@over_both
@pytest.mark.parametrize("first", ["client", "backend"])
@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_half_closes(rig: Rig, carrier: str, first: str) -> None:
    """Now, while it is half-closed, and afterwards."""
    proxy, status, client, connection = opened(rig, carrier)
    second = "backend" if first == "client" else "client"
    client.collect_in_background()
    connection.read_in_background()
    before = status.metrics()
    assert before.get("tidegate_connections_active", route="default") == 1
    assert before.get("tidegate_half_closed_connections") == 0
    end(first, client, connection)
    status.wait(1, "tidegate_half_closed_connections", route="default", open=DIRECTION[second])
    during = status.metrics()
    assert during.get("tidegate_half_closed_connections", open=DIRECTION[first]) == 0
    assert during.get("tidegate_half_closes_total", first_end=first, carrier=carrier) == 1
    assert during.get("tidegate_half_closes_total") == 1
    assert during.get("tidegate_half_closed_duration_seconds_count") == 0
    end(second, client, connection)
    assert client.wait_collected().close == 1000
    client.sock.close()
    record = proxy.wait_closed()
    after = status.metrics()
    assert after.get("tidegate_half_closes_total", first_end=first, carrier=carrier) == 1
    assert after.get("tidegate_half_closes_total") == 1
    assert after.get("tidegate_half_closed_connections") == 0
    assert after.get("tidegate_half_closed_duration_seconds_count") == 1
    assert after.get("tidegate_half_closed_duration_seconds_sum") == record["half_closed_ms"] / 1000
    assert after.get("tidegate_connections_active") == 0
    assert after.get("tidegate_connections_closed_total", cause="ok", at="proxy") == 1
    assert after.get("tidegate_connections_closed_total") == 1
    assert after.get("tidegate_connection_duration_seconds_count", route="default") == 1
    assert after.get("tidegate_truncated_streams_total") == 0


def test_half_close_that_a_plain_client_cannot_hear(rig: Rig) -> None:
    proxy, status, client, connection = opened(rig, "plain")
    connection.finish()
    assert client.collect().close == 1000
    client.sock.close()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_half_closes_total", first_end="backend", carrier="plain") == 1
    assert metrics.get("tidegate_connections_opened_total", carrier="plain") == 1
    assert metrics.get("tidegate_connections_opened_total") == 1


@over_both
@pytest.mark.parametrize("side", ["client", "backend"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_reset(rig: Rig, carrier: str, side: str) -> None:
    """Both directions are cut, and neither is half-closed."""
    proxy, status, client, connection = opened(rig, carrier)
    if side == "client":
        client.reset()
    else:
        connection.reset()
        client.collect()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_connections_closed_total", cause="reset", at=side) == 1
    assert metrics.get("tidegate_connections_closed_total") == 1
    for direction in DIRECTION.values():
        assert metrics.get("tidegate_truncated_streams_total", direction=direction, cause="reset") == 1
    assert metrics.get("tidegate_truncated_streams_total") == 2
    assert metrics.get("tidegate_half_closes_total") == 0


@pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)
def test_truncation_of_one_direction(rig: Rig, carrier: str) -> None:
    """The upload was whole; only the answer is lost."""
    proxy, status, client, connection = opened(rig, carrier)
    client.send(b"question")
    client.fin()
    assert connection.wait_end() == "eof"
    status.wait(1, "tidegate_half_closed_connections", open="to_client")
    wait_until(lambda: status.connection(client.name)["to_backend"]["state"] == "complete", "the upload is whole")
    connection.send(b"half an ans")
    client.read_data(11)
    connection.reset()
    assert client.read_until("close").number == 4000
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_truncated_streams_total", direction="to_client", cause="reset") == 1
    assert metrics.get("tidegate_truncated_streams_total") == 1
    assert metrics.get("tidegate_half_closed_connections") == 0
    assert metrics.get("tidegate_half_closed_duration_seconds_count") == 1


def test_truncated_upload(rig: Rig) -> None:
    """The client says that more was sent than has come."""
    proxy, status, client, connection = opened(rig, "extension")
    client.send(b"12345")
    client.fin(6)
    assert connection.wait_end() == "reset"
    client.collect()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_connections_closed_total", cause="truncated", at="client") == 1
    assert metrics.get("tidegate_truncated_streams_total", direction="to_backend", cause="truncated") == 1
    assert metrics.get("tidegate_half_closes_total") == 0


# ---- data ----


@over_both
def test_bytes_of_an_open_connection(rig: Rig) -> None:
    """They are told before it ends, and once."""
    proxy, status, client, connection = opened(rig, "extension")
    client.send(payload(300 * KIB, 1))
    connection.read_in_background()
    connection.wait_count(300 * KIB)
    connection.send(payload(70 * KIB, 2))
    client.read_data(70 * KIB)
    for _ in range(2):
        metrics = status.metrics()
        assert metrics.get("tidegate_bytes_total", direction="to_backend") == 300 * KIB
        assert metrics.get("tidegate_bytes_total", direction="to_client") == 70 * KIB
    seen = status.connection(client.name)
    assert (seen["to_backend"]["bytes"], seen["to_client"]["bytes"]) == (300 * KIB, 70 * KIB)
    client.send(b"x")
    connection.wait_count(300 * KIB + 1)
    client.reset()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_bytes_total", direction="to_backend") == 300 * KIB + 1
    assert metrics.get("tidegate_bytes_total", direction="to_client") == 70 * KIB


@over_both
@pytest.mark.parametrize("slow", ["client", "backend"])
def test_stalled_receiver(rig: Rig, slow: str) -> None:
    """What waits for it, and that its sender was paused; all of it gone when it reads on."""
    backend = rig.backend(rcvbuf=4096)
    proxy, status = watched(rig, backend)
    client, connection = rig.pair(proxy, backend, "extension", rcvbuf=4096)
    way, other = ("to_client", "to_backend") if slow == "client" else ("to_backend", "to_client")
    size = 32 * MIB
    if slow == "client":
        connection.send_in_background(payload(MIB, 3) * 32, then=connection.finish)
    else:
        client.collect_in_background()
        sender = connection_sender(client, payload(MIB, 3) * 32)

    def is_paused() -> bool:
        seen = status.connection(client.name)
        return bool(seen[way]["is_paused"]) and seen[way]["buffered_bytes"] > 0

    wait_until(is_paused, "the sender is paused")
    metrics = status.metrics()
    assert metrics.get("tidegate_backpressure_pauses_total", direction=way) >= 1
    assert metrics.get("tidegate_backpressure_pauses_total", direction=other) == 0
    assert 0 < metrics.get("tidegate_buffered_bytes", direction=way) < 16 * MIB
    assert metrics.get("tidegate_buffered_bytes", direction=other) == 0
    assert metrics.get("tidegate_bytes_total", direction=way) < size
    if slow == "client":
        client.read_data(size)
    else:
        connection.read_in_background()
        connection.wait_count(size, 60)
        sender.join()
    status.wait(0, "tidegate_buffered_bytes")
    assert status.value("tidegate_bytes_total", direction=way) == size


def connection_sender(client: WsClient, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=client.send, args=(data,), daemon=True)
    thread.start()
    return thread


# ---- openings ----


def test_handshakes(rig: Rig) -> None:
    """By route and result; what is under way."""
    backend = rig.backend()
    proxy = config.serve(
        rig,
        {
            "routes": [
                {"name": "good", "path": "/good", "backend": [backend.address]},
                {"name": "shut", "path": "/shut", "backend": [backend.address], "allow-from": ["192.0.2.0/24"]},
            ]
        },
        *FLAGS,
    )
    status = watch(proxy)
    for target, expected in (("/good", 101), ("/shut", 403), ("/none", 404)):
        client = rig.dial(proxy.address)
        client.raw(request(target=target))
        assert client.read_response().status == expected
    client = rig.dial(proxy.address)
    client.raw(request(method="POST"))
    assert client.read_response().status == 405
    silent = rig.dial(proxy.address)
    status.wait(1, "tidegate_handshakes_in_progress")
    metrics = status.metrics()
    assert metrics.get("tidegate_handshakes_total", route="good", result="ok") == 1
    assert metrics.get("tidegate_handshakes_total", route="shut", result="denied") == 1
    assert metrics.get("tidegate_handshakes_total", route="", result="denied") == 1
    assert metrics.get("tidegate_handshakes_total", route="", result="bad-handshake") == 1
    assert metrics.get("tidegate_handshakes_total") == 4
    assert metrics.get("tidegate_connections_opened_total", route="good") == 1
    assert metrics.get("tidegate_connections_opened_total") == 1
    silent.shutdown()
    status.wait(1, "tidegate_handshakes_total", route="", result="closed")
    assert status.value("tidegate_handshakes_in_progress") == 0


@over_wss
def test_tls_handshakes(rig: Rig) -> None:
    backend = rig.backend()
    proxy, status = watched(rig, backend)
    rig.pair(proxy, backend)
    bare = rig.dial_bare(proxy)
    bare.raw(b"no TLS at all, and long enough to see that\r\n\r\n")
    proxy.wait("refused")
    metrics = status.metrics()
    assert metrics.get("tidegate_tls_handshakes_total", result="ok") == 1
    assert metrics.get("tidegate_tls_handshakes_total", result="tls-failed") == 1
    assert metrics.get("tidegate_handshakes_total", result="ok") == 1
    assert metrics.get("tidegate_handshakes_total", result="tls-failed") == 1


@over_wss
def test_certificates(rig: Rig) -> None:
    """The same time as openssl reads, and of the reloaded one after a reload."""
    proxy, status = watched(rig, rig.backend())

    def expiry(file: str) -> float:
        text = subprocess.check_output(["openssl", "x509", "-noout", "-enddate", "-in", file], text=True)
        return float(ssl.cert_time_to_seconds(text.strip().removeprefix("notAfter=")))

    cert = certificates().cert
    assert status.value("tidegate_certificate_not_after_timestamp_seconds", file=cert) == expiry(cert)


def test_backend_that_cannot_be_had(rig: Rig, unused_tcp_address: str) -> None:
    proxy, status = watched(rig, unused_tcp_address)
    for carrier in ("extension", "subprotocol"):
        client = rig.dial(proxy, carrier)
        client.raw(request(carrier))
        assert client.read_response().status == (502 if carrier == "extension" else 101)
        proxy.wait_any("refused", "closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_backend_connect_errors_total", cause="unreachable") == 2
    assert metrics.get("tidegate_backend_connect_errors_total") == 2
    assert metrics.get("tidegate_backend_connect_duration_seconds_count") == 0
    assert metrics.get("tidegate_handshakes_total", result="unreachable") == 1
    # The subprotocol has it told in a Close, behind 101.
    assert metrics.get("tidegate_connections_closed_total", cause="unreachable", at="backend") == 1
    assert metrics.get("tidegate_connections_active") == 0


def test_backend_that_another_one_stands_in_for(rig: Rig, unused_tcp_address: str) -> None:
    backend = rig.backend(script=echo)
    proxy, status = watched(rig, unused_tcp_address, "--backend", backend.address)
    for _ in range(3):
        client = rig.client(proxy)
        client.fin()
        assert client.collect().close == 1000
    metrics = status.metrics()
    assert metrics.get("tidegate_backend_connect_errors_total", cause="unreachable") == 1
    assert metrics.get("tidegate_backend_connect_duration_seconds_count") == 3


def test_limits(rig: Rig) -> None:
    backend = rig.backend()
    proxy, status = watched(rig, backend, "--max-connections", "2")
    rig.pair(proxy, backend)
    rig.dial(proxy)
    status.wait(1, "tidegate_handshakes_in_progress")
    assert rig.dial(proxy).read_response().status == 503  # above --max-connections
    metrics = status.metrics()
    assert metrics.get("tidegate_connections_limit") == 2
    assert metrics.get("tidegate_limit_rejections_total", limit="connections") == 1
    assert metrics.get("tidegate_limit_rejections_total", limit="handshakes") == 0
    assert metrics.get("tidegate_handshakes_total", route="", result="limit") == 1


@one_worker
def test_limit_of_handshakes(rig: Rig) -> None:
    proxy, status = watched(rig, rig.backend(), "--max-handshakes", "1")
    silent = rig.dial(proxy)
    status.wait(1, "tidegate_handshakes_in_progress")
    rig.dial(proxy)
    assert silent.read_response().status == 503
    assert status.value("tidegate_limit_rejections_total", limit="handshakes") == 1
    assert status.value("tidegate_limit_rejections_total") == 1


# ---- the configuration ----


def test_counters_outlive_a_reload(rig: Rig) -> None:
    """By the name of the route, wherever it leads to; one that has gone keeps what it had."""
    backend = rig.backend()
    old = {"name": "old", "path": "/old", "backend": [backend.address]}
    kept = {"name": "kept", "path": "/kept", "backend": [backend.address]}
    fresh = {"name": "fresh", "path": "/fresh", "backend": [backend.address]}
    proxy = config.serve(rig, {"routes": [old, kept]}, *FLAGS)
    status = watch(proxy)

    def use(path: str) -> WsClient:
        client = rig.dial(proxy.address)
        client.raw(request(target=path))
        assert client.read_response().status == 101
        return client

    staying = use("/old")
    use("/kept")
    first = status.metrics()
    read_at = first.get("tidegate_config_last_reload_success_timestamp_seconds")
    assert read_at > 1_700_000_000
    config.write(rig, {"linger": "2s", "routes": [{**kept, "path": "/kept/elsewhere"}, fresh]})
    proxy.signal(signal.SIGHUP)
    proxy.wait("reloaded")
    use("/kept/elsewhere")
    metrics = status.metrics()
    assert metrics.get("tidegate_connections_opened_total", route="kept") == 2
    assert metrics.get("tidegate_connections_active", route="old") == 1
    assert ("tidegate_connections_active", frozenset({("route", "fresh")})) in metrics.samples
    assert metrics.get("tidegate_config_last_reload_successful") == 1
    assert metrics.get("tidegate_config_last_reload_success_timestamp_seconds") > read_at
    read_at = metrics.get("tidegate_config_last_reload_success_timestamp_seconds")
    (rig.directory / "tidegate.yaml").write_text("nonsense: 1\n")
    proxy.signal(signal.SIGHUP)
    proxy.wait("not reloaded")
    staying.reset()
    proxy.wait("closed")
    metrics = status.metrics()
    assert metrics.get("tidegate_config_last_reload_successful") == 0
    assert metrics.get("tidegate_config_last_reload_success_timestamp_seconds") == read_at
    assert metrics.get("tidegate_connections_closed_total", route="old", cause="reset") == 1
    assert metrics.get("tidegate_connections_active", route="old") == 0


# ---- the process ----


@one_worker
def test_process(rig: Rig) -> None:
    """What the kernel shows to anybody else, too."""
    proxy, status = watched(rig, rig.backend())
    stat = Path(f"/proc/{proxy.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    metrics = status.metrics()
    assert metrics.get("process_threads") == int(stat[17])
    assert metrics.get("process_virtual_memory_bytes") > 0
    assert metrics.get("process_resident_memory_bytes") > MIB
    limits = Path(f"/proc/{proxy.pid}/limits").read_text()
    most = re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)
    assert most and metrics.get("process_max_fds") == int(most[1])
    # One more than at rest: the connection that asked; libuv has /dev/null open since.
    assert len(proxy.idle_files) < metrics.get("process_open_fds") <= len(proxy.idle_files) + 3
    again = status.metrics()
    assert again.get("process_start_time_seconds") == metrics.get("process_start_time_seconds")
    assert again.get("process_cpu_seconds_total") >= metrics.get("process_cpu_seconds_total")
    assert again.get("tidegate_build_info") == 1


def test_lag_of_the_loop(rig: Rig) -> None:
    """A proxy that was not allowed to run is late."""
    proxy, status = watched(rig, rig.backend())

    def late() -> float:
        metrics = status.metrics()
        name = "tidegate_loop_lag_seconds"
        return metrics.get(f"{name}_count") - metrics.get(f"{name}_bucket", le="0.5")

    before = late()
    with proxy.held_up():
        time.sleep(1.5)  # no waiting for anything: it is not to run for so long
    wait_until(lambda: late() > before, "the lag is counted")


def test_60_armed_timers_go_with_their_connections(rig: Rig) -> None:
    """The status port has some of its own while it answers: those are the same each time."""
    backend = rig.backend()
    proxy, status = watched(rig, backend)
    at_rest = status.value("tidegate_deadlines")
    assert at_rest > 0
    client, connection = rig.pair(proxy, backend)
    assert status.value("tidegate_deadlines") > at_rest
    client.fin()
    connection.read_to_end()
    assert status.value("tidegate_deadlines") > at_rest
    connection.finish()
    client.collect()
    client.drop()
    proxy.wait_closed(client.name)
    status.wait(at_rest, "tidegate_deadlines")
