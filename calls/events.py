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
from typing import Literal

from calls.agent import Agent
from calls.ending import Ending
from calls.event import CheckedCallId, CheckedReplyId
from calls.event import Event as Event  # noqa: PLC0414  # for whoever takes any of them

AsideReason = Literal["filler", "trouble", "reprompt", "goodbye", "apology", "transfer_failed"]
ActionName = Literal["hangup", "transfer", "send_digits"]
Stage = Literal["ingress", "asr", "llm", "tts", "recorder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Event):
    """A call was admitted. Always the first entry."""

    kind: Literal["call.started"] = "call.started"
    call: CheckedCallId
    agent: Agent
    carrier: Literal["sip", "twilio", "telnyx", "plivo", "vonage", "webrtc", "websocket"]
    caller: str
    called: str
    #: The carrier's own name of the call: SIP Call-ID, Twilio CallSid.
    carrier_call: str
    codec: str
    remote: str
    #: outbound: we placed the call, and `called` is who was to answer it.
    direction: Literal["inbound", "outbound"] = "inbound"
    #: The name of the trunk that it came or goes by; empty for none.
    trunk: str = ""
    #: What the asker of an outbound call knows of it, by name; the agent knows it too.
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def greeting(self) -> str:
        """The agent's greeting, with what is known of the call in its `{places}`."""
        greeting = self.agent.greeting
        for name, value in self.variables.items():
            greeting = greeting.replace(f"{{{name}}}", value)
        return greeting


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRinging(Event):
    """The other side of an outbound call is being called."""

    KEY = ("status",)

    kind: Literal["call.ringing"] = "call.ringing"
    #: 180: it rings; 183: the network has something to say (RFC 3261 21.1).
    status: int
    #: Audio comes before the answer: a ringing tone, an announcement.
    early_media: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRerouted(Event):
    """An outbound call goes by another trunk than before, which could not take it."""

    KEY = ("trunk",)

    kind: Literal["call.rerouted"] = "call.rerouted"
    trunk: str


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
    """How the caller's audio arrived, over the whole call, and what the peer says of ours."""

    kind: Literal["media.quality"] = "media.quality"
    packets: int
    lost: int
    late: int
    concealed: int
    jitter_ms: float
    round_trip_ms: float | None = None
    mos: float
    #: The codec that was spoken last; empty where nobody says.
    codec: str = ""
    #: RTP packets sent; of these the peer has lost so many, and their jitter there (RFC 3550
    #: 6.4.1). None where it sends no reports.
    sent: int = 0
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
    reply: CheckedReplyId


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceReady(Event):
    """The responder completed a sentence; it may be spoken."""

    KEY = ("reply", "index")

    kind: Literal["sentence"] = "sentence"
    reply: CheckedReplyId
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
    of the answer could be spoken; transfer_failed: the caller is back with the agent.
    """

    KEY = ("reply",)

    kind: Literal["aside"] = "aside"
    reply: CheckedReplyId
    why: AsideReason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequested(Event):
    """The agent wants something done once this reply has been heard.

    hangup has no arguments. transfer: `target`, a number or a sip: or tel: URI; `mode`, "blind" or
    "attended"; `destination`, the target's name where the agent's file names it. send_digits:
    `digits`, of 0-9 * # A-D, where `w` or `,` is a pause.
    """

    KEY = ("reply", "action", "index")

    kind: Literal["action"] = "action"
    reply: CheckedReplyId
    action: ActionName
    arguments: dict[str, str] = field(default_factory=dict)
    #: How many actions of this name the reply had asked for before: it may send digits twice.
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone(Event):
    """What the agent wanted done is done, or cannot be. A failed transfer gives the caller back."""

    KEY = ("reply", "action", "index")

    kind: Literal["action.done"] = "action.done"
    reply: CheckedReplyId
    action: ActionName
    index: int = 0
    outcome: Literal["done", "failed"]
    #: For people: "486 Busy Here".
    detail: str = ""
    #: The carrier's status code, a SIP response's; None where there is none.
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgressed(Event):
    """A step of a transfer under way: the first is 100, when the carrier was asked for it."""

    KEY = ("reply", "target", "status")

    kind: Literal["transfer.progress"] = "transfer.progress"
    reply: CheckedReplyId
    target: str
    #: As SIP has it: 100 tried, 180 rings, 200 answered, 486 busy (RFC 3515 2.4.5).
    status: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnded(Event):
    """The reply has no more sentences than these."""

    KEY = ("reply",)

    kind: Literal["reply.ended"] = "reply.ended"
    reply: CheckedReplyId
    sentences: int
    why: Literal["complete", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisStarted(Event):
    """The first audio of a sentence was written to the bus."""

    KEY = ("reply", "index")

    kind: Literal["synthesis.started"] = "synthesis.started"
    reply: CheckedReplyId
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
    reply: CheckedReplyId
    index: int
    samples: int
    why: Literal["complete", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStarted(Event):
    """A run of a sentence's audio began to leave the ingress."""

    KEY = ("reply", "index", "position")

    kind: Literal["playback.started"] = "playback.started"
    reply: CheckedReplyId
    index: int
    offset: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackStopped(Event):
    """That run ended before `offset`, at `position`."""

    KEY = ("reply", "index", "position")

    kind: Literal["playback.stopped"] = "playback.stopped"
    reply: CheckedReplyId
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
    reply: CheckedReplyId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecorded(Event):
    """The recorder has turned the log into rows and, if the agent asks for it, a recording."""

    kind: Literal["call.recorded"] = "call.recorded"
    recording: str | None


# fmt: off
AnyEvent = (
    CallStarted | CallRerouted | CallRinging | CallAnswered | CallEnded | DigitPressed
    | MediaQuality | MediaGap | SpeechStarted | TranscriptPartial | TurnGuessed | GuessWithdrawn
    | TurnEnded | SpeechDropped | HearingEnded | ReplyStarted | SentenceReady | AsideDue
    | ActionRequested | ActionDone | TransferProgressed | ReplyEnded | SynthesisStarted
    | SynthesisEnded | PlaybackStarted | PlaybackStopped | StageFailed | CallRecorded
)
# fmt: on
