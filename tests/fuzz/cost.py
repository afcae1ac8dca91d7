"""What reading costs, and that it grows no faster than the input: `python -m tests.fuzz.cost`.

First real messages, in microseconds each, and one call through the core. Then inputs made to hurt,
of half and of whole size: a ratio of about two is linear, four is quadratic.
"""

# ruff: noqa: T201 - a command says what it does

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import perf_counter

from ingress_sip.sdp.session import SdpError, parse_sdp
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.parse import MAX_LINE, parse_datagram
from tests.fuzz.corpus import GOLDEN, seeds
from tests.fuzz.sequences import PEER, new_core, request, serve

HEAD = (
    "OPTIONS sip:bot@192.0.2.1 SIP/2.0\r\n{top}From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\n"
    "Call-ID: c\r\nCSeq: 1 OPTIONS\r\n{more}\r\n"
)
VIA = "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"


def hostile(size: int) -> Iterator[tuple[str, bytes]]:
    """Messages of about `size` characters in one line, or eight times that in all."""

    def with_via(value: str) -> bytes:
        return HEAD.format(top=f"Via: {value}\r\n", more="").encode()

    def with_from(value: str) -> bytes:
        return HEAD.format(top=VIA, more="").replace("<sip:a@b>;tag=1", value).encode()

    def with_more(text: str) -> bytes:
        return HEAD.format(top=VIA, more=text).encode()

    yield "blanks in a Via", with_via("SIP/2.0/UDP" + " " * size)
    yield "slashes in a Via", with_via("SIP/" * (size // 4))
    yield "parameters in a Via", with_via("SIP/2.0/UDP a" + ";a" * (size // 2))
    yield "Vias in a line", with_via(",".join(["SIP/2.0/UDP a"] * (size // 14)))
    yield "broken Via", with_via("SIP/2.0/UDP a;" + ";branch " * (size // 8))
    yield "open quotes", with_from('"' + '\\"' * (size // 2))
    yield "quotes and blanks", with_from('"a"' + " " * size + "x")
    yield "open brackets", with_from("<" * size)
    yield "at signs", with_from("<sip:" + "@" * size + ">")
    yield "colons in brackets", with_from("<sip:[" + ":" * size + "1.1]>")
    yield "semicolons in a user", with_from("<sip:" + ";a" * (size // 2) + "@b>")
    yield (
        "digits in a CSeq",
        HEAD.format(top=VIA, more="").replace("1 O", "1" * size + " O").encode(),
    )
    yield "folds", with_more("X: a" + "\r\n b" * (size // 4) + "\r\n")
    yield "blanks in a name", with_more("X" + " " * size + "\r\n")
    yield "commas", with_more("Require: " + "," * size + "\r\n")
    yield "many fields", with_more("X: y\r\n" * (size // 6))
    yield "many Vias", with_more(VIA * (size // 36))
    yield "line ends", b"\r\n" * (size * 4)
    yield "one long head", b"A" * (size * 8)
    yield "blank lines", HEAD.format(top=VIA, more=" \r\n" * (size // 3)).encode()


def hostile_sdp(size: int) -> Iterator[tuple[str, bytes]]:
    head = b"v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    yield "formats", head + b"m=audio 1 RTP/AVP" + b" 0" * (size // 2) + b"\t\r\n"
    yield "blanks in m=", head + b"m=audio 1 RTP/AVP" + b" " * size + b"\t\r\n"
    yield "rtpmaps", head + b"m=audio 1 RTP/AVP 0\r\n" + b"a=rtpmap:0 x/1\r\n" * (size // 16)
    yield "streams", head + b"m=audio 1 RTP/AVP 0\r\n" * (size // 21)


def best(act: Callable[[], object], times: int) -> float:
    """Microseconds, the least of some tries."""
    found = []
    for _ in range(7):
        began = perf_counter()
        for _ in range(times):
            act()
        found.append((perf_counter() - began) / times * 1e6)
    return min(found)


def one_call() -> None:
    """INVITE, 100, 200, ACK, BYE, 200."""
    core = new_core()
    core.receive(request("INVITE"), PEER, 0.0)
    serve(core, 0.0)
    core.receive(request("ACK", 1, "token1", "z9hG4bK-a"), PEER, 0.1)
    core.receive(request("BYE", 2, "token1", "z9hG4bK-b"), PEER, 0.2)
    core.messages_to_send()


def _sip(data: bytes) -> None:
    with suppress(SipError):
        message = parse_datagram(data)
        if message is not None:
            message.headers.get_list("Via")
            message.tokens("Require")


def _sdp(data: bytes) -> None:
    with suppress(SdpError):
        for media in parse_sdp(data).media:
            media.rtpmaps()


def main() -> None:
    golden = GOLDEN / "rfc4475" / "messages"
    real = [
        (name, (golden / f"{name}.dat").read_bytes()) for name in ("zeromf", "wsinv", "longreq")
    ]
    real.append(("INVITE", request("INVITE")))
    for name, data in real:
        show(f"{name}, {len(data)} bytes", best(partial(_sip, data), 300))
    body = max(seeds().sdp, key=len)
    show(f"SDP, {len(body)} bytes", best(partial(_sdp, body), 300))
    show("INVITE, ACK, BYE in a core", best(one_call, 100))
    half, whole = MAX_LINE // 2, MAX_LINE - 20
    for act, cases in ((_sip, hostile), (_sdp, hostile_sdp)):
        for (name, small), (_, large) in zip(cases(half), cases(whole), strict=True):
            first, second = (best(partial(act, data), 5) for data in (small, large))
            show(name, second, second / first)


def show(name: str, microseconds: float, ratio: float | None = None) -> None:
    print(f"{name:<28}{microseconds:8.0f} us" + ("" if ratio is None else f"{ratio:8.1f}"))


if __name__ == "__main__":
    main()
