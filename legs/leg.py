"""One call's leg: the caller's frames one way, the agent's frames the other, and who may speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol

import structlog

from bus.audio import OUT_FIELD, SILENT, InFrame, decode_chunk
from bus.events import WireError
from bus.tail import Entries
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId, is_aside, reply_id, turn_of
from calls.patience import DueAside, aside_due
from calls.timing import stages_ms, voice_to_voice_ms
from calls.transfer import TransferMode
from legs.actions import Actions
from legs.mouth import Mouth
from media import g711
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec
from media.level import level_dbov
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: Asides are looked for this often: every 200 ms. In frames.
_PATIENCE_FRAMES: Final = 10
#: Of what a peer says of an action, so much is kept, characters.
_MOST_DETAIL: Final = 200
#: An action of which the carrier tells nothing for so long has failed, ms.
_ACTION_MS: Final = 180_000
#: A goodbye that nobody could speak does not keep the line open longer than this, ms.
_FAREWELL_MS: Final = 15_000


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

    def hear(self, late_ms: float) -> Heard:
        """The next 20 ms of the caller, as of `late_ms` ago. Called once a tick, never blocks."""
        ...

    def hang_up(self) -> None:
        """The agent ends the call."""
        ...

    def transfer(self, reply: ReplyId, target: str, mode: TransferMode) -> None:
        """Put the caller through to `target`: a number, or a sip: or tel: URI.

        Never blocks. What comes of it is told by `Leg.transfer_progressed`, and in the end, once,
        by `Leg.action_done`: at once where the carrier cannot do it, within three minutes always.
        After a transfer that was done the carrier ends the call (Ending.TRANSFERRED); after one
        that failed the caller is heard again.
        """
        ...

    def send_digits(self, reply: ReplyId, digits: str) -> None:
        """Send keys: 0-9 * # A-D; `w` or `,` pauses for half a second.

        Never blocks; `Leg.action_done` tells when the last one has left, or why none can.
        """
        ...


class Leg:
    """The media side of one call. Driven by the engine; reads the log, writes to `pending`."""

    def __init__(
        self,
        call: CallId,
        agent: Agent,
        carrier: Carrier,
        mouth: Mouth,
        now_ms: Callable[[], float],
    ) -> None:
        self.call = call
        self.agent = agent
        #: Events of this leg that are not in the log yet.
        self.pending: list[e.Event] = []
        self._carrier = carrier
        self._now_ms = now_ms
        self._mouth = mouth
        self._playout = mouth.playout
        self._seq = 0
        #: What the agent says in the present frame.
        self._spoken: bytes | None = None
        self._actions = Actions()
        #: When the action under way has failed, whatever the carrier says (epoch ms).
        self._action_by = float("inf")
        #: Once this goodbye has been heard, the agent hangs up; in any case then (epoch ms).
        self._farewell: ReplyId | None = None
        self._farewell_by = float("inf")
        #: The playback was stopped, and nobody knows yet what for.
        self._interrupted = False
        #: Where the last key was pressed (samples). Until it is a turn no cough resumes the agent.
        self._last_key = -1
        self._conversation: Conversation | None = None
        #: Asides that the engine has not had spoken yet, and all that were due.
        self.asides: list[DueAside] = []
        self._asides_due: set[ReplyId] = set()

    @property
    def position(self) -> int:
        """The media clock: samples since the first frame."""
        return self._seq * FRAME_SAMPLES

    def follow(self, conversation: Conversation) -> None:
        """Know the call's live fold."""
        self._conversation = conversation

    def tick(self, now_ms: float, *, late_ms: float = 0.0, deaf: bool = False) -> InFrame:
        """Move one frame each way: `speak`, then `listen`."""
        self.speak(now_ms, late_ms=late_ms)
        return self.listen(now_ms, late_ms=late_ms, deaf=deaf)

    def speak(self, now_ms: float, *, late_ms: float = 0.0) -> None:
        """Send a frame: the tick of `now_ms` (epoch ms), which comes `late_ms` late.

        It stands before all that a tick has to do for other legs: what leaves is to leave evenly.
        """
        self._spoken = self._mouth.speak(self.position, now_ms, late_ms)
        self._seq += 1

    def listen(self, now_ms: float, *, late_ms: float = 0.0, deaf: bool = False) -> InFrame:
        """Take the caller's frame of the same tick, and do what the tick is time for.

        `deaf`: no worker is there that could hear the caller.
        """
        heard = self._carrier.hear(late_ms)
        seq = self._seq - 1
        position = seq * FRAME_SAMPLES
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
        if heard.keys and self.agent.barge_in and self.agent.keypad.enabled:
            self._last_key = position + len(heard.keys) - 1
            self._pause(now_ms)
        if seq % _PATIENCE_FRAMES == 0:
            self._be_patient(now_ms, deaf=deaf)
        self._drain_ledger()
        self._act(now_ms)
        self._say_farewell(now_ms)
        spoken = self._spoken
        level = SILENT if spoken is None else level_dbov(g711.ulaw_to_pcm(spoken))
        return InFrame(seq, int(now_ms), Codec.PCMU, heard.payload, heard.concealed, level)

    def _be_patient(self, now_ms: float, *, deaf: bool) -> None:
        """See whether something is to be said beside the answers."""
        if self._conversation is None:
            return
        due = aside_due(self._conversation, now_ms, deaf=deaf)
        if due is None or due.reply in self._asides_due:
            return
        self._asides_due.add(due.reply)
        self.asides.append(due)
        self.pending.append(e.AsideDue(at=now_ms, reply=due.reply, why=due.why, text=due.text))
        self._playout.end_reply(due.reply, 1)
        metrics.ASIDES.labels(due.why).inc()
        if due.why == "trouble":
            self._playout.urge(due.reply)
        elif due.why == "goodbye":
            self._farewell, self._farewell_by = due.reply, now_ms + _FAREWELL_MS

    def _act(self, now_ms: float) -> None:
        """Begin what the agent wants done, once the reply that asked for it has been heard."""
        overdue = self._actions.under_way
        if overdue is not None and now_ms >= self._action_by:
            detail = "nobody said what came of it"
            self.action_done(overdue.reply, overdue.action, ok=False, detail=detail)
        request = self._actions.begin(self._playout.complete)
        if request is None:
            return
        self._action_by = now_ms + _ACTION_MS
        reply, arguments = request.reply, request.arguments
        match request.action:
            case "hangup":
                self.action_done(reply, "hangup", ok=True)
                self._carrier.hang_up()
            case "transfer":
                target = arguments.get("target", "")
                self.pending.append(_step(request, now_ms, 100, "Trying"))
                mode: TransferMode = "attended" if arguments.get("mode") == "attended" else "blind"
                self._carrier.transfer(reply, target, mode)
            case "send_digits":
                self._carrier.send_digits(reply, arguments.get("digits", ""))

    def transfer_progressed(self, reply: ReplyId, status: int, text: str = "") -> None:
        """The carrier tells of a step of the transfer: a status as SIP has it, and its words."""
        request = self._actions.under_way
        if request is not None and (request.reply, request.action) == (reply, "transfer"):
            self.pending.append(_step(request, self._now_ms(), status, text))

    def action_done(
        self,
        reply: ReplyId,
        action: e.ActionName,
        *,
        ok: bool,
        status: int | None = None,
        detail: str = "",
    ) -> None:
        """The carrier tells what came of an action: once, and of no other than is under way.

        What the reply wanted done after one that failed is not done: it was to follow it.
        """
        request = self._actions.end(reply, action)
        if request is None:
            return
        self._settle(request, ok=ok, status=status, detail=detail)
        for other in self._actions.withdraw(reply) if not ok else ():
            self._settle(other, ok=False, detail=f"the {action} before it failed")

    def _settle(
        self, request: e.ActionRequested, *, ok: bool, status: int | None = None, detail: str
    ) -> None:
        outcome: Literal["done", "failed"] = "done" if ok else "failed"
        self.pending.append(
            e.ActionDone(
                at=self._now_ms(),
                reply=request.reply,
                action=request.action,
                index=request.index,
                outcome=outcome,
                detail=detail[:_MOST_DETAIL],
                status=status,
            )
        )
        metrics.ACTIONS.labels(request.action, outcome).inc()

    def _say_farewell(self, now_ms: float) -> None:
        if self._farewell is None or self._is_answered():
            return
        if self._playout.complete(self._farewell) or now_ms >= self._farewell_by:
            self._farewell = None
            self._carrier.hang_up()

    def _is_answered(self) -> bool:
        """Does the caller speak, whom the agent says goodbye to because they did not?"""
        return self._conversation is not None and self._conversation.speech is not None

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
        self._mouth.hurry(self.position, self._now_ms())

    def happened(self, event: e.Event, conversation: Conversation) -> None:
        """A new entry of the log, already folded into `conversation`."""
        match event:
            case e.SpeechStarted() if self.agent.barge_in:
                self._pause(self._now_ms())
            case e.SpeechDropped() if self._last_key <= conversation.keyed_until:
                self._playout.resume()
                self._interruption_was("resumed")
            case e.GuessWithdrawn():
                self._withdrawn(reply_id(event.turn, event.revision))
            case e.TurnEnded():
                self._turn_ended(event)
            case e.SentenceReady(protected=True):
                self._playout.protect(event.reply, event.index)
            case e.ReplyEnded():
                self._playout.end_reply(event.reply, event.sentences)
            case e.ActionRequested() if conversation.is_current(event.reply):
                self._actions.ask(event)
            case e.PlaybackStarted(index=0, offset=0) if not is_aside(event.reply):
                _observe(conversation, event.reply)
            case _:
                pass

    def _turn_ended(self, event: e.TurnEnded) -> None:
        if self.agent.barge_in:
            self._playout.drop_before(event.turn, self.position, self._now_ms())
            self._drain_ledger()
            self._interruption_was("dropped")
            self._actions.drop_before(event.turn)
        if self._farewell is not None and turn_of(self._farewell) < event.turn:
            self._farewell, self._farewell_by = None, float("inf")
        self._wasted(self._playout.confirm(reply_id(event.turn, event.revision)))
        self._mouth.hurry(self.position, self._now_ms())

    def _withdrawn(self, reply: ReplyId) -> None:
        self._wasted(self._playout.withdraw(reply))
        self._actions.withdraw(reply)

    def _pause(self, now_ms: float) -> None:
        self._playout.pause(self.position, now_ms)
        self._interrupted = self._interrupted or bool(self._playout.ledger)
        self._drain_ledger()

    def _interruption_was(self, outcome: str) -> None:
        if self._interrupted:
            metrics.BARGE_INS.labels(outcome).inc()
        self._interrupted = False

    def _wasted(self, samples: int) -> None:
        metrics.GUESSES_WASTED.inc(samples / SAMPLE_RATE)

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


def _step(
    request: e.ActionRequested, now_ms: float, status: int, text: str
) -> e.TransferProgressed:
    return e.TransferProgressed(
        at=now_ms,
        reply=request.reply,
        target=request.arguments.get("target", ""),
        status=status,
        text=text[:_MOST_DETAIL],
    )


def _observe(conversation: Conversation, reply: ReplyId) -> None:
    """Count where the turn's time went; the leg is the one that sees the whole turn."""
    turn = conversation.turns[turn_of(reply)]
    for stage, spent in stages_ms(turn).items():
        metrics.STAGE_DURATION.labels(stage).observe(max(0.0, spent) / 1000)
    if (total := voice_to_voice_ms(turn)) is not None:
        metrics.E2E_DURATION.observe(total / 1000)
