"""One call's leg: the caller's frames one way, the agent's frames the other, and who may speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from bus.audio import OUT_FIELD, InFrame, decode_chunk
from bus.events import WireError
from bus.tail import Entries
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId, turn_of
from calls.timing import stages_ms, voice_to_voice_ms
from legs.playout import Playout
from media.frames import FRAME_SAMPLES, Codec
from telemetry import metrics

_log = structlog.get_logger(__name__)


class Key(NamedTuple):
    """A key that the caller pressed."""

    digit: str
    duration_ms: int


class Heard(NamedTuple):
    """20 ms of the caller: 160 bytes of PCMU, whether they were made up, and keys pressed."""

    payload: bytes
    concealed: bool
    keys: tuple[Key, ...] = ()


class Carrier(Protocol):
    """What a leg needs of the way the call came: SIP and RTP, a media stream, a browser."""

    def hear(self, now_ms: float) -> Heard:
        """The next 20 ms of the caller. Called once a tick, never blocks."""
        ...

    def say(self, payload: bytes | None) -> None:
        """Send 20 ms of PCMU to the caller; None where the agent is silent."""
        ...

    def hang_up(self) -> None:
        """The agent ends the call."""
        ...


class Leg:
    """The media side of one call. Driven by the engine; reads the log, writes to `pending`."""

    def __init__(
        self, call: CallId, agent: Agent, carrier: Carrier, now_ms: Callable[[], float]
    ) -> None:
        self.call = call
        self.agent = agent
        #: Events of this leg that are not in the log yet.
        self.pending: list[e.Event] = []
        self._carrier = carrier
        self._now_ms = now_ms
        self._playout = Playout()
        self._seq = 0
        self._farewell: ReplyId | None = None

    @property
    def position(self) -> int:
        """The media clock: samples since the first frame."""
        return self._seq * FRAME_SAMPLES

    def tick(self, now_ms: float) -> InFrame:
        """Move one frame each way."""
        heard = self._carrier.hear(now_ms)
        position = self.position
        for number, key in enumerate(heard.keys):
            # Keys of one frame (a stalled network's) stand a sample apart: each is its own fact.
            self.pending.append(
                e.DigitPressed(
                    at=now_ms,
                    digit=key.digit,
                    duration_ms=key.duration_ms,
                    position=position + number,
                )
            )
        self._carrier.say(self._playout.next(position, now_ms))
        self._drain_ledger()
        if self._farewell is not None and self._playout.complete(self._farewell):
            self._farewell = None
            self._carrier.hang_up()
        frame = InFrame(self._seq, int(now_ms), Codec.PCMU, heard.payload, heard.concealed)
        self._seq += 1
        return frame

    def audio_came(self, entries: Entries) -> None:
        """New entries of `{call}:out`."""
        for _, fields in entries:
            try:
                chunk = decode_chunk(fields[OUT_FIELD])
            except (WireError, KeyError) as error:
                _log.warning("leg.bad_chunk", call=self.call, error=str(error))
            else:
                if chunk.codec is Codec.PCMU:
                    self._playout.add(chunk)

    def happened(self, event: e.Event, conversation: Conversation) -> None:
        """A new entry of the log, already folded into `conversation`."""
        match event:
            case e.SpeechStarted() if self.agent.barge_in:
                self._playout.pause(self.position, self._now_ms())
                self._drain_ledger()
            case e.SpeechDropped():
                self._playout.resume()
            case e.TurnEnded() if self.agent.barge_in:
                self._playout.drop_before(event.turn, self.position, self._now_ms())
                self._drain_ledger()
                if self._farewell is not None and turn_of(self._farewell) < event.turn:
                    self._farewell = None
            case e.ReplyEnded():
                self._playout.end_reply(event.reply, event.sentences)
            case e.ActionRequested(action="hangup") if conversation.is_current(event.reply):
                self._farewell = event.reply
            case e.PlaybackStarted(index=0, offset=0):
                _observe(conversation, event.reply)
            case _:
                pass

    def close(self) -> None:
        """The call is over: say what was playing."""
        self._playout.close(self.position, self._now_ms())
        self._drain_ledger()

    def _drain_ledger(self) -> None:
        if not self._playout.ledger:
            return
        for entry in self._playout.ledger:
            if isinstance(entry, e.PlaybackStopped) and entry.why == "starved":
                metrics.PLAYBACK_GAPS.inc()
        self.pending += self._playout.ledger
        self._playout.ledger.clear()


def _observe(conversation: Conversation, reply: ReplyId) -> None:
    """Count where the turn's time went; the leg is the one that sees the whole turn."""
    turn = conversation.turns[turn_of(reply)]
    for stage, spent in stages_ms(turn).items():
        metrics.STAGE_DURATION.labels(stage).observe(max(0.0, spent) / 1000)
    if (total := voice_to_voice_ms(turn)) is not None:
        metrics.E2E_DURATION.observe(total / 1000)
