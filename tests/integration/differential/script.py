"""Scripts for the two ends of one TCP connection, and the rules under which plain TCP itself gives
the same trace every time.

A script is a list of steps in one order. Each end takes its own steps, in that order, at its own speed; only the
waiting steps (meet, landed, arrive, wait-reset) tie one end to the other. Data and ends alone need no
ties: reads block, so the trace cannot depend on speed. A reset does: it overtakes what the kernel has not sent yet,
and an error is told once, to whoever calls first. So the model below allows a reset only when all that
must come before it has come (or is so little that it was sent at once), and afterwards only steps whose outcome TCP
fixes.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import NamedTuple

SMALL = 24 * 1024  # unread bytes that any receive buffer takes, whatever its owner does
BIG = 1024 * 1024
HUGE = 12 * BIG  # more than all the kernels' buffers on the way hold: the sender is stopped, and goes on
SIDES = ("client", "server")

MEANING = {
    "send": "send n bytes",
    "end": "shutdown(SHUT_WR)",
    "read": "read n bytes",
    "slow": "read n bytes, in small pieces and with pauses",
    "drain": "read to the end (n: in pieces of n, with pauses)",
    "swap": "both: send n (the server: m) and read the other's at the same time",
    "pause": "wait n milliseconds",
    "meet": "wait until the peer has done its steps so far (or reads to the end, or floods)",
    "landed": "wait until all that was sent, the end too, is in the peer's kernel",
    "arrive": "wait until all that the peer has sent, its end too, is in this kernel",
    "wait-reset": "wait until the kernel knows of the reset",
    "broken": "write until that fails",
    "flood": "write without limit until that fails",
    "reset": "close with a reset (n: in the middle of what is sent)",
    "close": "close; a reset if there is unread data",
}


class Step(NamedTuple):
    side: str  # client, server; swap: both
    op: str
    n: int = 0
    m: int = 0

    def __str__(self) -> str:
        numbers = " ".join(str(x) for x in (self.n, self.m) if x)
        return f"{self.side:6} {self.op} {numbers}".rstrip()


class InvalidScript(Exception):
    """A script whose trace plain TCP does not fix, or which would hang."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidScript(what)


@dataclass
class End:
    """What the model knows of one end after the steps so far."""

    sent: int = 0
    read: int = 0
    steps: int = 0
    met: int = 0  # so many of the peer's steps are known to be done
    has_ended: bool = False
    has_drained: bool = False  # took the step; it blocks until the peer has ended or gone
    is_flooding: bool = False
    is_open: bool = False  # the path is known to be open from end to end
    knows_reset: bool = False
    has_broken: bool = False  # saw its writes fail
    landed: tuple[int, bool] = (0, False)  # what of sent, has_ended is known to be at the peer
    arrived: int = -1
    gone: str = ""  # "fin" or "reset": what its close was to the peer


@dataclass
class Planned:
    """A step with what the waiting ones wait for."""

    index: int
    step: Step
    count: int = 0  # bytes, or steps of the peer
    has_end: bool = False  # with the end behind the bytes
    may_block: bool = False  # meet: the last of the peer's steps need only have begun


