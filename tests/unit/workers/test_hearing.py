"""One call's ear: what it commits, and what a second worker makes of it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.audio import InFrame
from bus.log import Ownership, SupersededError
from calls import events as e
from calls.agent import Agent, Endpointing, Keypad, Speculation
from calls.completeness import Completeness
from calls.conversation import Conversation
from calls.ids import ReplyId
from media import g711
from media.frames import Codec
from tests.support.facts import CALL, playing, sentence, speech, stopped, synthesis_ended
from workers.asr.hearing import Hearing
from workers.asr.speech import Scene
from workers.ports import Partial, ProviderError, Transcript

FRAME = 160
#: Onset after 3 frames of speech; a pause after 3 of silence; a turn's end after 10, 5 if its
#: words are complete, 20 if they are not.
AGENT = Agent(
    name="desk",
    endpointing=Endpointing(
        min_speech_ms=60, silence_ms=200, complete_ms=100, unfinished_ms=400, pad_ms=80
    ),
    speculation=Speculation(after_ms=60),
    keypad=Keypad(timeout_ms=200),
)


class Log:
    """The log of one call as bus/log.py keeps it: facts once, old epochs refused."""

    def __init__(self) -> None:
        self.facts: dict[str, e.Event] = {}
        self.epoch = 0
        self.checkpoint: dict[str, Any] | None = None
        self.trims: list[str] = []
        self.conversation = Conversation()

    def claim(self) -> Ownership:
        self.epoch += 1
        return Ownership(CALL, "asr", self.epoch, self.checkpoint)

    async def commit(
        self,
        owner: Ownership,
        *events: e.Event,
        checkpoint: dict[str, Any] | None = None,
        trim_before: str = "",
    ) -> None:
        if owner.epoch != self.epoch:
            raise SupersededError("asr")
        for event in events:
            if event.key not in self.facts:
                self.facts[event.key] = event
                self.conversation.apply(event)
        if checkpoint is not None:
            self.checkpoint = checkpoint
        if trim_before:
            self.trims.append(trim_before)

    def of(self, *kinds: type[e.Event]) -> list[Any]:
        return [fact for fact in self.facts.values() if isinstance(fact, kinds)]


class Utterance:
    def __init__(self, transcriber: Transcriber) -> None:
        self.heard = bytearray()
        self.ended = ""
        self._transcriber = transcriber

    @property
    def words(self) -> str:
        """The numbers of the frames that held speech, as words."""
        numbers = (self.heard[begin] for begin in range(0, len(self.heard), FRAME))
        return " ".join(str(number) for number in numbers if number)

    async def write(self, pcm: bytes) -> Partial:
        if self._transcriber.broken:
            raise ProviderError("no line", error_type="unavailable")
        self.heard += g711.encode(pcm, Codec.PCMU)
        return Partial(self.words, ended=self.words in self._transcriber.endings)

    async def guess(self) -> Transcript:
        if self._transcriber.slow is not None:
            await self._transcriber.slow.wait()
        if self._transcriber.guessless:
            raise ProviderError("no guess", error_type="timeout")
        return self._transcript

    async def finish(self) -> Transcript:
        self.ended = "finished"
        return self._transcript

    @property
    def _transcript(self) -> Transcript:
        says = self._transcriber.says
        return Transcript(self.words if says is None else says, 0.5)

    async def cancel(self) -> None:
        self.ended = "cancelled"


class Transcriber:
    """Hears frames whose every byte is their number, and says the numbers."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.broken = False
        self.guessless = False
        #: What every utterance says, if not the numbers.
        self.says: str | None = None
        #: Words after which the provider hears the end of the turn.
        self.endings: set[str] = set()
        self.slow: asyncio.Event | None = None

    def listen(self) -> Utterance:
        self.utterances.append(Utterance(self))
        return self.utterances[-1]

    async def close(self) -> None: ...


class MarkEar:
    """A frame holds speech unless its first byte is 0; the agent spoke up to a frame."""

    def __init__(self) -> None:
        self.agent_until = -1
        self.is_noise = False

    def hear(self, frame: InFrame) -> tuple[bytes, bool]:
        return g711.decode(frame.payload, frame.codec), frame.payload[0] != 0

    def begin(self) -> None: ...

    def over_agent(self, position: int) -> bool:
        return position < self.agent_until * FRAME


class Judge:
    def __init__(self) -> None:
        self.says = Completeness.UNSURE
        self.asked: list[tuple[str, str]] = []

    async def judge(self, pcm: bytes, text: str, asked: str) -> Completeness:
        self.asked.append((text, asked))
        return self.says


