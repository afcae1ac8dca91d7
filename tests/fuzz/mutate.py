"""Mutation of inputs: bits and bytes, and the units that a text protocol is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

LONGEST = 70_000  # a little more than any reader takes
_WORDS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"\0", b" ", b"\t", b":", b";", b",", b"="),
    *(b"<", b">", b'"', b"\\", b'\\"', b"@", b"?", b"%", b"%00", b"%0d%0a", b"[", b"]", b"[::1]"),
    *(
        b"::",
        b"*",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\xd9\xa3",
        b"\xed\xa0\x80",
    ),
    *(b"sip:", b"sips:", b"tel:", b"SIP/2.0", b"ACK", b"CANCEL", b"INVITE", b"BYE", b"OPTIONS"),
    *(b"z9hG4bK", b"tag=", b"rport", b"received=", b"lr", b"l: 5\r\n", b"Content-Length: -1\r\n"),
    *(b"Via: SIP/2.0/UDP a;branch=z9hG4bKx\r\n", b"a=rtpmap:0 x/1\r\n", b"a=inactive\r\n"),
    *(b"m=audio 1 RTP/AVP 0\r\n", b"c=IN IP4 0.0.0.0\r\n"),
)
_NUMBERS = (
    *(b"0", b"-1", b"1", b"255", b"256", b"65535", b"65536", b"2147483647", b"2147483648"),
    *(b"4294967296", b"18446744073709551616", b"1" + b"0" * 40, b"1" + b"0" * 5000),
    *(b"00", b"1e9", b"0x10", b"+5", "\u0663".encode()),
)


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` after one to eight changes; some splice in a piece of another input."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        data = random.choice(_CHANGES)(random, data, others)
    return data[:LONGEST]


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _span(random: Random, data: bytes, longest: int = 64) -> tuple[int, int]:
    start = _place(random, data)
    return start, min(len(data), start + random.randrange(longest))


def _flip(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([random.randrange(256)])
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _insert_word(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + random.choice(_WORDS) + data[at:]


def _replace_span(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + random.choice(_WORDS) + data[end:]


def _delete(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    times = random.choice((2, 2, 2, 3, 20, 300))
    return data[:start] + data[start:end] * times + data[end:]


def _noise(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    start, end = _span(random, data)
    return data[:start] + random.randbytes(random.randrange(16)) + data[end:]


def _cut(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    return data[: _place(random, data)]


def _splice(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return data[: _place(random, data)] + other[_place(random, other) :]


def _number(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(_NUMBERS) + data[match.end() :]


def _lines(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Drop, double, move or borrow a line, or change its case."""
    lines = data.split(b"\r\n")
    at = random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines.insert(random.randrange(len(lines)), lines.pop(at))
        case 3:
            lines.insert(at, random.choice(random.choice(others).split(b"\r\n")))
        case _:
            lines[at] = lines[at].swapcase()
    return b"\r\n".join(lines)


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _insert_word, _insert_word, _replace_span, _delete, _repeat, _noise, _cut, _splice,
    _number, _number, _lines, _lines, _lines,
)  # fmt: skip
