"""What can happen in a call: the entries of its log.

Each event is one fact, written once by the process that knows it. `at` is when it happened, Unix
epoch in ms. `position` is a place on the call's media clock: samples at 8000 Hz since the ingress
took the caller's first frame, the same clock for both directions, so a position is also a place in
the recording. `offset` is a place inside one sentence's audio, in samples.

Events of one kind that agree in their `KEY` fields are the same fact: the log takes the first and
drops the rest (bus/log.py), so a worker that takes over may write again what its predecessor had
written. Wire form, version and size limits are in bus/events.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from calls.agent import Agent
from calls.ending import Ending
from calls.ids import CALL_ID_PATTERN, REPLY_ID_PATTERN, CallId, ReplyId

AsideReason = Literal["filler", "trouble", "reprompt", "goodbye", "apology"]
Stage = Literal["ingress", "asr", "llm", "tts", "recorder"]

_CallId = Annotated[CallId, StringConstraints(pattern=f"^{CALL_ID_PATTERN}$")]
_ReplyId = Annotated[ReplyId, StringConstraints(pattern=f"^{REPLY_ID_PATTERN}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share."""

    KEY: ClassVar[tuple[str, ...]] = ()

    kind: str
    at: float

    @property
    def key(self) -> str:
        """The fact's identity within its call."""
        return "/".join([self.kind, *(str(getattr(self, name)) for name in self.KEY)])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """A call was admitted. Always the first entry."""

    kind: Literal["call.started"] = "call.started"
    call: _CallId
    agent: Agent
    carrier: Literal["sip", "twilio", "webrtc", "websocket"]
    caller: str
    called: str
    #: The carrier's own name of the call: SIP Call-ID, Twilio CallSid.
    carrier_call: str
    codec: str
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered(Event):
    """Media may flow."""

    kind: Literal["call.answered"] = "call.answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    """The call is over. Always the last entry but for the recorder's."""

    kind: Literal["call.ended"] = "call.ended"
    why: Ending
    #: The media clock when it ended: the length of both recording channels.
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitPressed(Event):
    """The caller pressed a key (RFC 4733)."""

    KEY = ("position",)

    kind: Literal["digit"] = "digit"
    digit: str
    duration_ms: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaQuality(Event):
    """How the caller's audio arrived over the whole call, and ours at the caller's side."""

    kind: Literal["media.quality"] = "media.quality"
    packets: int
    lost: int
    late: int
    concealed: int
    jitter_ms: float
    #: From us to the caller's side and back; None where it never told (RTCP).
    round_trip_ms: float | None = None
    mos: float
    #: What the caller sent last: PCMU, PCMA, G722, opus; empty before anything came.
    codec: str = ""
    #: What the caller's side said of our audio: packets lost, jitter; None where it never did.
    peer_lost: int | None = None
    peer_jitter_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaGap(Event):
    """A reader found a hole in an audio stream: frames were trimmed before it read them."""

    KEY = ("stage", "position")

    kind: Literal["media.gap"] = "media.gap"
    stage: Stage
    position: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """The caller began to speak. Playback pauses here if the agent may be interrupted."""

    KEY = ("turn", "position")

    kind: Literal["speech.started"] = "speech.started"
    turn: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptPartial(Event):
    """What the caller seems to be saying so far."""

    KEY = ("turn", "position")

    kind: Literal["transcript.partial"] = "transcript.partial"
    turn: int
    position: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnGuessed(Event):
    """The caller may have finished: a reply to these words is prepared, and held back.

    It is spoken if the turn ends with this revision, and forgotten if the guess is withdrawn or
    another one made.
    """

    KEY = ("turn", "revision")

    kind: Literal["turn.guessed"] = "turn.guessed"
    turn: int
    revision: int
    text: str
    confidence: float | None
    #: Where the last speech sample was.
    speech_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessWithdrawn(Event):
    """The caller went on: nobody wants that reply."""

    KEY = ("turn", "revision")

    kind: Literal["turn.guess_withdrawn"] = "turn.guess_withdrawn"
    turn: int
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(Event):
    """The caller finished a turn: this is what was said. The reply to it is due."""

    KEY = ("turn",)

    kind: Literal["turn.ended"] = "turn.ended"
    turn: int
    text: str
    #: 0..1, or None where the provider does not say.
    confidence: float | None
    speech_start: int
    speech_end: int
    #: When the last speech sample was heard, and when the end of the turn was decided (epoch ms).
    speech_ended_at: float
    decided_at: float
    #: Which revision of the reply answers it: that of the guess with these words, if there was one.
    revision: int = 0
    #: What ended it. silence: no hint in the words; complete, unfinished: a hint in them;
    #: provider: the transcriber said so; longest: it lasted too long; keypad: it was keyed in;
    #: hung_up: the call ended.
    rule: Literal[
        "silence", "complete", "unfinished", "provider", "longest", "keypad", "hung_up"
    ] = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDropped(Event):
    """What began as speech is no turn: playback goes on from where it paused.

    If the caller goes on after all, the same turn's speech starts again.
    """

    KEY = ("turn", "position")

    kind: Literal["speech.dropped"] = "speech.dropped"
    turn: int
    #: Where that speech had started.
    position: int
    #: noise: too little of it was speech, whatever the transcriber made of it.
    why: Literal["no_words", "backchannel", "noise"]
    #: What the transcriber made of it.
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingEnded(Event):
    """The transcriber has heard the call to its end: no further turn will come."""

    kind: Literal["hearing.ended"] = "hearing.ended"
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStarted(Event):
    """A worker took the turn and asked the responder."""

    KEY = ("reply",)

    kind: Literal["reply.started"] = "reply.started"
    reply: _ReplyId


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceReady(Event):
    """The responder completed a sentence; it may be spoken."""

    KEY = ("reply", "index")

    kind: Literal["sentence"] = "sentence"
    reply: _ReplyId
    index: int
    text: str
    #: When the responder's first token of this sentence came (epoch ms).
    first_token_at: float
    #: It is spoken to its end, even if the caller speaks.
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideDue(Event):
    """The agent says something beside the answer.

    filler, trouble: the answer is late; reprompt, goodbye: the caller is silent; apology: nothing
    of the answer could be spoken.
    """

    KEY = ("reply",)

    kind: Literal["aside"] = "aside"
    reply: _ReplyId
    why: AsideReason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequested(Event):
    """The agent wants something done once this reply has been heard."""

    KEY = ("reply", "action")

    kind: Literal["action"] = "action"
    reply: _ReplyId
    action: Literal["hangup"]
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnded(Event):
    """The reply has no more sentences than these."""

    KEY = ("reply",)

    kind: Literal["reply.ended"] = "reply.ended"
    reply: _ReplyId
    sentences: int
    why: Literal["complete", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisStarted(Event):
    """The first audio of a sentence was written to the bus."""

    KEY = ("reply", "index")

    kind: Literal["synthesis.started"] = "synthesis.started"
    reply: _ReplyId
    index: int
    #: When a worker took the sentence (epoch ms).
    taken_at: float
    #: It came from the cache of speech.
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisEnded(Event):
    """A sentence's audio is complete and this long."""

    KEY = ("reply", "index")

    kind: Literal["synthesis.ended"] = "synthesis.ended"
    reply: _ReplyId
    index: int
    samples: int
    why: Literal["complete", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(Event):
    """A run of a sentence's audio began to leave the ingress."""

    KEY = ("reply", "index", "position")

    kind: Literal["playback.started"] = "playback.started"
    reply: _ReplyId
    index: int
    offset: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStopped(Event):
    """That run ended before `offset`, at `position`."""

    KEY = ("reply", "index", "position")

    kind: Literal["playback.stopped"] = "playback.stopped"
    reply: _ReplyId
    index: int
    offset: int
    position: int
    #: finished: the sentence is over; starved: its next audio was not there in time;
    #: paused: the caller spoke; dropped: the reply is no longer wanted.
    why: Literal["finished", "starved", "paused", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed(Event):
    """A stage could not do its work for this call."""

    KEY = ("stage", "at")

    kind: Literal["stage.failed"] = "stage.failed"
    stage: Stage
    error_type: str
    message: str
    reply: _ReplyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecorded(Event):
    """The recorder has turned the log into rows and, if the agent asks for it, a recording."""

    kind: Literal["call.recorded"] = "call.recorded"
    recording: str | None


AnyEvent = (
    CallStarted
    | CallAnswered
    | CallEnded
    | DigitPressed
    | MediaQuality
    | MediaGap
    | SpeechStarted
    | TranscriptPartial
    | TurnGuessed
    | GuessWithdrawn
    | TurnEnded
    | SpeechDropped
    | HearingEnded
    | ReplyStarted
    | SentenceReady
    | AsideDue
    | ActionRequested
    | ReplyEnded
    | SynthesisStarted
    | SynthesisEnded
    | PlaybackStarted
    | PlaybackStopped
    | StageFailed
    | CallRecorded
)