def frames(pattern: str, first: int = 0) -> list[InFrame]:
    """One frame a character: `#` is speech, and says its number."""
    return [
        InFrame(
            seq, 1000 + 20 * seq, Codec.PCMU, bytes([seq % 100 + 1 if char == "#" else 0]) * FRAME
        )
        for seq, char in enumerate(pattern, first)
        if char != "x"
    ]


class Ear:
    """A worker's hearing of the call."""

    def __init__(self, log: Log, agent: Agent = AGENT, *, live: bool = False) -> None:
        """`live`: frames are heard as they come; else they are a backlog."""
        self.asked: list[str] = []
        self.transcriber = Transcriber()
        self.ear = MarkEar()
        self.judge = Judge()
        self.now_ms = 1e6
        self.live = live

        async def ask(reply: ReplyId) -> None:
            self.asked.append(reply)

        fake: Any = log
        self.hearing = Hearing(
            Scene(
                agent,
                log.claim(),
                fake,
                self.transcriber,
                self.ear,
                self.judge,
                log.conversation,
                now_ms=lambda: self.now_ms,
                ask=ask,
            )
        )

    async def hear(self, heard: list[InFrame], batch: int = 1) -> None:
        for begin in range(0, len(heard), batch):
            if self.live:
                self.now_ms = float(heard[begin].captured_ms)
            await self.hearing.hear(heard[begin : begin + batch])
            for _ in range(5):  # what was begun goes on meanwhile
                await asyncio.sleep(0)


def numbers(turn: e.TurnEnded) -> list[int]:
    return [int(word) - 1 for word in turn.text.split()]


async def test_a_turn_is_heard_from_its_soft_beginning_to_its_end() -> None:
    log, pattern = Log(), "." * 6 + "#" * 10 + "." * 12
    ear = Ear(log)
    await ear.hear(frames(pattern))
    [begun], [ended] = log.of(e.SpeechStarted), log.of(e.TurnEnded)
    assert (begun.turn, begun.position) == (1, 6 * FRAME)
    assert (ended.speech_start, ended.speech_end) == (6 * FRAME, 16 * FRAME)
    assert numbers(ended) == list(range(6, 16))
    assert ended.speech_ended_at == 1000 + 20 * 15
    assert ear.asked == ["1.0"]
    # 80 ms of what came before the first speech frame.
    assert bytes(ear.transcriber.utterances[0].heard[: 4 * FRAME]) == bytes(4 * FRAME)


async def test_partials_come_five_times_a_second_at_most() -> None:
    log = Log()
    await Ear(log, live=True).hear(frames("#" * 50))
    places = [partial.position for partial in log.of(e.TranscriptPartial)]
    assert places
    assert all(later - earlier >= 1600 for earlier, later in itertools.pairwise(places))


async def test_speech_without_words_is_dropped_and_the_turn_number_kept() -> None:
    log = Log()
    ear = Ear(log)
    ear.transcriber.says = ""
    await ear.hear(frames("." * 6 + "#" * 5 + "." * 12))
    [dropped] = log.of(e.SpeechDropped)
    assert (dropped.turn, dropped.position, dropped.why) == (1, 6 * FRAME, "no_words")
    assert ear.asked == []
    ear.transcriber.says = None
    await ear.hear(frames("#" * 5 + "." * 12, first=23))
    assert [turn.turn for turn in log.of(e.TurnEnded)] == [1]
    assert ear.asked == ["1.0"]


async def test_a_turn_that_no_transcriber_could_hear_is_answered_all_the_same() -> None:
    log = Log()
    ear = Ear(log)
    ear.transcriber.broken = True
    await ear.hear(frames("." * 6 + "#" * 5 + "." * 12))
    [failed], [ended] = log.of(e.StageFailed), log.of(e.TurnEnded)
    assert (failed.stage, failed.error_type) == ("asr", "unavailable")
    assert (ended.turn, ended.text, ended.confidence) == (1, "", 0.0)
    assert ear.asked == ["1.0"]


async def test_a_hole_in_the_audio_is_a_fact() -> None:
    log = Log()
    await Ear(log).hear(frames("...xxx..."))
    [gap] = log.of(e.MediaGap)
    assert (gap.stage, gap.position, gap.samples) == ("asr", 3 * FRAME, 3 * FRAME)


async def test_a_frame_heard_before_is_passed_over() -> None:
    log = Log()
    ear = Ear(log)
    await ear.hear(frames("#####"))
    await ear.hear(frames("#####" + "." * 12))
    [ended] = log.of(e.TurnEnded)
    assert numbers(ended) == list(range(5))


