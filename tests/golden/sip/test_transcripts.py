"""Golden transcripts: whole conversations with the SIP core, as text that can be read.

Each `*.txt` beside this file is replayed, and what comes out must be the same text again. A file
is made of blocks with an empty line between them. The first character says what a block is:

    #  a comment
    >  a datagram for the core. `> again` repeats the one before.
    +  time passes: `+500ms`, `+32s`. Timers that fall due in between fire at their own times.
    @  the shell does something:
         @ peer 192.0.2.8:5060    what follows comes from there (at first 192.0.2.7:5060)
         @ ring | accept | reject 486 | hang_up [Reason value] | drain
       An action is about the newest dialog. `accept` answers the offer, or makes one, as the
       shell does; when it is told that nothing is left to act on, the line ends in "-> too late".
    <  a datagram from the core: when, where to, and its lines.
       "again" stands for one that is, byte for byte, an earlier one.
    !  an event, with its fields but the dialog and the messages

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
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import Event, InviteReceived, ReinviteReceived
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri

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
        self.dialog: DialogId | None = None
        self.offer = b""
        self.local = LocalMedia("192.0.2.1", 40000, session_id=1, version=0)
        self.last = b""
        self.seen: set[bytes] = set()

    def play(self, block: str) -> Iterator[str]:
        block = block.removesuffix(TOO_LATE)
        yield block + self.act(block)
        yield from self.output()

    def act(self, block: str) -> str:
        if block.startswith(">"):
            if block != "> again":
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
        if name == "peer":
            host, _, port = arguments[0].rpartition(":")
            self.peer = self.peer._replace(host=host, port=int(port))
            return ""
        if name == "drain":
            self.core.draining = True
            return ""
        assert self.dialog is not None
        return "" if self.dialog_action(self.dialog, name, arguments) else TOO_LATE

    def dialog_action(self, dialog: DialogId, name: str, arguments: tuple[str, ...]) -> bool:
        if name == "ring":
            return self.core.ring(dialog, self.now)
        if name == "reject":
            return self.core.reject(dialog, int(arguments[0]), self.now)
        if name == "hang_up":
            return self.core.hang_up(dialog, self.now, " ".join(arguments) or None)
        assert name == "accept"
        self.local = replace(self.local, version=self.local.version + 1)
        try:
            body = answer(self.offer, self.local).body if self.offer else offer(self.local).body
        except SdpError as error:
            return self.core.reject(dialog, error.status, self.now)
        return self.core.accept(dialog, body, self.now)

    def output(self) -> Iterator[str]:
        for out in self.core.messages_to_send():
            head, *rest = out.data.decode().rstrip("\r\n").split("\r\n")
            again = "again: " if out.data in self.seen else ""
            self.seen.add(out.data)
            where = f"{out.destination.host}:{out.destination.port}"
            lines = [f"({self.now:g}s, to {where}) {again}{head}", *([] if again else rest)]
            yield "\n".join(f"< {line}".rstrip() for line in lines)
        while (event := self.core.next_event()) is not None:
            if isinstance(event, InviteReceived | ReinviteReceived):
                self.dialog, self.offer = event.dialog, event.offer
            yield f"! {describe(event)}"


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
    shown = [f"{name}={value}" for name, value in said.items()]
    return " ".join([type(event).__name__, *shown])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        transcript = Path(__file__).parent / name
        transcript.write_text(replay(transcript.read_text(encoding="utf-8")), encoding="utf-8")
