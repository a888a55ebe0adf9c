"""`tidegate tunnel`: to the programs at both ends it is a plain TCP connection."""

from __future__ import annotations

import array
import fcntl
import signal
import socket
import termios
import threading
import time

import pytest
from backend import BackendConnection, answer_at_end, echo
from proxy import Proxy
from rig import Rig, over_both, over_ws
from support import MIB, PATIENCE, count_sockets, cpu_seconds, is_sanitized, payload, resident_bytes, sha256, wait_until
from tunnel import Tunnel, local, local_end, start_tunnel
from wsclient import HALF_CLOSE_CARRIERS
from wsserver import WsPeer, peer, scripted_server

pytestmark = over_both

UP, DOWN = payload(MIB, 110), payload(3 * MIB, 111)

both_carriers = pytest.mark.parametrize("carrier", HALF_CLOSE_CARRIERS)


def through(rig: Rig, *flags: str) -> tuple[Proxy, Tunnel, BackendConnection, BackendConnection]:
    """Proxy, tunnel, and both ends of a connection through them that is open for certain."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    tunnel = start_tunnel(rig, proxy.address, *flags)
    program, connection = local(rig, tunnel), backend.accept()
    program.send(b"+")
    connection.read_some(1)
    return proxy, tunnel, program, connection


def scripted(rig: Rig, carrier: str, *flags: str) -> tuple[Tunnel, BackendConnection, WsPeer]:
    """A tunnel to a server that the test plays, open."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, *flags)
    program, far = local(rig, tunnel), peer(server)
    far.open(carrier)
    program.send(b"+")
    assert far.read_data(1) == b"+"
    return tunnel, program, far


def wait_unread(program: BackendConnection, count: int) -> None:
    """Until so much is in its kernel, not read."""
    waiting = array.array("i", [0])

    def has_come() -> bool:
        fcntl.ioctl(program.sock, termios.FIONREAD, waiting)
        return waiting[0] >= count

    wait_until(has_come, f"{count} unread bytes")


# ---- ends ----


def test_34_local_program_ends_first(rig: Rig) -> None:
    backend = rig.backend("tcp", answer_at_end(DOWN))
    proxy = rig.proxy(backend)
    tunnel = start_tunnel(rig, proxy.address)
    program = local(rig, tunnel)
    program.send(UP)
    program.finish()
    assert program.read_to_end() == "eof"
    assert program.digest == sha256(DOWN)
    connection = backend.accept()
    assert (connection.end, connection.digest) == ("eof", sha256(UP))
    program.close()
    for record, first in ((proxy.wait_closed(), "client"), (tunnel.wait("closed"), "local")):
        assert (record["cause"], record["first_end"], record["carrier"]) == ("ok", first, "extension")
    assert (record["bytes_to_server"], record["bytes_to_local"]) == (len(UP), len(DOWN))
    assert record["server"] == tunnel.url or record["server"] in tunnel.url


def test_35_backend_ends_first(rig: Rig) -> None:
    """What the local program sends afterwards, seconds later even, arrives."""
    proxy, tunnel, program, connection = through(rig)
    connection.send(DOWN)
    connection.finish()
    assert program.read_to_end() == "eof"
    assert program.digest == sha256(DOWN)
    connection.read_in_background()
    time.sleep(0.5)
    program.send(UP)
    program.finish()
    assert connection.wait_end() == "eof"
    assert (connection.count, connection.digest) == (1 + len(UP), sha256(b"+" + UP))
    record = tunnel.wait("closed")
    assert (record["cause"], record["first_end"]) == ("ok", "server")
    assert record["half_closed_ms"] >= 500


@pytest.mark.parametrize("who", ["local", "backend", "both"])
def test_37_nothing_but_ends(rig: Rig, who: str) -> None:
    backend = rig.backend()
    tunnel = start_tunnel(rig, rig.proxy(backend).address)
    program, connection = local(rig, tunnel), backend.accept()
    if who in ("local", "both"):
        program.finish()
    if who in ("backend", "both"):
        connection.finish()
    if who == "local":
        assert connection.wait_end() == "eof"
        connection.finish()
    if who == "backend":
        assert program.wait_end() == "eof"
        program.finish()
    assert (program.wait_end(), connection.wait_end()) == ("eof", "eof")
    assert tunnel.wait("closed")["cause"] == "ok"


