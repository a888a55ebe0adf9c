"""What is sent: one long pattern, of which each direction of each connection has a stretch that begins somewhere
else. So a receiver knows each byte by its position and compares it, at the speed of memcmp; and a client
masks nothing, as there are masked copies of all of it.
"""

from __future__ import annotations

import random

LENGTH = 1 << 20  # then it begins again; a multiple of a mask's four bytes
PIECE_MAX = LENGTH  # what is sent or compared at a time

_once = random.Random(92).randbytes(LENGTH)
_twice = _once + _once
_view = memoryview(_twice)


def _mask(key: bytes) -> memoryview:
    n = int.from_bytes(_twice, "little") ^ int.from_bytes(key * (len(_twice) // 4), "little")
    return memoryview(n.to_bytes(len(_twice), "little"))


_masked = [(key + key, _mask(key)) for key in (b"\x5a\xc3\x01\xfe", b"\0\0\0\0", b"\x80\x00\xff\x7f")]


class Corrupt(AssertionError):
    """A byte is not what was sent at its place."""


class Stream:
    """One direction, as one of the ends sees it."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.count = 0  # bytes sent, or received and compared

    def _advance(self, n: int) -> int:
        at = (self.start + self.count) % LENGTH
        self.count += n
        return at

    def next(self, n: int) -> memoryview:
        """The next `n` bytes to send."""
        at = self._advance(n)
        return _view[at : at + n]

    def next_masked(self, n: int, which: int) -> tuple[bytes, memoryview]:
        """The same for a client: the masking key, and the bytes behind it."""
        key, masked = _masked[which % len(_masked)]
        at = self._advance(n)
        return key[at % 4 : at % 4 + 4], masked[at : at + n]

    def compare(self, data: memoryview) -> None:
        at = (self.start + self.count) % LENGTH
        if not _twice.startswith(data, at):
            expected = _view[at : at + len(data)]
            bad = next(i for i in range(len(data)) if data[i] != expected[i])
            raise Corrupt(f"byte {self.count + bad} is not what was sent there")
        self.count += len(data)
