"""What a connection can lead through on its way from client to server."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from certificates import certificates
from proxy import Program, Proxy
from support import free_port, wait_until
from tunnel import Tunnel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "interop"))

from fronts import Front, find  # noqa: E402
from services import is_listening  # noqa: E402

# Both ends' receive buffer. One unread byte holds the whole segment that brought it, and that can close a
# window which the kernel sizes by itself.
RCVBUF = 212992
HAPROXY_TCP = """
global
    maxconn 512
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen relay
    bind 127.0.0.1:{port}
    server s {backend}
"""


__all__ = ["RCVBUF", "WAYS", "Direct", "Listener", "Way", "find"]


class Way(Protocol):
    """A way to the server at the end of it."""

    address: str

    def finish(self) -> None:
        """Ends it; raises AssertionError if a process has died or kept a descriptor."""

    def kill(self) -> None: ...


class Direct:
    def __init__(self, backend: str, _: Path) -> None:
        self.address = backend

    def finish(self) -> None:
        pass

    def kill(self) -> None:
        pass


class Pair:
    """Tunnel and proxy, with nginx between them if wanted."""

    front = ""
    front_extra = ""
    scheme = "ws"
    proxy_flags: tuple[str, ...] = ()
    tunnel_flags: tuple[str, ...] = ()

    def __init__(self, backend: str, folder: Path) -> None:
        self.programs: list[Program] = []
        self.fronts: list[Front] = []
        try:
            self.programs.append(Proxy(backend, *self.proxy_flags))
            server = self.programs[0].address
            if self.front:
                self.fronts.append(Front(self.front, server, folder, self.front_extra))
                server = self.fronts[0].address
            self.programs.append(Tunnel(f"{self.scheme}://{server}/", *self.tunnel_flags))
        except BaseException:
            self.kill()
            raise
        self.address = self.programs[1].address

    def finish(self) -> None:
        try:
            for program in self.programs:
                assert program.process.poll() is None, f"died:\n{program.lines[-30:]}"
            for program in reversed(self.programs):
                program.finish()
        finally:
            self.kill()

    def kill(self) -> None:
        for program in self.programs:
            program.kill()
        for front in self.fronts:
            front.stop()


class PairOverWss(Pair):
    scheme = "wss"

    def __init__(self, backend: str, folder: Path) -> None:
        self.proxy_flags = tuple(certificates().serve_flags())
        self.tunnel_flags = ("--ca-file", certificates().ca)
        super().__init__(backend, folder)


class PairThroughNginx(Pair):
    front = "nginx"


class PairThroughNginxSubprotocol(Pair):
    """nginx takes the extension out of the request, so the subprotocol carries the ends."""

    front = "nginx"
    front_extra = 'proxy_set_header Sec-WebSocket-Extensions "";'


class OtherRelay:
    """A relay of another make, to see how it fares."""

    def __init__(self, backend: str, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(self.command(port, backend, folder), stderr=subprocess.DEVNULL)
        wait_until(self.is_up, self.address)

    def command(self, port: int, backend: str, folder: Path) -> list[str]:
        raise NotImplementedError

    def is_up(self) -> bool:
        assert self.process.poll() is None, "it ended"
        return is_listening(int(self.address.partition(":")[2]))

    def finish(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.terminate()
        self.process.wait()


class Socat(OtherRelay):
    def command(self, port: int, backend: str, folder: Path) -> list[str]:
        listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"
        return ["socat", "-t", "30", listen, f"TCP:{backend}"]


class Haproxy(OtherRelay):
    def command(self, port: int, backend: str, folder: Path) -> list[str]:
        config = folder / "haproxy"
        config.write_text(HAPROXY_TCP.format(port=port, backend=backend))
        return ["/usr/sbin/haproxy", "-db", "-f", str(config)]


WAYS: dict[str, type[Direct | Pair | OtherRelay]] = {
    "plain": Direct,
    "tidegate": Pair,
    "wss": PairOverWss,
    "nginx": PairThroughNginx,
    "nginx-subprotocol": PairThroughNginxSubprotocol,
    "socat": Socat,
    "haproxy": Haproxy,
}


class Listener:
    """The server's port, used by one script at a time."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.sock.settimeout(10)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def empty(self) -> None:
        """Throws away what another script, or a look whether a relay is up, has left behind."""
        self.sock.settimeout(0)
        try:
            while True:
                self.sock.accept()[0].close()
        except BlockingIOError:
            self.sock.settimeout(10)