@both_carriers
def test_34_on_the_wire(rig: Rig, carrier: str) -> None:
    """FIN with the count, behind the data; Close 1000 comes from the server, and is answered."""
    tunnel, program, far = scripted(rig, carrier)
    program.send(b"question")
    program.finish()
    assert far.read_control() == "FIN 9"
    assert far.received == b"+question"
    far.send(b"answer")
    far.fin()
    assert program.read_to_end() == "eof"
    assert program.kept == b"answer"
    far.close_frame(1000)
    assert far.read_close() == 1000
    far.connection.close()
    record = tunnel.wait("closed")
    assert (record["cause"], record["carrier"], record["first_end"]) == ("ok", carrier, "local")


def test_54_many_at_once(rig: Rig) -> None:
    """40 connections echo 200 kB each, both ways at the same time."""
    backend = rig.backend("tcp", echo)
    tunnel = start_tunnel(rig, rig.proxy(backend).address)
    data = payload(200_000, 112)
    programs = [local(rig, tunnel) for _ in range(40)]
    for program in programs:
        program.read_in_background()
        program.send_in_background(data, program.finish)
    for program in programs:
        assert program.wait_end() == "eof"
        assert program.digest == sha256(data)
    for _ in programs:
        assert tunnel.wait("closed")["cause"] == "ok"


# ---- failures ----


@pytest.mark.parametrize("how", ["reset", "close with unread data"])
def test_44_local_program_breaks_off(rig: Rig, how: str) -> None:
    """No clean end for the backend, whatever was sent before; that still arrives."""
    proxy, tunnel, program, connection = through(rig)
    connection.read_in_background()
    program.send(b"half a message")
    connection.wait_count(15)
    connection.send(b"never read")
    wait_unread(program, 10)
    program.reset() if how == "reset" else program.close()
    assert connection.wait_end() == "reset"
    assert connection.count == 15
    record = tunnel.wait("closed")
    assert (record["cause"], record["at"]) == ("reset", "local")
    assert "first_end" not in record
    assert proxy.wait_closed()["cause"] == "closed"


@both_carriers
@pytest.mark.parametrize("how", ["reset", "close with unread data"])
def test_44_on_the_wire(rig: Rig, carrier: str, how: str) -> None:
    _, program, far = scripted(rig, carrier)
    far.send(b"never read")
    wait_unread(program, 10)
    program.reset() if how == "reset" else program.close()
    assert far.read_close() == 4000


def test_44_local_program_closes_during_a_download(rig: Rig) -> None:
    """The backend's send fails: nobody may take the rest for delivered."""
    _, tunnel, program, connection = through(rig)
    connection.sock.settimeout(PATIENCE)
    failed = threading.Event()

    def flood() -> None:
        try:
            while True:
                connection.send(DOWN)
        except ConnectionError:
            failed.set()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    while program.count < MIB:
        program.read_some()
    program.close()
    assert failed.wait(PATIENCE)
    thread.join()
    assert tunnel.wait("closed")["cause"] == "reset"


def test_48_backend_resets(rig: Rig) -> None:
    """What it had sent comes first."""
    proxy, tunnel, program, connection = through(rig)
    connection.send(b"last words")
    connection.reset()
    assert program.wait_end() == "reset"
    assert program.kept == b"last words"
    assert proxy.wait_closed()["cause"] == "reset"
    record = tunnel.wait("closed")
    assert (record["cause"], record["at"], record["native"]) == ("closed", "server", 4000)


@both_carriers
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4000, 4005, 4999])
def test_49_server_closes(rig: Rig, carrier: str, code: int) -> None:
    """A Close of any code before both are complete is a reset, behind what came before."""
    tunnel, program, far = scripted(rig, carrier)
    far.send(b"first")
    far.close_frame(code)
    assert program.wait_end() == "reset"
    assert program.kept == b"first"
    record = tunnel.wait("closed")
    assert (record["cause"], record["native"]) == ("closed", code)


@both_carriers
@pytest.mark.parametrize("how", ["fin", "reset", "fin inside a frame"])
def test_46_server_lost(rig: Rig, carrier: str, how: str) -> None:
    tunnel, program, far = scripted(rig, carrier)
    far.send(b"first")
    program.read_in_background()
    program.wait_count(5)
    if how == "fin inside a frame":
        far.raw(b"\x82\x7e\x00")
    far.connection.reset() if how == "reset" else far.connection.finish()
    assert program.wait_end() == "reset"
    assert tunnel.wait("closed")["cause"] in ("lost", "reset")