@dataclass
class Model:
    client: End = field(default_factory=End)
    server: End = field(default_factory=End)
    must_read: str = ""  # the side whose step comes next, because the other blocks in a big send
    is_lossy: bool = False  # a reset may have destroyed data: the peer sees a prefix

    def ends(self, side: str) -> tuple[End, End]:
        return (self.client, self.server) if side == "client" else (self.server, self.client)

    def apply(self, step: Step, index: int = 0) -> dict[str, Planned]:
        """Takes the step, or raises InvalidScript."""
        planned = Planned(index, step)
        if step.op == "swap":
            self._swap(step)
            return {side: copy.copy(planned) for side in SIDES}
        me, peer = self.ends(step.side)
        require(not me.gone, "gone")
        require(not me.is_flooding or peer.gone == "reset", "floods until a reset")
        require(not me.has_drained or peer.has_ended or peer.gone != "", "reads until an end")
        is_reading = step.op in ("read", "slow", "drain")
        require(not self.must_read or (self.must_read == step.side and is_reading), "the peer blocks")
        require(not self.is_lossy or step.op in ("pause", "drain"), "how much is left is not fixed")
        getattr(self, "_" + step.op.replace("-", "_"))(step, me, peer, planned)
        if me.sent - peer.read <= SMALL and peer.sent - me.read <= SMALL or is_reading and me.has_drained:
            self.must_read = ""
        me.steps += 1
        return {step.side: planned}

    def finish(self) -> None:
        require(not self.must_read, "a big send that nobody reads")
        for me, peer in ((self.client, self.server), (self.server, self.client)):
            require(not me.is_flooding or peer.gone == "reset", "a flood without a reset")

    # ---- the steps ----

    def _swap(self, step: Step) -> None:
        for me in (self.client, self.server):
            require(not (me.gone or me.has_ended or me.is_flooding or me.has_drained), "cannot swap")
        require(not self.must_read, "the peer blocks")
        for me, n, m in ((self.client, step.n, step.m), (self.server, step.m, step.n)):
            me.sent += n
            me.read += m
            me.steps += 1
            me.is_open = me.is_open or m > 0

    def _may_write(self, me: End, peer: End) -> None:
        require(not me.has_ended, "has ended")
        if peer.gone == "reset":
            require(not peer.has_ended, "after an end, a reset is told late: broken")
            require(me.knows_reset or me.has_drained, "when the reset is known is not fixed")

    def _send(self, step: Step, me: End, peer: End, _: Planned) -> None:
        require(step.n > 0, "nothing")
        self._may_write(me, peer)
        require(peer.gone != "fin", "which write fails first is not fixed: broken")
        if peer.gone == "reset":
            require(step.n <= SMALL, "too much")
            me.has_broken = True
            return
        me.sent += step.n
        if me.sent - peer.read > SMALL and not peer.has_drained:
            self.must_read = "server" if peer is self.server else "client"

    def _end(self, _: Step, me: End, peer: End, __: Planned) -> None:
        self._may_write(me, peer)
        require(not me.has_broken, "broken")
        me.has_ended = True

    def _read(self, step: Step, me: End, peer: End, _: Planned) -> None:
        require(not me.has_drained and step.n > 0, "has drained")
        limit = HUGE if peer.is_flooding else peer.sent - me.read
        require(step.n <= limit, "not sent yet")
        require(not self.must_read or limit - step.n <= SMALL, "the peer still blocks")
        me.read += step.n
        me.is_open = True

    def _slow(self, step: Step, me: End, peer: End, planned: Planned) -> None:
        self._read(step, me, peer, planned)

    def _drain(self, _: Step, me: End, peer: End, __: Planned) -> None:
        require(not me.has_drained and not peer.is_flooding, "has drained")
        has_end = me.has_ended or peer.has_ended or peer.gone != ""
        require(not peer.has_drained or has_end, "each waits for the other's end")
        me.has_drained = True
        self.must_read = ""

    def _pause(self, *_: object) -> None:
        pass

    def _meet(self, _: Step, me: End, peer: End, planned: Planned) -> None:
        me.met = planned.count = peer.steps
        planned.may_block = peer.is_flooding or (peer.has_drained and not me.has_ended)

    def _landed(self, _: Step, me: End, peer: End, planned: Planned) -> None:
        require(not peer.gone, "nobody there")
        me.landed = planned.count, planned.has_end = me.sent, me.has_ended
        me.is_open = me.is_open or me.sent > 0

    def _arrive(self, _: Step, me: End, peer: End, planned: Planned) -> None:
        require(not me.has_drained, "has read it")
        me.arrived = planned.count = me.read + 1 if peer.is_flooding else peer.sent
        planned.has_end = peer.has_ended or peer.gone == "fin"
        me.is_open = me.is_open or peer.sent > 0 or peer.is_flooding

    def _wait_reset(self, _: Step, me: End, peer: End, __: Planned) -> None:
        require(peer.gone == "reset" and not peer.has_ended, "no reset, or it is told late")
        require(not (me.has_drained or me.has_broken or me.is_flooding), "has been told")
        me.knows_reset = True

    def _broken(self, _: Step, me: End, peer: End, __: Planned) -> None:
        require(peer.gone != "" and not me.has_ended, "not broken")
        require(me.met == peer.steps, "the peer may still be there")
        require(me.has_drained or peer.sent - me.read <= SMALL, "would destroy what is on the way")
        me.has_broken = True

    def _flood(self, _: Step, me: End, peer: End, __: Planned) -> None:
        require(not (me.has_ended or peer.gone or peer.has_drained), "no flood")
        me.is_flooding = True

    def _leave(self, me: End, peer: End, how: str) -> None:
        require(me.met == peer.steps, "the peer may be at any step")
        require(me.is_open or me is self.server, "the connection is not open for certain")
        me.gone = how

    def _is_on_its_way(self, me: End, peer: End) -> None:
        """What was sent will come before a reset."""
        is_little = me.sent - max(me.landed[0], peer.read) <= SMALL
        require(is_little or me.landed == (me.sent, me.has_ended) or peer.gone != "", "not landed")

    def _reset(self, step: Step, me: End, peer: End, _: Planned) -> None:
        if step.n:
            require(peer.has_drained and not me.has_ended, "nobody reads")
            self.is_lossy = not peer.gone
        else:
            self._is_on_its_way(me, peer)
        self._leave(me, peer, "reset")

    def _close(self, _: Step, me: End, peer: End, __: Planned) -> None:
        if me.has_drained or (me.read == peer.sent and not peer.is_flooding):
            return self._leave(me, peer, "fin")
        require(me.arrived >= (me.read + 1 if peer.is_flooding else peer.sent), "not arrived")
        self._is_on_its_way(me, peer)
        return self._leave(me, peer, "fin" if me.has_ended and peer.has_ended else "reset")