async def test_what_is_being_said_when_the_call_ends_is_a_turn_without_an_answer() -> None:
    log = Log()
    ear = Ear(log)
    await ear.hear(frames("." * 5 + "#" * 8))
    await ear.hearing.end()
    [ended] = log.of(e.TurnEnded)
    assert numbers(ended) == list(range(5, 13))
    assert ear.asked == []
    assert [fact.position for fact in log.of(e.HearingEnded)] == [13 * FRAME]


async def test_a_superseded_worker_stops() -> None:
    log = Log()
    ear = Ear(log)
    Ear(log)
    with pytest.raises(SupersededError):
        await ear.hear(frames("#" * 10))
    await ear.hearing.cancel()
    assert [utterance.ended for utterance in ear.transcriber.utterances] == ["cancelled"]


async def test_audio_is_trimmed_only_where_nobody_records_it() -> None:
    kept, trimmed = Log(), Log()
    await Ear(kept).hear(frames("." * 120))
    await Ear(trimmed, AGENT.model_copy(update={"recording": False})).hear(frames("." * 120))
    assert kept.trims == []
    assert trimmed.trims
    assert kept.checkpoint is not None
    # Frames that may turn out to be a word's beginning are kept.
    assert kept.checkpoint["position"] < 100 * FRAME


async def test_speech_that_the_new_owner_does_not_hear_is_dropped() -> None:
    """Without it the playback would wait for ever."""
    log = Log()
    log.conversation.apply(speech(1, position=5 * FRAME))
    await Ear(log).hear(frames("." * 60))
    [dropped] = log.of(e.SpeechDropped)
    assert (dropped.turn, dropped.position) == (1, 5 * FRAME)


async def test_speech_that_the_new_owner_hears_too_is_resolved_by_its_turn() -> None:
    log = Log()
    log.conversation.apply(speech(1, 5 * FRAME))
    await Ear(log).hear(frames("." * 5 + "#" * 10 + "." * 12 + "." * 60))
    assert log.of(e.SpeechDropped) == []
    assert len(log.of(e.TurnEnded)) == 1


SAID = "." * 6 + "#" * 10
END = "." * 12


async def test_the_reply_is_prepared_at_the_pause_and_confirmed_with_the_turn() -> None:
    log = Log()
    ear = Ear(log, live=True)
    await ear.hear(frames(SAID + "." * 4))
    [guess] = log.of(e.TurnGuessed)
    assert (guess.turn, guess.revision, guess.speech_end) == (1, 0, 16 * FRAME)
    assert ear.asked == ["1.0"]
    assert log.of(e.TurnEnded) == []
    await ear.hear(frames("." * 8, first=20))
    [ended] = log.of(e.TurnEnded)
    assert (ended.text, ended.revision, ended.rule) == (guess.text, 0, "silence")
    assert ear.asked == ["1.0"]
    assert [each.ended for each in ear.transcriber.utterances] == ["cancelled"]


async def test_a_guess_is_withdrawn_when_the_caller_goes_on_and_another_made() -> None:
    log = Log()
    ear = Ear(log, live=True)
    await ear.hear(frames(SAID + "...." + "#" * 5 + "." * 5))
    assert [(fact.kind, fact.revision) for fact in log.of(e.TurnGuessed, e.GuessWithdrawn)] == [
        ("turn.guessed", 0),
        ("turn.guess_withdrawn", 0),
        ("turn.guessed", 1),
    ]
    await ear.hear(frames("." * 8, first=30))
    [ended] = log.of(e.TurnEnded)
    assert ended.revision == 1
    assert ear.asked == ["1.0", "1.1"]
    assert numbers(ended) == [*range(6, 16), *range(20, 25)]


async def test_replies_prepared_to_guesses_are_bounded() -> None:
    log = Log()
    how = AGENT.endpointing.model_copy(update={"silence_ms": 2000})
    agent = AGENT.model_copy(
        update={"endpointing": how, "speculation": Speculation(after_ms=60, guesses=2)}
    )
    ear = Ear(log, agent, live=True)
    await ear.hear(frames(SAID + ("." * 30 + "#" * 5) * 4))
    assert [fact.revision for fact in log.of(e.TurnGuessed)] == [0, 1]


