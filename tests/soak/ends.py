"""The two ends of a connection through the proxy, for asyncio: a WebSocket client and the backend's socket. They
share nothing with the program under test, compare every byte they get, and tell an end from a failure.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from contextlib import suppress

from pattern import PIECE_MAX, Stream

EXTENSION_NAME = "tidegate-half-close"
SUBPROTOCOL_NAME = "v1.tidegate"
CARRIERS = ("extension", "subprotocol", "plain")
TEXT, BINARY, CLOSE, PING, PONG, HALF_CLOSE = 0x1, 0x2, 0x8, 0x9, 0xA, 0xB
CONTROL_OPCODE = {"extension": HALF_CLOSE, "subprotocol": TEXT, "plain": -1}
READ_SIZE = 256 * 1024
HEAD_SIZE = 16  # of the up stream: which conversation this is
assert READ_SIZE <= PIECE_MAX


class Wrong(AssertionError):
    """What no proxy may do."""


class Pipe:
    """A socket. An error of it is an OSError, its end is b""."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.is_broken = False  # an error was seen; the kernel tells it once, and an end from then on
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> bytes:
        try:
            data = await self._loop.sock_recv(self.sock, READ_SIZE)
        except OSError:
            self.is_broken = True
            raise
        if not data:
            await asyncio.sleep(0)  # a sender that was told of it in this turn wakes in the next one
            if self.is_broken:
                raise ConnectionResetError
        return data

    async def send(self, data: bytes | memoryview) -> None:
        try:
            await self._loop.sock_sendall(self.sock, data)
        except OSError:
            self.is_broken = True
            raise

    def finish(self) -> None:
        """FIN. That a reset came first is told by reading."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.is_broken = True

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Nobody may be waiting for it."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.close()


class TlsPipe(Pipe):
    """A client's, over TLS."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._order = asyncio.Lock()

    async def _flush(self) -> None:
        async with self._order:
            if self._out.pending:
                await super().send(self._out.read())

    async def _fill(self) -> None:
        data = await super().receive()
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                return await self._flush()

    async def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError as failure:  # an OSError, too
                raise ConnectionResetError("no close_notify") from failure

    async def send(self, data: bytes | memoryview) -> None:
        self._tls.write(data)
        await self._flush()