@both_carriers
def test_46_lost_between_both_ends(rig: Rig, carrier: str) -> None:
    """The server's stream is complete and the local program's is not: its end was told, its writes fail."""
    _, program, far = scripted(rig, carrier)
    far.send(b"all of it")
    far.fin()
    assert program.read_to_end() == "eof"
    far.connection.reset()
    assert program.wait_broken() in ("EPIPE", "ECONNRESET")


@both_carriers
@pytest.mark.parametrize("wrong", ["FIN 4", "FIN 6", "FIN", "FIN 5x", "FIN 05", "Frob 1", "FIN 5\0"])
def test_39_wrong_control(rig: Rig, carrier: str, wrong: str) -> None:
    tunnel, program, far = scripted(rig, carrier)
    far.send(b"12345")
    far.control(wrong)
    assert program.wait_end() == "reset"
    assert far.read_close() == (4002 if wrong in ("FIN 4", "FIN 6") else 4001)
    assert tunnel.wait("closed")["cause"] in ("truncated", "half-close-violation")


@both_carriers
def test_39_data_behind_fin(rig: Rig, carrier: str) -> None:
    """The end was told when it came; what follows breaks the other direction."""
    _, program, far = scripted(rig, carrier)
    far.fin()
    assert program.wait_end() == "eof"
    far.send(b"more")
    assert far.read_close() == 4001
    assert program.wait_broken() in ("EPIPE", "ECONNRESET")


def test_50_proxy_killed_during_a_download(rig: Rig) -> None:
    """A local program must not take the part that came for the whole."""
    proxy, tunnel, program, connection = through(rig)
    connection.send_in_background(DOWN * 20)
    while program.count < MIB:
        program.read_some()
    proxy.kill()
    rig.proxies.remove(proxy)
    assert program.read_to_end() == "reset"
    assert tunnel.wait("closed")["cause"] in ("lost", "reset")


def test_62_silent_server(rig: Rig) -> None:
    """It answers no ping: the local program is told."""
    tunnel, program, far = scripted(rig, "extension", "--ping-interval", "100ms", "--ping-timeout", "300ms")
    assert program.wait_end() == "reset"
    assert tunnel.wait("closed")["cause"] == "ping-timeout"
    assert far.read_message()[0] == "9"


@both_carriers
def test_window_is_kept(rig: Rig, carrier: str) -> None:
    """A server that cannot stop reading its socket says how much it takes."""
    server = scripted_server(rig)
    program = local(rig, start_tunnel(rig, server.address))
    far = peer(server)
    far.open(carrier)
    far.control("WINDOW 1000")
    far.send(b"go")
    program.read_some(2)
    program.send_in_background(UP, program.finish)
    assert far.read_data(1000) == UP[:1000]
    far.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        far.read_frame()
    far.sock.settimeout(PATIENCE)
    far.control(f"WINDOW {len(UP)}")
    assert far.read_control() == f"FIN {len(UP)}"
    assert sha256(far.received) == sha256(UP)


# ---- before the WebSocket is open ----


@both_carriers
def test_88_data_and_end_before_it_is_open(rig: Rig, carrier: str) -> None:
    server = scripted_server(rig)
    program = local(rig, start_tunnel(rig, server.address))
    program.send(b"early ")
    program.send(b"bird")
    program.finish()
    far = peer(server)
    request = far.read_head()
    time.sleep(0.1)  # for both to be there before the answer
    far.carrier = carrier
    far.raw(far.response(request, carrier))
    assert far.read_control() == "FIN 10"
    assert far.received == b"early bird"
    far.send(b"worm")
    far.fin()
    far.close_frame(1000)
    assert program.read_to_end() == "eof"
    assert program.kept == b"worm"


def test_88_end_alone_before_it_is_open(rig: Rig) -> None:
    server = scripted_server(rig)
    program = local(rig, start_tunnel(rig, server.address))
    program.finish()
    far = peer(server)
    far.open("extension")
    assert far.read_control() == "FIN 0"


