"""A call's leg with a carrier that keeps what it was told, and a log that is folded first."""

from __future__ import annotations

from bus.audio import OUT_FIELD, OutChunk, encode_chunk
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import ReplyId
from calls.transfer import TransferMode
from legs.leg import Heard, Key, Leg
from legs.mouth import Paced
from media.frames import Codec
from tests.support.facts import AGENT, CALL, started

FRAME = 160
SILENT = bytes([0xFF]) * FRAME
#: Loud, and soft at both ends, so that it may begin and stop at any frame.
SOUND = b"\xff" + bytes([0x10]) * (FRAME - 2) + b"\xff"


class Phone:
    """A carrier that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[bytes | None] = []
        self.keys: tuple[Key, ...] = ()
        self.hung_up = 0
        self.lapsed = 0
        self.transfers: list[tuple[str, str, str]] = []
        self.digits: list[tuple[str, str]] = []

    def hear(self, late_ms: float) -> Heard:
        keys, self.keys = self.keys, ()
        return Heard(SILENT, concealed=False, keys=keys)

    def say(self, payload: bytes | None) -> None:
        self.said.append(payload)

    def lapse(self) -> None:
        self.lapsed += 1

    def hang_up(self) -> None:
        self.hung_up += 1

    def transfer(self, reply: ReplyId, target: str, mode: TransferMode) -> None:
        self.transfers.append((reply, target, mode))

    def send_digits(self, reply: ReplyId, digits: str) -> None:
        self.digits.append((reply, digits))


class Call:
    """A leg with its log: whatever happens is folded first, as the bus does it."""

    def __init__(self, agent: Agent = AGENT) -> None:
        self.phone = Phone()
        self.leg = Leg(CALL, agent, self.phone, Paced(self.phone), lambda: 0.0)
        self.conversation = Conversation.of([started(agent=agent)])
        self.leg.follow(self.conversation)

    def happens(self, *facts: e.Event) -> None:
        for fact in facts:
            self.conversation.apply(fact)
            self.leg.happened(fact, self.conversation)

    def audio(self, reply: str, sentence: int, frames: int) -> None:
        chunk = OutChunk(ReplyId(reply), sentence, 0, Codec.PCMU, SOUND * frames, last=True)
        self.leg.audio_came([(b"1-0", {OUT_FIELD: encode_chunk(chunk)})])

    def ticks(self, times: int, at: float = 0.0) -> list[bool]:
        """Whether the agent spoke, for each tick."""
        before = len(self.phone.said)
        for number in range(times):
            self.leg.tick(at + number)
        return [payload is not None for payload in self.phone.said[before:]]

    def facts(self, kind: type[e.Event]) -> list[e.Event]:
        return [fact for fact in self.leg.pending if isinstance(fact, kind)]