async def connect(address: tuple[str, int], rcvbuf: int, context: ssl.SSLContext | None) -> Pipe:
    """`rcvbuf`: 0 for what the kernel likes."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        await asyncio.get_running_loop().sock_connect(sock, address)
        if context is None:
            return Pipe(sock)
        pipe = TlsPipe(sock, context)
        await pipe.shake_hands()
        return pipe
    except BaseException:
        sock.close()
        raise


def request(carrier: str, target: str) -> bytes:
    more = {
        "extension": f"Sec-WebSocket-Extensions: {EXTENSION_NAME}\r\n",
        "subprotocol": f"Sec-WebSocket-Protocol: {SUBPROTOCOL_NAME}\r\n",
        "plain": "",
    }[carrier]
    return (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    ).encode()


def frame_head(opcode: int, n: int) -> bytes:
    """Of a masked one; the key comes behind it."""
    if n < 126:
        return bytes((0x80 | opcode, 0x80 | n))
    if n < 65536:
        return struct.pack(">BBH", 0x80 | opcode, 0xFE, n)
    return struct.pack(">BBQ", 0x80 | opcode, 0xFF, n)


def small_frame(opcode: int, data: bytes) -> bytes:
    return frame_head(opcode, len(data)) + b"\0\0\0\0" + data


class Client:
    """A WebSocket of which the opening handshake is not done yet."""

    def __init__(self, pipe: Pipe, carrier: str, rng: random.Random, up: Stream, down: Stream) -> None:
        self.pipe = pipe
        self.carrier = carrier
        self.up, self.down = up, down
        self.has_ended = False  # its own stream
        self.got_fin = False
        self.close_code: int | None = None
        self.window = 0  # keeps WINDOW this far ahead of what has come; 0: no WINDOW
        self.pings = 0
        self._told = 0
        self._order = asyncio.Lock()  # of frames
        self._rng = rng
        self._buffer = b""
        self._at = 0
        self._left = 0  # of the data frame that is being read

    async def handshake(self, raw: bytes, piece: int = 0, pause: float = 0) -> int:
        """Sends the request, in pieces if asked, and reads the status."""
        for at in range(0, len(raw), piece or len(raw)):
            await self.pipe.send(raw[at : at + (piece or len(raw))])
            if piece:
                await asyncio.sleep(pause)
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            more = await self.pipe.receive()
            if not more:
                raise Wrong(f"end inside the answer's head: {self._buffer!r}")
            self._buffer += more
        head = self._buffer[:end].lower()
        self._buffer = self._buffer[end + 4 :]
        status = int(head.split(b" ", 2)[1])
        if status == 101:
            granted = (EXTENSION_NAME.encode() in head, SUBPROTOCOL_NAME.encode() in head)
            if granted != (self.carrier == "extension", self.carrier == "subprotocol"):
                raise Wrong(f"{self.carrier} was not granted: {head!r}")
        return status

    # ---- sending ----

    async def send_head(self, head: bytes) -> None:
        self.up.count += len(head)
        await self._send(small_frame(BINARY, head))

    async def _send(self, raw: bytes) -> None:
        async with self._order:
            await self.pipe.send(raw)

    async def send(self, n: int) -> None:
        """The next `n` bytes of its stream, one message."""
        key, data = self.up.next_masked(n, self._rng.randrange(8))
        await self._send(b"".join((frame_head(BINARY, n), key, data)))

    async def send_slowly(self, n: int, piece: int, pause: float) -> None:
        """One message, whose frame comes in pieces."""
        key, data = self.up.next_masked(n, self._rng.randrange(8))
        raw = b"".join((frame_head(BINARY, n), key, data))
        async with self._order:
            for at in range(0, len(raw), piece):
                await self.pipe.send(raw[at : at + piece])
                await asyncio.sleep(pause)

    async def send_many(self, n: int) -> None:
        while n > 0:
            size = min(n, self._rng.choice((50, 1000, 16384, 65536, 65536, 200_000)))
            await self.send(size)
            n -= size

    async def control(self, text: str) -> None:
        await self._send(small_frame(CONTROL_OPCODE[self.carrier], text.encode()))

    async def finish(self) -> None:
        """The end of its stream; on a plain connection Close, which is the end of the other one, too."""
        self.has_ended = True
        if self.carrier == "plain":
            await self.close_frame(1000)
        else:
            await self.control(f"FIN {self.up.count}")

    async def close_frame(self, code: int) -> None:
        await self._send(small_frame(CLOSE, struct.pack(">H", code)))

    # ---- receiving ----

    async def _more(self) -> bool:
        """False at the end, which must not be inside a frame."""
        data = await self.pipe.receive()
        rest = self._buffer[self._at :]
        if not data:
            if rest or self._left:
                raise Wrong("the end came inside a frame")
            return False
        self._buffer = rest + data if rest else data
        self._at = 0
        return True

    async def _need(self, n: int) -> bool:
        while len(self._buffer) - self._at < n:
            if not await self._more():
                return False
        return True

    async def step(self) -> str:
        """Takes some data, or one control frame; says which: data, window, fin, ping, close, or eof."""
        if self._left == 0:
            if not await self._need(2):
                return "eof"
            opcode, size, n = self._buffer[self._at] & 0x0F, 2, self._buffer[self._at + 1]
            if n >= 126:
                size = 4 if n == 126 else 10
                await self._need(size)
                n = int.from_bytes(self._buffer[self._at + 2 : self._at + size], "big")
            if opcode != BINARY:
                await self._need(size + n)
                data = self._buffer[self._at + size : self._at + size + n]
                self._at += size + n
                return await self._take_control(opcode, data)
            self._at += size
            self._left = n
            if self.got_fin or self.close_code is not None:
                raise Wrong("data behind the end")
        while self._left and self._at == len(self._buffer):
            if not await self._more():
                raise Wrong("the end came inside a frame")
        n = min(self._left, len(self._buffer) - self._at)
        self.down.compare(memoryview(self._buffer)[self._at : self._at + n])
        self._at += n
        self._left -= n
        if self.window and self.down.count + self.window // 2 > self._told:
            self._told = self.down.count + self.window
            await self._answer(small_frame(CONTROL_OPCODE[self.carrier], b"WINDOW %d" % self._told))
        return "data"

    async def _take_control(self, opcode: int, data: bytes) -> str:
        if opcode == PING:
            self.pings += 1
            await self._answer(small_frame(PONG, data))
            return "ping"
        if opcode == CLOSE:
            self.close_code = int.from_bytes(data[:2], "big") if data else 1005
            await self._answer(small_frame(CLOSE, data[:2]))
            return "close"
        if opcode != CONTROL_OPCODE[self.carrier]:
            raise Wrong(f"a frame with opcode {opcode}")
        word, number = data.decode().split(" ")
        if word == "WINDOW":
            return "window"
        if word != "FIN" or int(number) != self.down.count or self.got_fin:
            raise Wrong(f"{data!r} behind {self.down.count} bytes")
        self.got_fin = True
        return "fin"

    async def _answer(self, raw: bytes) -> None:
        """That nobody listens any more is told by reading."""
        with suppress(OSError):
            await self._send(raw)

    async def open_window(self, n: int) -> None:
        self.window = self._told = n
        await self.control(f"WINDOW {n}")

    async def read_count(self, count: int) -> None:
        """Until that much of the down stream has come, in all."""
        while self.down.count < count:
            if (kind := await self.step()) in ("fin", "close", "eof"):
                raise Wrong(f"{kind} {self.close_code} after {self.down.count} of {count} bytes")

    async def read_fin(self) -> None:
        while (kind := await self.step()) != "fin":
            if kind in ("close", "eof"):
                raise Wrong(f"{kind} {self.close_code} before FIN")

    async def read_to_end(self) -> None:
        """All, in good order."""
        while (kind := await self.step()) != "eof":
            if kind == "close" and (self.close_code != 1000 or not (self.got_fin or self.carrier == "plain")):
                raise Wrong(f"Close {self.close_code}")
        if self.close_code is None:
            raise Wrong("the transport ended without Close")

    async def read_to_break(self) -> None:
        """Anything but a good end."""
        try:
            while await self.step() != "eof":
                pass
        except OSError:
            pass
        if self.close_code == 1000:
            raise Wrong("a failure looks like an end: Close 1000")


class BackendEnd:
    """The other end of it."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.up = self.down = Stream(0)  # until it is known whose they are
        self.has_ended = False
        self.got_end = False
        self._rest = b""

    async def read_head(self) -> int:
        """Which conversation it is of; -1: it broke before saying so."""
        head = b""
        try:
            while len(head) < HEAD_SIZE:
                more = await self.pipe.receive()
                if not more:
                    return -1
                head += more
        except OSError:
            return -1
        self._rest = head[HEAD_SIZE:]
        return int(head[:HEAD_SIZE])

    def join(self, up: Stream, down: Stream) -> None:
        self.up, self.down = up, down
        up.count = HEAD_SIZE
        if self._rest:
            up.compare(memoryview(self._rest))

    async def send(self, n: int) -> None:
        await self.pipe.send(self.down.next(n))

    async def send_many(self, n: int) -> None:
        while n > 0:
            size = min(n, 131072)
            await self.send(size)
            n -= size

    def finish(self) -> None:
        self.has_ended = True
        self.pipe.finish()

    async def _step(self) -> bool:
        data = await self.pipe.receive()
        if not data:
            self.got_end = True
            return False
        self.up.compare(memoryview(data))
        return True

    async def read_count(self, count: int) -> None:
        while self.up.count < count:
            if not await self._step():
                raise Wrong(f"an end after {self.up.count} of {count} bytes")

    async def read_to_end(self) -> None:
        while not self.got_end and await self._step():
            pass

    async def read_to_break(self) -> None:
        """An end is for the caller to judge: `got_end`."""
        with suppress(OSError):
            await self.read_to_end()