def test_88_what_is_kept_is_bounded(rig: Rig) -> None:
    """A program that sends 40 MB meanwhile is stopped; afterwards all of it arrives."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address)
    before = resident_bytes(tunnel.pid)
    program, far = local(rig, tunnel), peer(server)
    request = far.read_head()
    data = payload(40 * MIB, 113)
    program.send_in_background(data, program.finish)

    def is_blocked() -> bool:
        outgoing = array.array("i", [0])
        fcntl.ioctl(program.sock, termios.TIOCOUTQ, outgoing)
        return outgoing[0] > 0

    wait_until(is_blocked, "the local program is stopped")
    time.sleep(0.2)
    if not is_sanitized():
        assert resident_bytes(tunnel.pid) - before < 2 * MIB
    far.carrier = "extension"
    far.raw(far.response(request, "extension"))
    pieces, total = [], 0
    while total < len(data):
        opcode, piece, _ = far.read_frame()
        assert opcode in (0, 2)
        pieces.append(piece)
        total += len(piece)
    assert sha256(b"".join(pieces)) == sha256(data)
    assert far.read_control() == f"FIN {len(data)}"


def test_frames_in_the_segment_of_the_101(rig: Rig) -> None:
    """Checklist 10, seen from the client."""
    server = scripted_server(rig)
    program = local(rig, start_tunnel(rig, server.address))
    far = peer(server)
    far.open("extension", b"\x82\x06banner" + b"\x8b\x05FIN 6")
    assert program.wait_end() == "eof"
    assert program.kept == b"banner"


@pytest.mark.parametrize("after", ["nothing", "data", "data and its end"])
def test_a_local_program_that_goes_cancels_the_dial(rig: Rig, after: str) -> None:
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address)
    program, far = local(rig, tunnel), peer(server)
    far.read_head()
    if after != "nothing":
        program.send(b"data")
    program.reset()
    far.expect_end()
    record = tunnel.wait_failed()
    assert record["at"] == "local" and record["cause"] in ("reset", "closed")


def test_a_local_program_that_goes_ends_the_retries(rig: Rig, unused_tcp_address: str) -> None:
    tunnel = start_tunnel(rig, unused_tcp_address, "--retry", "1h")
    program = local(rig, tunnel)
    time.sleep(0.2)
    program.reset()
    assert tunnel.wait_failed()["at"] == "local"


# ---- the server is gone ----


@over_ws
def test_89_server_gone_and_back(rig: Rig) -> None:
    """Refused at once, again and again, without work in between; and served when it is back."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        tunnel = start_tunnel(rig, f"127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(20):
            begun = time.monotonic()
            assert local_end(rig, tunnel) == "reset"
            assert time.monotonic() - begun < 2
            record = tunnel.wait_failed()
            assert (record["cause"], record["at"]) == ("unreachable", "server")
        used = cpu_seconds(tunnel.pid)
        time.sleep(1)  # the subject of the test: what it does meanwhile
        assert cpu_seconds(tunnel.pid) - used < 0.1
        tunnel.wait_idle()
        listener.listen()
        listener.settimeout(PATIENCE)
        program = local(rig, tunnel)
        far = WsPeer(BackendConnection(listener.accept()[0]))
        far.open("extension")
        program.send(b"hello")
        assert far.read_data(5) == b"hello"
        far.connection.reset()
        assert program.wait_end() == "reset"


@over_ws
def test_89_retry_waits_without_work(rig: Rig, unused_tcp_address: str) -> None:
    tunnel = start_tunnel(rig, unused_tcp_address, "--retry", "1500ms")
    begun = time.monotonic()
    program = local(rig, tunnel)
    program.send(b"kept meanwhile")
    used = cpu_seconds(tunnel.pid)
    assert program.wait_end() == "reset"
    assert time.monotonic() - begun < 10
    assert cpu_seconds(tunnel.pid) - used < 0.3
    tunnel.wait_failed()


