"""Golden transcripts: whole conversations with the SIP core, as text that can be read.

Each `*.txt` beside this file is replayed, and what comes out must be the same text again. A file
is made of blocks with an empty line between them. The first character says what a block is:

    #  a comment
    >  a datagram for the core. `> again` repeats the one before.
    >> a datagram in short: `peer.py` says what is meant.
    +  time passes: `+500ms`, `+32s`. Timers that fall due in between fire at their own times.
    @  the shell does something:
         @ peer 192.0.2.8:5060    what follows comes from there (at first 192.0.2.7:5060);
                                  tcp:192.0.2.8:5060 is not UDP, udp:...#2 comes by flow 2
         @ fail tcp:192.0.2.8:5060    what was sent there could not be
         @ call [HOP ...] [password=secret] [subject=LENGTH] | ask OPTIONS [the same]
         @ ring | early | accept | reject 486 | hang_up [Reason value] | drain
         @ reoffer [hold] | refer <URI> | answer_refer 202 | notify 180 Ringing | info TYPE BODY
       An action is about the newest dialog. `accept` answers the offer, or makes one, as the
       shell does; `early` is a 183 with an answer. When there is nothing left to act on, or no
       way to do it now, the line ends in "-> too late".
    <  a datagram from the core: when, where to, and its lines.
       "again" stands for one that is, byte for byte, an earlier one.
    !  an event, with its fields but the dialog and the messages; +sdp: it brings a body

`<` and `!` blocks are output. To write a new transcript, write the other blocks, run
`python tests/golden/sip/test_transcripts.py NAME.txt`, and read whether what it added is right.
Tags and branches come from a counting token source, so they are the same every time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import count
from pathlib import Path

import pytest

from ingress_sip.sdp.offer_answer import LocalMedia, answer, offer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.events import AskAnswered, Event, InviteReceived, ReinviteReceived
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri, parse_uri
from tests.golden.sip.peer import DESCRIPTION, Peer

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))
OUTPUT = ("<", "!")
TOO_LATE = " -> too late"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert replay(text) == text


def replay(text: str) -> str:
    """Feed a transcript's input blocks to a new core; return it with the output they caused."""
    session = Replay()
    blocks = [block for block in text.strip("\n").split("\n\n") if not block.startswith(OUTPUT)]
    lines = [piece for block in blocks for piece in session.play(block)]
    return "\n\n".join(lines) + "\n"