async def test_without_speculation_nothing_is_prepared() -> None:
    log = Log()
    agent = AGENT.model_copy(update={"speculation": Speculation(enabled=False, after_ms=60)})
    ear = Ear(log, agent, live=True)
    await ear.hear(frames(SAID + END))
    assert log.of(e.TurnGuessed) == []
    assert len(log.of(e.TurnEnded)) == 1
    assert ear.asked == ["1.0"]


@pytest.mark.parametrize(
    ("judged", "rule", "silence", "prepared"),
    [
        (Completeness.COMPLETE, "complete", 5, 1),
        (Completeness.UNSURE, "silence", 10, 1),
        (Completeness.UNFINISHED, "unfinished", 20, 0),
    ],
)
async def test_the_words_say_how_long_to_wait(
    judged: Completeness, rule: str, silence: int, prepared: int
) -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.judge.says = judged
    await ear.hear(frames(SAID + "." * (silence - 1)))
    assert log.of(e.TurnEnded) == []
    assert len(log.of(e.TurnGuessed)) == prepared
    await ear.hear(frames("..", first=16 + silence - 1))
    [ended] = log.of(e.TurnEnded)
    assert ended.rule == rule
    assert ear.asked == ["1.0"]


async def test_no_turn_ends_while_its_words_are_being_guessed_at() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.judge.says = Completeness.UNFINISHED
    ear.transcriber.slow = asyncio.Event()
    await ear.hear(frames(SAID + "." * 15))
    assert log.of(e.TurnEnded) == []
    ear.transcriber.slow.set()
    await ear.hear(frames("." * 3 + "#" * 5, first=31))
    assert log.of(e.TurnEnded) == []
    ear.judge.says = Completeness.COMPLETE
    await ear.hear(frames(END, first=39))
    [ended] = log.of(e.TurnEnded)
    assert numbers(ended) == [*range(6, 16), *range(34, 39)]


async def test_a_guess_that_fails_leaves_the_turn_to_its_silence() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.transcriber.guessless = True
    await ear.hear(frames(SAID + END))
    [ended] = log.of(e.TurnEnded)
    assert numbers(ended) == list(range(6, 16))
    assert ear.asked == ["1.0"]
    assert [each.ended for each in ear.transcriber.utterances] == ["finished"]


async def test_the_transcriber_may_end_the_turn() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.transcriber.endings = {" ".join(str(number + 1) for number in range(6, 16))}
    await ear.hear(frames(SAID))
    [ended] = log.of(e.TurnEnded)
    assert ended.rule == "provider"
    assert ear.asked == ["1.0"]


async def test_a_backchannel_over_the_agent_lets_it_go_on_at_the_pause() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.ear.agent_until = 100
    ear.transcriber.says = "mhm"
    await ear.hear(frames(SAID + "...."))
    [dropped] = log.of(e.SpeechDropped)
    assert (dropped.why, dropped.text) == ("backchannel", "mhm")
    assert log.conversation.speech is None
    await ear.hear(frames(END, first=20))
    assert log.of(e.TurnEnded, e.TurnGuessed) == []
    assert len(log.of(e.SpeechDropped)) == 1
    assert ear.asked == []


async def test_words_after_a_backchannel_are_one_turn_with_it() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.ear.agent_until = 100
    ear.transcriber.says = "yeah"
    await ear.hear(frames(SAID + "...."))
    ear.transcriber.says = None
    await ear.hear(frames("#" * 5 + END + "....", first=20))
    assert [fact.position for fact in log.of(e.SpeechStarted)] == [6 * FRAME, 20 * FRAME]
    [ended] = log.of(e.TurnEnded)
    assert numbers(ended) == [*range(6, 16), *range(20, 25)]


@pytest.mark.parametrize(("left", "why"), [(8000, "answer"), (16_000, "backchannel")])
async def test_yeah_is_an_answer_once_the_question_is_all_but_out(left: int, why: str) -> None:
    log = Log()
    for fact in (
        sentence("0.0", 0, "Shall I book it?"),
        synthesis_ended("0.0", 0, 24_000),
        playing("0.0", 0),
        stopped("0.0", 0, 24_000 - left, why="paused"),
    ):
        log.conversation.apply(fact)
    ear = Ear(log, live=True)
    ear.ear.agent_until = 100
    ear.transcriber.says = "yeah"
    await ear.hear(frames(SAID + END))
    assert len(log.of(e.TurnEnded)) == (why == "answer")
    assert [fact.why for fact in log.of(e.SpeechDropped)] == [why] * (why == "backchannel")


async def test_yeah_in_silence_is_a_turn() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.transcriber.says = "yeah"
    await ear.hear(frames(SAID + END))
    assert len(log.of(e.TurnEnded)) == 1


