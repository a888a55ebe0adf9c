"""What an echo endpoint must do with what it is sent: one table for both roles, out of RFC 6455.

A case is what is sent, what must come back (whole messages and pongs, in order), and the code of the
Close that must end it: the answer to ours, or, if the endpoint has to fail the connection, its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from conformance_wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KINDS,
    NO_CODE,
    PING,
    PONG,
    TEXT,
    Frame,
    close_frame,
)

PROTOCOL_ERROR, NOT_UTF8 = 1002, 1007


@dataclass(frozen=True)
class Case:
    name: str
    send: list[Frame]
    expect: list[tuple[str, bytes]] = field(default_factory=list)
    code: int = 1000
    unfinished: bytes = b""  # a beginning of this may have been echoed when the connection ended
    is_refused: bool = False  # the endpoint fails the connection

    @property
    def is_small(self) -> bool:
        return sum(len(f.payload) for f in self.send) <= 1024 and len(self.send) <= 64


def echoed(name: str, send: list[Frame], expect: list[tuple[str, bytes]]) -> Case:
    return Case(name, [*send, close_frame()], expect)


def refused(
    name: str,
    send: list[Frame],
    code: int = PROTOCOL_ERROR,
    *,
    expect: list[tuple[str, bytes]] | None = None,
    unfinished: bytes = b"",
) -> Case:
    return Case(name, send, expect or [], code, unfinished, is_refused=True)


def fragments(opcode: int, pieces: list[bytes]) -> list[Frame]:
    last = len(pieces) - 1
    return [
        Frame(opcode if i == 0 else CONTINUATION, piece, fin=i == last)
        for i, piece in enumerate(pieces)
    ]


def cut_up(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)] or [b""]


def letters(n: int) -> bytes:
    return (b"The quick brown fox jumps over the lazy dog 0123456789\n" * (n // 55 + 1))[:n]


def euros(n: int) -> bytes:
    """Text of three-byte characters, so that any cut is likely to split one; n bytes."""
    return "€".encode() * (n // 3) + b"." * (n % 3)


def octets(n: int) -> bytes:
    """All byte values, with a period that is prime to every power of two."""
    return (bytes(range(256)) + b"\0") * (n // 257) + bytes(range(256))[: n % 257]


# Section 5.2: payload lengths on both sides of each length form


def framing() -> Iterator[Case]:
    for n in (0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65534, 65535, 65536, 65537):
        yield echoed(f"text_{n}", [Frame(TEXT, letters(n))], [("text", letters(n))])
        yield echoed(f"binary_{n}", [Frame(BINARY, octets(n))], [("binary", octets(n))])
    many = [letters(i % 130) for i in range(1000)]
    yield echoed("thousand_messages", [Frame(TEXT, m) for m in many], [("text", m) for m in many])
    nothing = [Frame(BINARY)] * 3 + [Frame(TEXT, b"x")]
    yield echoed("empty_messages", nothing, [("binary", b"")] * 3 + [("text", b"x")])
    for declared, width in ((5, 16), (125, 16), (5, 64), (126, 64), (200, 64), (65535, 64)):
        for opcode in (TEXT, BINARY):
            yield refused(
                f"{KINDS[opcode]}_length_{declared}_in_{width}_bits",
                [Frame(opcode, letters(declared), width=width)],
                unfinished=letters(declared),
            )
    for declared in (1 << 63, (1 << 64) - 4, (1 << 64) - 1):
        yield refused(f"length_{declared:#x}", [Frame(BINARY, b"abc", declared=declared)])
    yield refused("length_top_bit_header_only", [Frame(BINARY, declared=1 << 63)])
    yield refused("wrong_mask_text", [Frame(TEXT, b"hello", has_wrong_mask=True)])
    yield refused("wrong_mask_ping", [Frame(PING, b"", has_wrong_mask=True)])
    yield refused("wrong_mask_close", [Frame(CLOSE, b"", has_wrong_mask=True)])
    yield refused(
        "wrong_mask_after_message",
        [Frame(TEXT, b"good"), Frame(TEXT, b"bad", has_wrong_mask=True)],
        expect=[("text", b"good")],
    )


# Section 5.5.2, 5.5.3


def pings() -> Iterator[Case]:
    for n in (0, 1, 124, 125):
        yield echoed(f"ping_{n}", [Frame(PING, octets(n))], [("pong", octets(n))])
    yield echoed("ping_not_utf8", [Frame(PING, b"\xff\xfe\x00")], [("pong", b"\xff\xfe\x00")])
    yield echoed(
        "pings_each_answered",
        [Frame(PING, b"%d" % i) for i in range(20)],
        [("pong", b"%d" % i) for i in range(20)],
    )
    yield echoed(
        "ping_between_messages",
        [Frame(TEXT, b"a"), Frame(PING, b"p"), Frame(TEXT, b"b")],
        [("text", b"a"), ("pong", b"p"), ("text", b"b")],
    )
    for n in (0, 1, 125):
        yield echoed(
            f"unsolicited_pong_{n}", [Frame(PONG, octets(n)), Frame(PING, b"q")], [("pong", b"q")]
        )
    yield echoed("pongs_only", [Frame(PONG, b"x")] * 50, [])
    for opcode, name in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        body = struct.pack(">H", 1000) if opcode == CLOSE else b""
        yield refused(f"{name}_126", [Frame(opcode, body + letters(126 - len(body)))])
        yield refused(f"{name}_65536", [Frame(opcode, body + letters(65536 - len(body)))])
        yield refused(f"{name}_126_header_only", [Frame(opcode, declared=126)])
        yield refused(f"{name}_length_5_in_16_bits", [Frame(opcode, b"\x03\xe8abc", width=16)])
        yield refused(f"{name}_fragmented", [Frame(opcode, body, fin=False), Frame(CONTINUATION)])
        yield refused(f"{name}_fragmented_alone", [Frame(opcode, body, fin=False)])


# Section 5.2: bits and opcodes that mean nothing yet


def reserved() -> Iterator[Case]:
    for rsv in range(1, 8):
        for opcode, name in ((TEXT, "text"), (BINARY, "binary"), (PING, "ping"), (CLOSE, "close")):
            payload = struct.pack(">H", 1000) if opcode == CLOSE else b"hello"
            yield refused(f"rsv_{rsv}_{name}", [Frame(opcode, payload, rsv=rsv)])
        yield refused(
            f"rsv_{rsv}_after_message",
            [Frame(TEXT, b"first"), Frame(TEXT, b"second", rsv=rsv), Frame(PING)],
            expect=[("text", b"first")],
        )
        yield refused(
            f"rsv_{rsv}_continuation",
            [Frame(TEXT, b"one", fin=False), Frame(CONTINUATION, b"two", rsv=rsv)],
            unfinished=b"one",
        )
    for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF):
        yield refused(f"opcode_{opcode:x}", [Frame(opcode)])
        yield refused(f"opcode_{opcode:x}_payload", [Frame(opcode, b"payload"), Frame(PING)])
        yield refused(f"opcode_{opcode:x}_header_only", [Frame(opcode, declared=5)])
        yield refused(
            f"opcode_{opcode:x}_after_message",
            [Frame(TEXT, b"first"), Frame(opcode, b"x"), Frame(PING)],
            expect=[("text", b"first")],
        )
        yield refused(
            f"opcode_{opcode:x}_between_fragments",
            [Frame(TEXT, b"one", fin=False), Frame(opcode), Frame(CONTINUATION, b"two")],
            unfinished=b"one",
        )


# Section 5.4


def fragmentation() -> Iterator[Case]:
    for opcode, kind in KINDS.items():
        for sizes in ((1, 1), (0, 0), (0, 2), (2, 0), (0, 2, 0), (1, 0, 1), (0,) * 10):
            pieces = [letters(n) for n in sizes]
            name = "_".join(str(n) for n in sizes)
            whole = b"".join(pieces)
            yield echoed(f"{kind}_pieces_{name}", fragments(opcode, pieces), [(kind, whole)])
        hundred = cut_up(letters(100), 1)
        yield echoed(f"{kind}_hundred_pieces", fragments(opcode, hundred), [(kind, letters(100))])
        first, *rest = fragments(opcode, [b"one", b"two", b"three"])
        with_pings = [first]
        for i, piece in enumerate(rest):
            with_pings += [Frame(PING, b"%d" % i), Frame(PONG, b"-"), piece]
        yield echoed(
            f"{kind}_control_between_pieces",
            with_pings,
            [("pong", b"0"), ("pong", b"1"), (kind, b"onetwothree")],
        )
        yield Case(
            f"{kind}_close_between_pieces",
            [first, close_frame(1000), *rest],
            unfinished=b"one",
        )
        for other in (TEXT, BINARY):
            yield refused(
                f"{kind}_{KINDS[other]}_inside_message",
                [first, Frame(other, b"new"), *rest],
                unfinished=b"one",
            )
            yield refused(
                f"{kind}_{KINDS[other]}_inside_message_unfinished",
                [first, Frame(other, b"new", fin=False)],
                unfinished=b"one",
            )
        yield echoed(
            f"{kind}_second_message_in_pieces",
            [Frame(opcode, b"whole"), *fragments(opcode, [b"p", b"q"]), Frame(opcode, b"whole")],
            [(kind, b"whole"), (kind, b"pq"), (kind, b"whole")],
        )
    for fin in (True, False):
        end = "last" if fin else "more"
        yield refused(f"continuation_first_{end}", [Frame(CONTINUATION, b"x", fin=fin)])
        yield refused(f"continuation_first_empty_{end}", [Frame(CONTINUATION, b"", fin=fin)])
        yield refused(
            f"continuation_after_message_{end}",
            [Frame(TEXT, b"whole"), Frame(CONTINUATION, b"x", fin=fin), Frame(TEXT, b"more")],
            expect=[("text", b"whole")],
        )
        yield refused(
            f"continuation_after_pieces_{end}",
            [*fragments(TEXT, [b"a", b"b"]), Frame(CONTINUATION, b"x", fin=fin)],
            expect=[("text", b"ab")],
        )


# RFC 3629, and section 8.1: what is text, and the place of the first byte that makes it none

VALID_UTF8 = {
    "first_1": b"\x00",
    "last_1": b"\x7f",
    "first_2": b"\xc2\x80",
    "last_2": b"\xdf\xbf",
    "first_3": b"\xe0\xa0\x80",
    "below_surrogates": b"\xed\x9f\xbf",
    "above_surrogates": b"\xee\x80\x80",
    "byte_order_mark": b"\xef\xbb\xbf",
    "last_3": b"\xef\xbf\xbf",
    "first_4": b"\xf0\x90\x80\x80",
    "plane_1_end": b"\xf0\x9f\xbf\xbf",
    "plane_2_noncharacter": b"\xf0\xaf\xbf\xbe",
    "last_4": b"\xf4\x8f\xbf\xbf",
    "mixed": "Zürich, Ελλάδα, 東京, 𝄞 and e\u0301".encode(),
}

INVALID_UTF8 = {
    "lone_80": (b"\x80", 0),
    "lone_bf": (b"\xbf", 0),
    "ascii_then_lone": (b"ab\x80cd", 2),
    "one_too_many_2": (b"\xc3\xa4\x80", 2),
    "one_too_many_3": (b"\xe2\x82\xac\x80", 3),
    "one_too_many_4": (b"\xf0\x9f\x98\x80\x80", 4),
    "overlong_2_low": (b"\xc0\x80", 0),
    "overlong_2_high": (b"\xc1\xbf", 0),
    "overlong_3_low": (b"\xe0\x80\x80", 1),
    "overlong_3_high": (b"\xe0\x9f\xbf", 1),
    "overlong_4_low": (b"\xf0\x80\x80\x80", 1),
    "overlong_4_high": (b"\xf0\x8f\xbf\xbf", 1),
    "overlong_slash": (b"..\xc0\xaf..", 2),
    "surrogate_first": (b"\xed\xa0\x80", 1),
    "surrogate_last": (b"\xed\xbf\xbf", 1),
    "surrogate_pair": (b"\xed\xa0\xbd\xed\xb8\x80", 1),
    "above_10ffff": (b"\xf4\x90\x80\x80", 1),
    "lead_f5": (b"\xf5\x80\x80\x80", 0),
    "lead_f7": (b"\xf7\xbf\xbf\xbf", 0),
    "lead_f8": (b"\xf8\x88\x80\x80\x80", 0),
    "lead_fc": (b"\xfc\x84\x80\x80\x80\x80", 0),
    "byte_fe": (b"\xfe", 0),
    "byte_ff": (b"\xff", 0),
    "cut_2_by_ascii": (b"\xc3 ", 1),
    "cut_3_by_ascii": (b"\xe2\x82x", 2),
    "cut_4_by_ascii": (b"\xf0\x9f\x98y", 3),
    "cut_3_by_lead": (b"\xe2\x82\xc3\xa4", 2),
    "latin_1": (b"Z\xfcrich", 1),
    "late": ("äöü€𝄞".encode() * 8 + b"\xc0", 96 + 8),
}

CUT_UTF8 = {
    "2": b"\xc3",
    "3_1": b"\xe2",
    "3_2": b"\xe2\x82",
    "4_1": b"\xf0",
    "4_2": b"\xf0\x9f",
    "4_3": b"\xf0\x9f\x98",
    "behind_text": b"abc\xe2\x82",
}


def utf8() -> Iterator[Case]:
    for name, text in VALID_UTF8.items():
        yield echoed(f"utf8_{name}", [Frame(TEXT, text)], [("text", text)])
        yield echoed(f"utf8_{name}_by_byte", fragments(TEXT, cut_up(text, 1)), [("text", text)])
        spaced = [piece for byte in cut_up(text, 1) for piece in (byte, b"")]
        yield echoed(f"utf8_{name}_empty_between", fragments(TEXT, spaced), [("text", text)])
    for name, (text, at) in INVALID_UTF8.items():
        yield refused(f"not_utf8_{name}", [Frame(TEXT, text)], NOT_UTF8, unfinished=text[:at])
        yield refused(
            f"not_utf8_{name}_by_byte",
            fragments(TEXT, cut_up(text, 1)),
            NOT_UTF8,
            unfinished=text[:at],
        )
        # fail-fast: nothing comes behind the first wrong byte, and message or frame is not over
        upto = text[: at + 1]
        yield refused(
            f"not_utf8_{name}_at_once",
            [Frame(TEXT, upto, fin=False)],
            NOT_UTF8,
            unfinished=text[:at],
        )
        yield refused(
            f"not_utf8_{name}_inside_frame",
            [Frame(TEXT, upto, declared=len(upto) + 1000)],
            NOT_UTF8,
            unfinished=text[:at],
        )
        yield echoed(f"binary_{name}", [Frame(BINARY, text)], [("binary", text)])
    for name, text in CUT_UTF8.items():
        yield refused(f"cut_utf8_{name}", [Frame(TEXT, text)], NOT_UTF8, unfinished=text)
        yield refused(
            f"cut_utf8_{name}_empty_end", fragments(TEXT, [text, b""]), NOT_UTF8, unfinished=text
        )
        yield refused(  # the next message does not go on with the last one's character
            f"cut_utf8_{name}_then_rest",
            [Frame(TEXT, text), Frame(TEXT, b"\xa4\xac\x80")],
            NOT_UTF8,
            unfinished=text,
        )
    yield echoed(
        "utf8_split_by_ping",
        [
            Frame(TEXT, b"\xf0\x9f", fin=False),
            Frame(PING, b"\xff"),
            Frame(CONTINUATION, b"\x98\x80"),
        ],
        [("pong", b"\xff"), ("text", b"\xf0\x9f\x98\x80")],
    )


# Sections 5.5.1, 7.1, 7.4


def closing() -> Iterator[Case]:
    yield Case("close_empty", [close_frame(None)], code=NO_CODE)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014):
        yield Case(f"close_{code}", [close_frame(code)], code=code)
    for code in (3000, 3999, 4000, 4001, 4999):
        yield Case(f"close_{code}", [close_frame(code)], code=code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535):
        yield refused(f"close_{code}_invalid", [close_frame(code)])
        yield refused(f"close_{code}_invalid_reason", [close_frame(code, b"why")])
    yield refused("close_one_byte", [Frame(CLOSE, b"\x03")])
    for name, reason in (("short", b"bye"), ("longest", letters(123)), ("utf8", "tschüß".encode())):
        yield Case(f"close_reason_{name}", [close_frame(1000, reason)])
    for name, (text, _) in INVALID_UTF8.items():
        yield refused(f"close_reason_{name}", [close_frame(1000, text[-123:])], NOT_UTF8)
    for name, text in CUT_UTF8.items():
        yield refused(f"close_reason_cut_{name}", [close_frame(1000, text)], NOT_UTF8)
    yield refused("close_reason_too_long", [close_frame(1000, letters(124))])
    yield Case(
        "close_after_message",
        [Frame(TEXT, letters(70000)), close_frame(1001)],
        [("text", letters(70000))],
        1001,
    )
    for name, later in (
        ("ping", [Frame(PING, b"late")]),
        ("text", [Frame(TEXT, b"late")]),
        ("close", [close_frame(1011)]),
        ("garbage", [Frame(0xF, b"late", rsv=7)]),
        ("much", [Frame(BINARY, octets(1 << 20))]),
    ):
        yield Case(f"close_then_{name}", [close_frame(1000), *later])
        yield refused(f"violation_then_{name}", [Frame(CONTINUATION, b"?"), *later])


def big() -> Iterator[Case]:
    kib, mib = 1 << 10, 1 << 20
    for n in (256 * kib, mib, 4 * mib, 8 * mib, 16 * mib):
        yield echoed(f"big_text_{n}", [Frame(TEXT, euros(n))], [("text", euros(n))])
        yield echoed(f"big_binary_{n}", [Frame(BINARY, octets(n))], [("binary", octets(n))])
    for n, size in ((64 * kib, 1), (mib, 61), (4 * mib, 1024), (4 * mib, 65537), (4 * mib, mib)):
        yield echoed(
            f"big_text_{n}_by_{size}", fragments(TEXT, cut_up(euros(n), size)), [("text", euros(n))]
        )
        yield echoed(
            f"big_binary_{n}_by_{size}",
            fragments(BINARY, cut_up(octets(n), size)),
            [("binary", octets(n))],
        )
    yield refused(
        "big_text_wrong_last_byte",
        [Frame(TEXT, euros(4 * mib) + b"\xff")],
        NOT_UTF8,
        unfinished=euros(4 * mib),
    )


CASES = [
    case
    for group in (framing, pings, reserved, fragmentation, utf8, closing, big)
    for case in group()
]