@dataclass
class Script:
    steps: list[Step]
    name: str = ""

    def plan(self) -> dict[str, list[Planned]]:
        """Each side's steps. Raises InvalidScript."""
        model = Model()
        plans: dict[str, list[Planned]] = {side: [] for side in SIDES}
        for index, step in enumerate(self.steps):
            for side, planned in model.apply(step, index).items():
                plans[side].append(planned)
        model.finish()
        return plans

    def lossy_side(self) -> str | None:
        """The side of which only a prefix arrives."""
        return next((s.side for s in self.steps if s.op == "reset" and s.n), None)

    def is_valid(self) -> bool:
        try:
            self.plan()
        except InvalidScript:
            return False
        return True

    def __str__(self) -> str:
        return "\n".join(f"  {i:2} {step}" for i, step in enumerate(self.steps))


# ---- making them ----


def _size(rng: random.Random) -> int:
    return rng.choice((1, rng.randrange(1, 100), rng.randrange(100, 2000), rng.randrange(2000, 12000)))


def _some_step(rng: random.Random, model: Model) -> list[Step]:
    """A step, or a few that belong together, of those that need no luck to be allowed."""
    side, other = rng.choice((SIDES, SIDES[::-1]))
    me, peer = model.ends(side)
    unread = peer.sent - me.read
    kind = rng.choices(
        ("send", "big", "read", "slow", "swap", "end", "drain", "pause", "meet", "landed", "arrive"),
        (8, 2, 6, 2, 2, 3, 2, 1, 1, 1, 1),
    )[0]
    if kind == "send":
        return [Step(side, "send", _size(rng))]
    if kind == "big":
        n = rng.randrange(SMALL, rng.choice((BIG, BIG, BIG, HUGE)))
        all_of_it = me.sent + n - peer.read
        reading = rng.choice((Step(other, "read", all_of_it), Step(other, "slow", all_of_it), Step(other, "drain")))
        return [Step(side, "send", n), reading]
    if kind in ("read", "slow"):
        return [Step(side, kind, rng.choice((unread, rng.randrange(1, unread + 1))))] if unread else []
    if kind == "swap":
        top = rng.choice((2000, 2000, BIG, HUGE // 4))
        return [Step("both", "swap", rng.randrange(1, top), rng.randrange(1, top))]
    if kind == "drain":
        return [Step(side, "drain", rng.choice((0, 0, 100, 5000)))]
    return [Step(side, kind, rng.randrange(1, 15) if kind == "pause" else 0)]


def _some_leaving(rng: random.Random, model: Model) -> list[Step]:
    """One side goes: after everything, in the middle of something, or in a hurry."""
    side, other = rng.choice((SIDES, SIDES[::-1]))
    me, peer = model.ends(side)
    unread = peer.sent - me.read
    steps = [] if me.is_open else [Step("both", "swap", rng.randrange(1, 100), rng.randrange(1, 100))]
    kind = rng.choice(("reset", "close", "close", "unread", "flood", "flood", "lossy"))
    last = Step(side, "reset")
    if kind == "close":
        steps += [Step(side, rng.choice(("read", "slow")), unread)] if unread else []
        last = Step(side, "close")
    elif kind == "unread":
        steps += [Step(other, "send", _size(rng)), Step(side, "arrive")]
        last = Step(side, "close")
    elif kind == "flood":
        steps += [Step(other, "flood"), *([Step(side, "read", rng.randrange(1, rng.choice((BIG, HUGE))))] if rng.random() < 0.6 else [])]
        steps += [Step(side, "arrive")]
        last = Step(side, rng.choice(("close", "reset")))
    elif kind == "lossy":
        size = rng.choice((_size(rng), rng.randrange(1, BIG)))
        return [*steps, Step(other, "drain", rng.choice((0, 1000))), Step(side, "send", size), Step(side, "meet"), Step(side, "reset", 1)]
    if rng.random() < 0.3 and kind == "reset":
        steps.append(Step(other, "drain"))
    if rng.random() < 0.5:
        return [*steps, Step(side, "send", _size(rng)), Step(side, "meet"), last]
    return [*steps, Step(side, "landed"), Step(side, "meet"), last]


def _some_aftermath(rng: random.Random, model: Model) -> list[Step]:
    """What the other one does then."""
    side = "client" if model.server.gone else "server"
    if model.ends(side)[1].gone == "reset" and rng.random() < 0.3:
        return [Step(side, "wait-reset")]
    kind = rng.choice(("send", "read", "slow", "drain", "broken", "broken", "end", "arrive", "pause"))
    me, peer = model.ends(side)
    unread = peer.sent - me.read
    if kind in ("read", "slow"):
        return [Step(side, kind, unread)] if unread else []
    if kind == "broken":
        return [Step(side, "meet"), Step(side, "broken")]
    return [Step(side, kind, {"send": _size(rng), "pause": rng.randrange(1, 10)}.get(kind, 0))]


def generate(seed: int, number: int) -> Script:
    """Script `number` of a seed: always the same one."""
    rng = random.Random(f"differential {seed} {number}")
    script = Script([], f"{seed}:{number}")
    model = Model()

    def grow(steps: list[Step]) -> bool:
        nonlocal model
        trial = copy.deepcopy(model)
        try:
            for step in steps:
                trial.apply(step)
        except InvalidScript:
            return False
        if trial.must_read:
            return False
        model = trial
        script.steps += steps
        return bool(steps)

    for _ in range(rng.randrange(2, 16)):
        grow(_some_step(rng, model))
    if rng.random() < 0.7:
        for _ in range(20):
            if grow(_some_leaving(rng, model)):
                break
        if model.client.gone or model.server.gone:
            for _ in range(rng.randrange(0, 12)):
                grow(_some_aftermath(rng, model))
    script.plan()  # a contract: what is made here is valid
    return script
