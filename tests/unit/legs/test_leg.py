"""A call's leg: who may speak, and what the log is told."""

from __future__ import annotations

from bus.audio import OUT_FIELD, OutChunk, encode_chunk
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import ReplyId
from legs.leg import Heard, Key, Leg
from media.frames import Codec
from tests.support.facts import AGENT, CALL, reply_ended, reply_started, speech, started, turn

FRAME = 160
SILENT = bytes([0xFF]) * FRAME
SOUND = bytes([0x10]) * FRAME


class Phone:
    """A carrier that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[bytes | None] = []
        self.keys: tuple[Key, ...] = ()
        self.hung_up = 0

    def hear(self, now_ms: float) -> Heard:
        keys, self.keys = self.keys, ()
        return Heard(SILENT, concealed=False, keys=keys)

    def say(self, payload: bytes | None) -> None:
        self.said.append(payload)

    def hang_up(self) -> None:
        self.hung_up += 1


class Call:
    """A leg with its log: whatever happens is folded first, as the bus does it."""

    def __init__(self, agent: Agent = AGENT) -> None:
        self.phone = Phone()
        self.leg = Leg(CALL, agent, self.phone, lambda: 0.0)
        self.conversation = Conversation.of([started(agent=agent)])

    def happens(self, *facts: e.Event) -> None:
        for fact in facts:
            self.conversation.apply(fact)
            self.leg.happened(fact, self.conversation)

    def audio(self, reply: str, sentence: int, frames: int) -> None:
        chunk = OutChunk(ReplyId(reply), sentence, 0, Codec.PCMU, SOUND * frames, last=True)
        self.leg.audio_came([(b"1-0", {OUT_FIELD: encode_chunk(chunk)})])

    def ticks(self, times: int) -> list[bool]:
        """Whether the agent spoke, for each tick."""
        before = len(self.phone.said)
        for number in range(times):
            self.leg.tick(float(number))
        return [payload is not None for payload in self.phone.said[before:]]

    def facts(self, kind: type[e.Event]) -> list[e.Event]:
        return [fact for fact in self.leg.pending if isinstance(fact, kind)]


def speaking(agent: Agent = AGENT, frames: int = 20) -> Call:
    call = Call(agent)
    call.happens(turn(1), reply_started("1.0"))
    call.audio("1.0", 0, frames)
    assert call.ticks(2) == [True, True]
    return call


def test_frames_are_numbered_by_the_media_clock() -> None:
    call = Call()
    frames = [call.leg.tick(1000.5), call.leg.tick(1020.5)]
    assert [frame.seq for frame in frames] == [0, 1]
    assert frames[1].captured_ms == 1020
    assert call.leg.position == 320


def test_speech_pauses_the_agent_and_a_cough_lets_it_go_on() -> None:
    call = speaking()
    call.happens(speech(2, position=320))
    assert call.ticks(2) == [False, False]
    call.happens(e.SpeechDropped(at=0, turn=2, position=320, why="no_words"))
    assert call.ticks(2) == [True, True]
    stops = call.facts(e.PlaybackStopped)
    assert [(stop.offset, stop.position, stop.why) for stop in stops] == [(320, 320, "paused")]


def test_a_turn_drops_the_reply_it_interrupted() -> None:
    call = speaking()
    call.happens(speech(2), turn(2))
    assert call.ticks(2) == [False, False]
    call.happens(reply_started("2.0"))
    call.audio("2.0", 0, 2)
    assert call.ticks(1) == [True]


def test_an_agent_that_does_not_yield_speaks_on() -> None:
    call = speaking(Agent(name="monologue", barge_in=False))
    call.happens(speech(2), turn(2))
    assert call.ticks(3) == [True, True, True]


def test_a_farewell_is_heard_before_the_call_ends() -> None:
    call = speaking(frames=4)
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 1)
    )
    call.ticks(1)
    assert call.phone.hung_up == 0
    call.ticks(4)
    assert call.phone.hung_up == 1


def test_a_farewell_that_was_talked_over_ends_nothing() -> None:
    call = speaking(frames=4)
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 1)
    )
    call.happens(speech(2), turn(2))
    call.ticks(10)
    assert call.phone.hung_up == 0


def test_a_farewell_of_a_stale_reply_ends_nothing() -> None:
    call = Call()
    call.happens(turn(1), turn(2))
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 0)
    )
    call.ticks(3)
    assert call.phone.hung_up == 0


def test_a_farewell_without_words_ends_the_call() -> None:
    call = Call()
    call.happens(turn(1), e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"))
    call.ticks(1)
    assert call.phone.hung_up == 0
    call.happens(reply_ended("1.0", 0))
    call.ticks(1)
    assert call.phone.hung_up == 1


def test_each_pressed_key_is_a_fact_of_its_own() -> None:
    call = Call()
    call.ticks(3)
    call.phone.keys = (Key("4", 100), Key("4", 90))
    call.ticks(1)
    digits = call.facts(e.DigitPressed)
    assert [(fact.digit, fact.position) for fact in digits] == [("4", 480), ("4", 481)]
    assert len({fact.key for fact in digits}) == 2


def test_what_is_no_audio_is_passed_over() -> None:
    call = Call()
    call.leg.audio_came([(b"1-0", {OUT_FIELD: b"garbage"}), (b"2-0", {})])
    call.audio("1.0", 0, 2)
    assert call.ticks(1) == [True]


def test_the_end_says_what_was_playing() -> None:
    call = speaking()
    call.leg.close()
    assert [stop.why for stop in call.facts(e.PlaybackStopped)] == ["dropped"]