async def test_noise_is_no_turn_whatever_words_are_found_in_it() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.ear.is_noise = True
    await ear.hear(frames(SAID + END))
    assert [fact.why for fact in log.of(e.SpeechDropped)] == ["noise"]
    assert log.of(e.TurnEnded, e.TurnGuessed) == []


async def test_what_turns_out_to_be_noise_at_the_end_needs_no_reply() -> None:
    log = Log()
    ear = Ear(log, live=True)
    await ear.hear(frames(SAID + "...."))
    ear.ear.is_noise = True
    await ear.hear(frames(END, first=20))
    assert [fact.kind for fact in log.of(e.TurnGuessed, e.GuessWithdrawn, e.SpeechDropped)] == [
        "turn.guessed",
        "speech.dropped",
        "turn.guess_withdrawn",
    ]
    assert log.of(e.TurnEnded) == []


async def test_the_judge_is_told_what_the_agent_had_asked() -> None:
    log = Log()
    log.conversation.apply(sentence("0.0", 0, "What is your number?"))
    log.conversation.apply(playing("0.0", 0))
    ear = Ear(log, live=True)
    ear.transcriber.says = "two four"
    await ear.hear(frames(SAID + END))
    assert ear.judge.asked == [("two four", "What is your number?")]


def key(digit: str, frame: int) -> e.DigitPressed:
    return e.DigitPressed(at=1.0, digit=digit, duration_ms=100, position=frame * FRAME)


async def test_keys_are_a_turn() -> None:
    log = Log()
    ear = Ear(log, live=True)
    ear.hearing.press(key("4", 2))
    ear.hearing.press(key("2", 4))
    await ear.hear(frames("." * 20))
    [ended] = log.of(e.TurnEnded)
    assert (ended.text, ended.rule, ended.speech_end) == ("42", "keypad", 4 * FRAME)
    assert ear.asked == ["1.0"]


async def test_keys_pressed_while_speaking_lose_no_word() -> None:
    log = Log()
    ear = Ear(log, live=True)
    await ear.hear(frames(SAID))
    ear.hearing.press(key("1", 15))
    ear.hearing.press(key("#", 16))
    await ear.hear(frames("#" * 4 + END, first=16))
    keyed, spoken = log.of(e.TurnEnded)
    assert (keyed.turn, keyed.text) == (1, "1")
    assert (spoken.turn, numbers(spoken)) == (2, list(range(6, 20)))
    assert ear.asked == ["1.0", "2.0"]


async def test_a_second_worker_takes_the_standing_guess_up() -> None:
    log = Log()
    first = Ear(log, live=True)
    await first.hear(frames(SAID + "...."))
    second = Ear(log, live=True)
    await second.hear(frames(SAID + END))
    assert [fact.revision for fact in log.of(e.TurnGuessed)] == [0]
    [ended] = log.of(e.TurnEnded)
    assert ended.revision == 0
    assert second.asked == ["1.0"]  # nobody is known to have begun with it


patterns = st.lists(
    st.tuples(st.sampled_from("#."), st.integers(1, 30)), min_size=1, max_size=8
).map(lambda runs: "".join(char * count for char, count in runs))


def account(log: Log) -> list[tuple[int, list[int], int, int]]:
    return [(t.turn, numbers(t), t.speech_start, t.speech_end) for t in log.of(e.TurnEnded)]


@given(patterns, st.integers(1, 40))
async def test_batches_of_any_size_are_heard_alike(pattern: str, batch: int) -> None:
    one, many = Log(), Log()
    for log, size in ((one, 1), (many, batch)):
        ear = Ear(log)
        await ear.hear(frames(pattern), size)
        await ear.hearing.end()
    assert account(one) == account(many)
    assert {f.key for f in one.of(e.SpeechStarted)} == {f.key for f in many.of(e.SpeechStarted)}


@given(patterns, st.data())
async def test_a_take_over_anywhere_loses_and_doubles_no_word(
    pattern: str, data: st.DataObject
) -> None:
    alone = Log()
    ear = Ear(alone)
    await ear.hear(frames(pattern))
    await ear.hearing.end()

    shared, heard = Log(), frames(pattern)
    dies = data.draw(st.integers(0, len(heard)), label="the first worker dies after")
    await Ear(shared).hear(heard[:dies])
    second = Ear(shared)
    begin = second.hearing.position // FRAME
    await second.hear(heard[begin:])
    await second.hearing.end()
    assert account(shared) == account(alone)