@over_ws
def test_retry_until_the_server_is_there(rig: Rig) -> None:
    """And what was sent meanwhile arrives, once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        tunnel = start_tunnel(rig, f"127.0.0.1:{listener.getsockname()[1]}", "--retry", "1h")
        program = local(rig, tunnel)
        program.send(b"kept")
        program.finish()
        time.sleep(0.3)
        listener.listen()
        listener.settimeout(PATIENCE)
        far = WsPeer(BackendConnection(listener.accept()[0]))
        far.open("extension")
        assert far.read_control() == "FIN 4"
        assert far.received == b"kept"
        far.connection.reset()


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_retry_after_a_refusal_that_passes(rig: Rig, status: str) -> None:
    server = scripted_server(rig)
    program = local(rig, start_tunnel(rig, server.address, "--retry", "3"))
    program.send(b"once")
    first = peer(server)
    first.read_head()
    first.raw(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    first.connection.close()
    far = peer(server)
    far.open("extension")
    assert far.read_data(4) == b"once"


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"])
def test_no_retry_after_a_refusal_that_stays(rig: Rig, status: str) -> None:
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, "--retry", "5")
    program, far = local(rig, tunnel), peer(server)
    far.read_head()
    far.raw(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    assert program.wait_end() == "reset"
    assert tunnel.wait_failed()["status"] == int(status[:3])
    server.expect_none()


def test_connect_timeout(rig: Rig) -> None:
    """A server that takes the connection and says nothing."""
    server = scripted_server(rig)
    tunnel = start_tunnel(rig, server.address, "--connect-timeout", "300ms")
    program, far = local(rig, tunnel), peer(server)
    assert program.wait_end() == "reset"
    assert tunnel.wait_failed()["at"] == "server"
    far.expect_end()


# ---- listening, limits, lifecycle ----


def test_unix_and_several_listeners(rig: Rig) -> None:
    backend = rig.backend("tcp", answer_at_end(b"answer"))
    proxy = rig.proxy(backend)
    path = f"unix:{rig.directory}/tunnel.sock"
    tunnel = start_tunnel(rig, proxy.address, listen=("127.0.0.1:0", "127.0.0.1:0", path))
    assert len(set(tunnel.addresses)) == 3 and path in tunnel.addresses
    for address in tunnel.addresses:
        program = local(rig, address)
        program.send(b"question")
        program.finish()
        assert program.read_to_end() == "eof"
        assert program.kept == b"answer"
        program.close()
        assert tunnel.wait("closed")["cause"] == "ok"


def test_max_connections(rig: Rig) -> None:
    """Those beyond are reset; a slot comes back when a connection ends."""
    backend = rig.backend()
    tunnel = start_tunnel(rig, rig.proxy(backend).address, "--max-connections", "2")
    held = [local(rig, tunnel) for _ in range(2)]
    for program in held:
        connection = backend.accept()
        connection.send(b"+")
    for program in held:
        program.read_some(1)
    assert local_end(rig, tunnel) == "reset"
    assert tunnel.wait_failed()["cause"] == "limit"
    held[0].reset()
    tunnel.wait("closed")
    wait_until(lambda: count_sockets(tunnel.pid) <= 3, "the listener's and the other one's descriptors only")
    again = local(rig, tunnel)
    backend.accept().send(b"+")
    assert again.read_some(1)


def test_66_sigterm(rig: Rig) -> None:
    """Open connections may end; the rest is reset, not ended, when the time is up."""
    backend = rig.backend()
    proxy = rig.proxy(backend)
    tunnel = start_tunnel(rig, proxy.address, "--drain-timeout", "1s")
    ends = []
    for _ in range(2):
        program, connection = local(rig, tunnel), backend.accept()
        connection.send(b"+")
        program.read_some(1)
        ends.append((program, connection))
    tunnel.signal(signal.SIGTERM)
    assert tunnel.wait("draining")["connections"] == 2
    (ending, far), (staying, other) = ends
    ending.send(b"the rest")
    ending.finish()
    assert far.wait_end() == "eof" and far.kept == b"the rest"
    far.send(b"ok")
    far.finish()
    assert ending.read_to_end() == "eof"
    assert (staying.wait_end(), other.wait_end()) == ("reset", "reset")
    assert tunnel.wait_exit() == 0


@both_carriers
def test_66_server_shuts_down(rig: Rig, carrier: str) -> None:
    """Checklist 66 from the other side: Close 1001 is a reset."""
    if carrier == "extension":
        proxy, tunnel, program, connection = through(rig)
        proxy.signal(signal.SIGTERM)
        proxy.wait("draining")
        proxy.signal(signal.SIGTERM)  # does not wait
        assert (program.wait_end(), connection.wait_end()) == ("reset", "reset")
    else:
        tunnel, program, far = scripted(rig, carrier)
        far.close_frame(1001)
        assert program.wait_end() == "reset"
    assert (record := tunnel.wait("closed"))["native"] == 1001 and record["cause"] == "closed"


def test_60_churn(rig: Rig) -> None:
    """300 short connections of every kind; the rig checks the descriptors at the end."""
    backend = rig.backend("tcp", echo)
    tunnel = start_tunnel(rig, rig.proxy(backend).address)
    for i in range(300):
        program = local(rig, tunnel)
        if i % 4 == 0:
            program.reset()
            continue
        program.send(b"x" * i)
        if i % 4 == 1:
            program.close()
            continue
        program.finish()
        if i % 4 == 2:
            assert program.read_to_end() == "eof"
            assert program.count == i
        program.close()
    tunnel.wait_idle()