class Replay:
    def __init__(self) -> None:
        numbers = count()
        self.core = SipCore(
            contact_for=lambda peer: SipUri.of("192.0.2.1", 5060),
            tokens=lambda: f"token{next(numbers)}",
            user_agent="Trunkline",
        )
        self.now = 0.0
        self.peer = Hop(Transport.UDP, "192.0.2.7", 5060)
        self.theirs = Peer()
        self.dialog: DialogId | None = None
        self.offer = b""
        self.described_already = 0
        self.local = LocalMedia("192.0.2.1", 40000, session_id=1, version=0)
        self.last = b""
        self.in_short = False
        self.seen: set[bytes] = set()

    def play(self, block: str) -> Iterator[str]:
        block = block.removesuffix(TOO_LATE)
        yield block + self.act(block)
        yield from self.output()

    def act(self, block: str) -> str:
        if block.startswith(">"):
            self.in_short = block.startswith(">>")
            if self.in_short:
                self.last = self.theirs.say(block, self.peer)
            elif block != "> again":
                self.last = datagram(block)
            self.core.receive(self.last, self.peer, self.now)
        elif block.startswith("@"):
            return self.command(*block[1:].split())
        elif block.startswith("+"):
            return self.pass_time(block[1:])
        return ""

    def pass_time(self, text: str) -> str:
        end = self.now + (float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1]))
        shown = []
        while (due := self.core.next_timer()) is not None and due <= end:
            self.now = due
            self.core.handle_timers(due)
            shown += list(self.output())
        self.now = end
        return "".join(f"\n\n{piece}" for piece in shown)

    def command(self, name: str, *arguments: str) -> str:
        match name:
            case "peer":
                self.peer = hop_of(arguments[0])
            case "fail":
                self.core.transport_failed(hop_of(arguments[0]), self.now)
            case "drain":
                self.core.draining = True
            case "call":
                self.dialog = self.core.call(self.asked("INVITE", arguments), self.now)
            case "ask":
                self.core.ask(self.asked(arguments[0], arguments[1:]), self.now)
            case _:
                assert self.dialog is not None
                return "" if self.dialog_action(self.dialog, name, arguments) else TOO_LATE
        return ""

    def asked(self, method: str, arguments: tuple[str, ...]) -> Ask:
        options = dict(word.split("=") for word in arguments if "=" in word)
        hops = tuple(hop_of(word) for word in arguments if "=" not in word)
        password = options.get("password")
        return Ask(
            method,
            parse_uri("sip:bob@example.com"),
            NameAddr.parse("<sip:bob@example.com>"),
            NameAddr.parse("<sip:bot@192.0.2.1>"),
            hops or (self.peer,),
            headers=(("Subject", "x" * int(options["subject"])),) if "subject" in options else (),
            body=self.described() if method == "INVITE" else b"",
            digest=DigestClient(Credentials("bot", password), lambda: "cnonce")
            if password
            else None,
        )

    def dialog_action(self, dialog: DialogId, name: str, arguments: tuple[str, ...]) -> bool:
        core, now = self.core, self.now
        match name:
            case "ring":
                return core.ring(dialog, now)
            case "early":
                return core.ring(dialog, now, 183, self.described())
            case "reject":
                return core.reject(dialog, int(arguments[0]), now)
            case "hang_up":
                return core.hang_up(dialog, now, " ".join(arguments) or None)
            case "refer":
                return core.refer(dialog, NameAddr.parse(arguments[0]), now)
            case "answer_refer":
                return core.answer_refer(dialog, int(arguments[0]), now)
            case "notify":
                return core.notify(dialog, int(arguments[0]), " ".join(arguments[1:]), now)
            case "info":
                return core.info(dialog, arguments[0], " ".join(arguments[1:]).encode(), now)
            case "reoffer":
                direction = "sendonly" if "hold" in arguments else "sendrecv"
                return core.reoffer(dialog, self.described(direction), now)
        assert name == "accept"
        if self.offer == DESCRIPTION or (self.in_short and not self.offer):
            return core.accept(dialog, self.described(), now)
        self.local = replace(self.local, version=self.local.version + 1)
        try:
            body = answer(self.offer, self.local).body if self.offer else offer(self.local).body
        except SdpError as error:
            return core.reject(dialog, error.status, now)
        return core.accept(dialog, body, now)

    def described(self, direction: str = "sendrecv") -> bytes:
        """What we say to `sdp` of the peer: as little as may be read again and again."""
        self.described_already += 1
        lines = DESCRIPTION.replace(b"o=peer 1 1", b"o=us 1 %d" % self.described_already)
        return lines.replace(b".7\r", b".1\r") + f"a={direction}\r\n".encode()

    def output(self) -> Iterator[str]:
        for out in self.core.messages_to_send():
            head, *rest = out.data.decode().rstrip("\r\n").split("\r\n")
            again = "again: " if out.data in self.seen else ""
            self.seen.add(out.data)
            self.theirs.hear(out.data)
            flow = f"#{out.destination.flow}" if out.destination.flow else ""
            where = str(out.destination).removeprefix("udp:") + flow
            lines = [f"({self.now:g}s, to {where}) {again}{head}", *([] if again else rest)]
            yield "\n".join(f"< {line}".rstrip() for line in lines)
        while (event := self.core.next_event()) is not None:
            if isinstance(event, InviteReceived | ReinviteReceived):
                self.dialog, self.offer = event.dialog, event.offer
            yield f"! {describe(event)}"


def hop_of(text: str) -> Hop:
    address, _, flow = text.partition("#")
    transport, _, rest = address.rpartition(":")[0].rpartition(":")
    port = int(address.rpartition(":")[2])
    return Hop(Transport(transport or "udp"), rest, port, int(flow or 0))


def datagram(block: str) -> bytes:
    lines = [line[1:].removeprefix(" ") for line in block.split("\n")]
    if "" not in lines:
        lines.append("")
    return "\r\n".join([*lines, ""]).encode()


def describe(event: Event) -> str:
    hidden = ("dialog", "request", "offer", "body", "source", "headers", "admitted")
    said = {f.name: getattr(event, f.name) for f in fields(event) if f.name not in hidden}
    if said.get("replaces", ...) is None:
        del said["replaces"]
    if said.get("is_proven"):
        del said["is_proven"]
    if isinstance(event, AskAnswered):
        said["response"] = event.response.status
    shown = [f"{name}={value}" for name, value in said.items()]
    if type(event).__name__ in ("CallProgress", "CallAnswered", "ReofferAnswered"):
        shown += ["+sdp"] if event.body else []
    return " ".join([type(event).__name__, *shown])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        transcript = Path(__file__).parent / name
        transcript.write_text(replay(transcript.read_text(encoding="utf-8")), encoding="utf-8")
