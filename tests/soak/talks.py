"""What clients and backends do with each other, and what they count. Each talk is one connection (or one that is
refused); one coroutine drives both of its ends. A talk that sees what no proxy may do raises AssertionError.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ends import CARRIERS, HEAD_SIZE, BackendEnd, Client, Pipe, Wrong, connect, request
from pattern import LENGTH, Stream

KIB, MIB = 1024, 1024 * 1024
HALF_CLOSE_CARRIERS = CARRIERS[:2]
SOUND_ROUTES = ("tcp", "unix")  # each of their connections has a good end
SMALL_BUFFER = 64 * KIB


@dataclass
class Ledger:
    """What clients and backends have counted, to be compared with what the proxy says. By route."""

    opened: Counter[tuple[str, str]] = field(default_factory=Counter)  # and carrier
    good: Counter[str] = field(default_factory=Counter)
    up_sent: Counter[str] = field(default_factory=Counter)
    up_received: Counter[str] = field(default_factory=Counter)
    down_sent: Counter[str] = field(default_factory=Counter)
    down_received: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # and result
    abandoned: int = 0
    talks: Counter[str] = field(default_factory=Counter)  # by kind
    pings: int = 0


class Stage:
    """Where talks happen: the proxy's address, the backend's acceptors, the ledger."""

    def __init__(self, seed: int, patience: float, context: ssl.SSLContext | None) -> None:
        self.rng = random.Random(f"soak {seed}")
        self.patience = patience
        self.context = context
        self.proxy = ("127.0.0.1", 0)
        self.ledger = Ledger()
        self.waiting: dict[int, asyncio.Future[BackendEnd]] = {}
        self.strays = 0  # backends' connections that broke before they said whose they are
        self.scale = 1.0  # of large talks
        self._number = 0

    async def accept(self, listener: Any) -> None:
        """Until cancelled: takes the proxy's connections, and hands them to their talks."""
        loop = asyncio.get_running_loop()
        heads: set[asyncio.Task[None]] = set()
        while True:
            sock, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._greet(BackendEnd(Pipe(sock))))
            heads.add(task)
            task.add_done_callback(heads.discard)

    async def _greet(self, backend: BackendEnd) -> None:
        waiting = self.waiting.get(await backend.read_head())
        if waiting is None or waiting.done():
            self.strays += 1
            backend.pipe.reset()
        else:
            waiting.set_result(backend)

    @asynccontextmanager
    async def talk(
        self, route: str, carrier: str, *, rcvbuf: int = 0, piece: int = 0, pause: float = 0
    ) -> AsyncIterator[tuple[Client, BackendEnd]]:
        """A connection and both its ends, counted when it is over. `piece`, `pause`: of a request that
        comes slowly."""
        self._number += 1
        number, rng = self._number, random.Random(self.rng.random())
        starts = rng.randrange(LENGTH), rng.randrange(LENGTH)
        pipe = await connect(self.proxy, rcvbuf, self.context)
        client = Client(pipe, carrier, rng, Stream(starts[0]), Stream(starts[1]))
        backend: BackendEnd | None = None
        joined = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            status = await client.handshake(request(carrier, f"/{route}"), piece, pause)
            if status != 101:
                raise Wrong(f"status {status}")
            self.ledger.opened[route, carrier] += 1
            await client.send_head(b"%0*d\n" % (HEAD_SIZE - 1, number))
            backend = await joined
            backend.join(Stream(starts[0]), Stream(starts[1]))
            yield client, backend
        finally:
            del self.waiting[number]
            client.pipe.reset()
            self.ledger.pings += client.pings
            if backend is None and joined.done() and not joined.cancelled():
                joined.result().pipe.reset()
            if backend is not None:
                backend.pipe.reset()
                self.ledger.up_sent[route] += client.up.count
                self.ledger.up_received[route] += backend.up.count
                self.ledger.down_sent[route] += backend.down.count
                self.ledger.down_received[route] += client.down.count

    def check_good(self, route: str, client: Client, backend: BackendEnd) -> None:
        """Both ends have seen the other's, behind all its bytes."""
        if client.up.count != backend.up.count or client.down.count != backend.down.count:
            raise Wrong(f"up {client.up.count}, {backend.up.count}; down {backend.down.count}, {client.down.count}")
        if client.close_code != 1000:
            raise Wrong(f"Close {client.close_code}")
        self.ledger.good[route] += 1


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    """All at once; the first failure ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def after(seconds: float, job: Awaitable[None]) -> None:
    """A reader that stops for a while."""
    await asyncio.sleep(seconds)
    await job


# ---- good ends ----


async def exchange(
    client: Client, backend: BackendEnd, up: int, down: int, order: str, stalls: tuple[float, float] = (0, 0)
) -> None:
    """`up` and `down` bytes, then both ends. `order`: who ends first (client, backend), or cross. `stalls`: how
    long the backend and the client do not read at first."""

    async def send_up() -> None:
        await client.send_many(up)
        await client.finish()

    async def send_down() -> None:
        await backend.send_many(down)
        backend.finish()

    if client.carrier == "plain":
        total = client.up.count + up, backend.down.count + down
        if order != "backend":  # Close ends both directions for a client without half-close
            await together(backend.send_many(down), after(stalls[1], client.read_count(total[1])))
            await together(send_up(), after(stalls[0], backend.read_to_end()))
            backend.finish()
            await client.read_to_end()
        else:
            await together(client.send_many(up), after(stalls[0], backend.read_count(total[0])))
            await together(send_down(), after(stalls[1], client.read_to_end()), backend.read_to_end())
    elif order == "client":
        await together(send_up(), after(stalls[0], backend.read_to_end()))
        await together(send_down(), after(stalls[1], client.read_to_end()))
    elif order == "backend":
        await together(send_down(), after(stalls[1], client.read_fin()))
        await together(send_up(), after(stalls[0], backend.read_to_end()), client.read_to_end())
    else:
        await together(
            send_up(),
            send_down(),
            after(stalls[0], backend.read_to_end()),
            after(stalls[1], client.read_to_end()),
        )


def any_order(rng: random.Random) -> str:
    return rng.choice(("client", "backend", "cross"))


async def bulk(stage: Stage) -> None:
    rng = stage.rng
    route, carrier = rng.choice(SOUND_ROUTES), rng.choice(CARRIERS)
    size = int(rng.choice((1, 2, 4, 8)) * MIB * stage.scale) + rng.randrange(1000)
    up, down = rng.choice(((size, 0), (0, size), (size, size)))
    async with stage.talk(route, carrier) as (client, backend):
        if carrier != "plain" and rng.random() < 0.3:
            await client.open_window(rng.choice((100_000, MIB)))
        await exchange(client, backend, up, down, any_order(rng))
        stage.check_good(route, client, backend)


async def stall(stage: Stage) -> None:
    """More than all buffers hold, and a reader that begins late."""
    rng = stage.rng
    route, carrier = rng.choice(SOUND_ROUTES), rng.choice(CARRIERS)
    size = int((6 + rng.randrange(3)) * MIB * min(stage.scale, 1)) + 2 * MIB
    up, down = rng.choice(((size, 0), (0, size), (size, size)))
    stalls = (rng.uniform(0.5, 4) * min(stage.scale, 1), rng.uniform(0.5, 4) * min(stage.scale, 1))
    async with stage.talk(route, carrier, rcvbuf=SMALL_BUFFER) as (client, backend):
        await exchange(client, backend, up, down, any_order(rng), stalls)
        stage.check_good(route, client, backend)


async def trips(stage: Stage) -> None:
    rng = stage.rng
    route, carrier = rng.choice(SOUND_ROUTES), rng.choice(CARRIERS)
    async with stage.talk(route, carrier) as (client, backend):
        for _ in range(rng.randrange(10, 200)):
            await client.send(rng.randrange(1, 1000))
            await backend.read_count(client.up.count)
            await backend.send(rng.randrange(1, 3000))
            await client.read_count(backend.down.count)
        await exchange(client, backend, 0, 0, any_order(rng))
        stage.check_good(route, client, backend)


async def short(stage: Stage) -> None:
    """As short as can be."""
    rng = stage.rng
    route, carrier = rng.choice(SOUND_ROUTES), rng.choice(CARRIERS)
    async with stage.talk(route, carrier) as (client, backend):
        await exchange(client, backend, rng.randrange(200), rng.randrange(500), any_order(rng))
        stage.check_good(route, client, backend)


async def dribble(stage: Stage) -> None:
    """Byte by byte: the request, frames, what the backend says."""
    rng = stage.rng
    route, carrier = rng.choice(SOUND_ROUTES), rng.choice(CARRIERS)
    pause = 0.02 * min(stage.scale, 1)
    async with stage.talk(route, carrier, piece=16, pause=pause) as (client, backend):

        async def down() -> None:
            for _ in range(rng.randrange(40)):
                await backend.send(1)
                await asyncio.sleep(pause)

        await together(client.send_slowly(rng.randrange(1, 40), 1, pause), down())
        await exchange(client, backend, 0, 0, any_order(rng))
        stage.check_good(route, client, backend)


# ---- failures ----


@dataclass(frozen=True)
class Break:
    """One side goes at some point in the middle."""

    who: str  # client or backend
    how: str  # of a client; a backend has resets only
    carrier: str
    traffic: str  # idle, up, down, both
    ended: str | None  # who had ended in good order before, if anybody

    @staticmethod
    def choose(rng: random.Random) -> Break:
        carrier = rng.choice(CARRIERS)
        who = rng.choice(("client", "backend"))
        traffic = rng.choice(("idle", "up", "down", "both"))
        ended = rng.choice((None, None, "client", "backend")) if carrier != "plain" else None
        how = "reset"
        # A frame of which a part is missing would swallow what comes behind it.
        if who == "client" and (traffic in ("idle", "down") or ended == "client"):
            how = rng.choice(("reset", "fin", "close-1001", "close-4000", "unmasked", "too-much-said"))
        return Break(who, how, carrier, traffic, ended)

    async def end_one(self, client: Client, backend: BackendEnd) -> None:
        if self.ended == "client":
            await client.finish()
            await backend.read_to_end()
        elif self.ended == "backend":
            backend.finish()
            await client.read_fin()

    async def do(self, client: Client, backend: BackendEnd) -> None:
        """Nobody reads or sends there any more."""
        if self.who == "backend":
            backend.pipe.reset()
        elif self.how == "reset":
            client.pipe.reset()
        elif self.how == "fin":
            client.pipe.finish()
        elif self.how.startswith("close-"):
            await client.close_frame(int(self.how[6:]))
        elif self.how == "unmasked" or client.carrier == "plain" or client.has_ended:
            await client.pipe.send(b"\x82\x01x")
        else:
            await client.control(f"FIN {client.up.count + 1}")

    async def be_told(self, client: Client, backend: BackendEnd, reader: asyncio.Task[None]) -> None:
        """Until the other side knows. Behind a FIN a reset is seen only by who writes."""
        while not reader.done() and self.who == self.ended == "backend" and not client.pipe.is_broken:
            await asyncio.gather(client.send(1000), return_exceptions=True)
            await asyncio.sleep(0.01)
        while self.who == self.ended == "client" and not backend.pipe.is_broken:
            await asyncio.gather(backend.send(1000), return_exceptions=True)
            await asyncio.sleep(0.01)
        await reader

    def check(self, client: Client, backend: BackendEnd) -> None:
        if backend.got_end and not client.has_ended:
            raise Wrong(f"FIN at the backend at {backend.up.count} of {client.up.count}: {self}")
        if client.got_fin and not backend.has_ended:
            raise Wrong(f"FIN at the client at {client.down.count} of {backend.down.count}: {self}")
        if client.up.count < backend.up.count or backend.down.count < client.down.count:
            raise Wrong(f"more than was sent: {self}")


async def pump(send: Callable[[int], Awaitable[None]]) -> None:
    """As much as goes. What an error means is for the reader to say."""
    with suppress(OSError):
        for _ in range(64):
            await send(65536)


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def broken(stage: Stage) -> None:
    """The other side must see a failure, and that behind a prefix."""
    rng = stage.rng
    b = Break.choose(rng)
    async with stage.talk("broken", b.carrier, rcvbuf=rng.choice((0, SMALL_BUFFER))) as (client, backend):
        await b.end_one(client, backend)
        senders: dict[str, list[asyncio.Task[None]]] = {"client": [], "backend": []}
        if b.traffic in ("up", "both") and b.ended != "client":
            senders["client"].append(asyncio.create_task(pump(client.send)))
        if b.traffic in ("down", "both") and b.ended != "backend":
            senders["backend"].append(asyncio.create_task(pump(backend.send)))
        reads = client.read_to_break if b.who == "backend" else backend.read_to_break
        reader = asyncio.create_task(reads())
        try:
            await asyncio.sleep(rng.random() ** 3 * 0.2)
            await cancel(senders[b.who])
            await b.do(client, backend)
            if b.ended == b.who:
                await cancel(senders["client"] + senders["backend"])
            await b.be_told(client, backend, reader)
        finally:
            await cancel([*senders["client"], *senders["backend"], reader])
        b.check(client, backend)


REFUSALS = (  # carrier, path, change of the request, status, and (route, result) in the metrics
    ("extension", "none", None, 404, ("", "denied")),
    ("plain", "strict", None, 426, ("strict", "denied")),
    ("plain", "tcp", (b"Host: localhost\r\n", b""), 400, ("", "bad-handshake")),
    ("plain", "tcp", (b"GET ", b"POST "), 405, ("", "bad-handshake")),
    ("extension", "nowhere", None, 502, ("nowhere", "unreachable")),
    ("subprotocol", "nowhere", None, 101, ("nowhere", "ok")),  # a page cannot read statuses
)


async def refused(stage: Stage) -> None:
    carrier, path, change, status, counted = stage.rng.choice(REFUSALS)
    raw = request(carrier, f"/{path}")
    if change is not None:
        raw = raw.replace(*change)
    pipe = await connect(stage.proxy, 0, stage.context)
    client = Client(pipe, carrier, stage.rng, Stream(0), Stream(0))
    try:
        got = await client.handshake(raw)
        if got != status:
            raise Wrong(f"/{path}: status {got}, not {status}")
        if status == 101:
            stage.ledger.opened[path, carrier] += 1
            while await client.step() not in ("close", "eof"):
                pass
            if client.close_code != 4003:
                raise Wrong(f"/{path}: Close {client.close_code}")
        while await pipe.receive():
            pass
    finally:
        pipe.close()
    if status != 101:
        stage.ledger.refused[counted] += 1


async def abandoned(stage: Stage) -> None:
    """Somebody who never becomes a WebSocket."""
    rng = stage.rng
    raw = request("extension", "/tcp")
    pipe = await connect(stage.proxy, 0, stage.context)
    try:
        await pipe.send(raw[: rng.randrange(1, len(raw))])
        await asyncio.sleep(rng.random() * 0.05)
        if rng.random() < 0.5:
            pipe.finish()
            while await pipe.receive():
                pass
    except OSError:
        pass
    finally:
        pipe.reset()
    stage.ledger.abandoned += 1


# ---- half-closed, and quiet ----


class Idlers:
    """Connections that stay half-closed for all the time; of one half the client has ended, of the other half the
    backend. A few bytes come at times."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.failures: list[BaseException] = []
        self._ends: list[tuple[Client, BackendEnd]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = asyncio.Event()

    async def start(self, count: int) -> None:
        for i in range(count):
            ready = asyncio.Event()
            task = asyncio.create_task(self._live(i, ready))
            self._tasks.append(task)
            waiter = asyncio.create_task(ready.wait())
            await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            if task.done():
                task.result()

    async def _live(self, i: int, ready: asyncio.Event) -> None:
        async with self.stage.talk("idle", HALF_CLOSE_CARRIERS[i % 4 // 2]) as (client, backend):
            if i % 2:
                await client.finish()
                await backend.read_to_end()
            else:
                backend.finish()
                await client.read_fin()

            async def end() -> None:
                ready.set()
                self._ends.append((client, backend))
                await self._is_over.wait()
                if i % 2:
                    backend.finish()
                else:
                    await client.finish()

            try:
                await together(end(), client.read_to_end(), backend.read_to_end())
                self.stage.check_good("idle", client, backend)
            except (AssertionError, OSError) as failure:
                self.failures.append(failure)

    async def trickle(self) -> None:
        if self._ends:
            client, backend = self.stage.rng.choice(self._ends)
            n = self.stage.rng.randrange(1, 50)
            if client.has_ended:
                await backend.send(n)
            else:
                await client.send(n)

    async def finish(self) -> None:
        self._is_over.set()
        await asyncio.gather(*self._tasks)
        if self.failures:
            raise self.failures[0]


KINDS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    f.__name__: f for f in (bulk, stall, trips, short, dribble, broken, refused, abandoned)
}
