"""One call's ear: what it commits, and what a second worker makes of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.audio import InFrame
from bus.log import Ownership, SupersededError
from calls import events as e
from calls.agent import Agent, Endpointing
from media import g711
from media.frames import Codec
from tests.support.facts import CALL, speech
from workers.asr.hearing import Hearing
from workers.ports import ProviderError, Transcript

FRAME = 160
AGENT = Agent(
    name="desk",
    endpointing=Endpointing(vad="energy", min_speech_ms=60, silence_ms=200, pad_ms=80),
)


class Log:
    """The log of one call as bus/log.py keeps it: facts once, old epochs refused."""

    def __init__(self) -> None:
        self.facts: dict[str, e.Event] = {}
        self.epoch = 0
        self.checkpoint: dict[str, Any] | None = None
        self.trims: list[str] = []

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
            self.facts.setdefault(event.key, event)
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

    async def write(self, pcm: bytes) -> str:
        if self._transcriber.broken:
            raise ProviderError("no line", error_type="unavailable")
        self.heard += g711.encode(pcm, Codec.PCMU)
        return self.words

    async def finish(self) -> Transcript:
        self.ended = "finished"
        return Transcript("" if self._transcriber.wordless else self.words, 0.5)

    async def cancel(self) -> None:
        self.ended = "cancelled"


class Transcriber:
    """Hears frames whose every byte is their number, and says the numbers."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.broken = False
        self.wordless = False

    def listen(self) -> Utterance:
        self.utterances.append(Utterance(self))
        return self.utterances[-1]

    async def close(self) -> None: ...


class MarkVad:
    """A frame holds speech unless its first byte is 0."""

    def is_speech(self, frame_pcm: bytes) -> bool:
        return g711.encode(frame_pcm[:2], Codec.PCMU)[0] != 0


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

    def __init__(
        self, log: Log, agent: Agent = AGENT, unresolved: e.SpeechStarted | None = None
    ) -> None:
        self.asked: list[int] = []
        self.transcriber = Transcriber()

        async def turn_ended(turn: int) -> None:
            self.asked.append(turn)

        fake: Any = log
        self.hearing = Hearing(
            agent,
            log.claim(),
            fake,
            self.transcriber,
            MarkVad(),
            now_ms=lambda: 5000.0,
            turn_ended=turn_ended,
            unresolved=unresolved,
        )

    async def hear(self, heard: list[InFrame], batch: int = 1) -> None:
        for begin in range(0, len(heard), batch):
            await self.hearing.hear(heard[begin : begin + batch])


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
    assert ear.asked == [1]
    # 80 ms of what came before the first speech frame.
    assert bytes(ear.transcriber.utterances[0].heard[: 4 * FRAME]) == bytes(4 * FRAME)


async def test_partials_come_five_times_a_second_at_most() -> None:
    log = Log()
    await Ear(log).hear(frames("#" * 50))
    places = [partial.position for partial in log.of(e.TranscriptPartial)]
    assert places
    assert all(later - earlier >= 1600 for earlier, later in itertools.pairwise(places))


async def test_speech_without_words_is_dropped_and_the_turn_number_kept() -> None:
    log = Log()
    ear = Ear(log)
    ear.transcriber.wordless = True
    await ear.hear(frames("." * 6 + "#" * 5 + "." * 12))
    [dropped] = log.of(e.SpeechDropped)
    assert (dropped.turn, dropped.position, dropped.why) == (1, 6 * FRAME, "no_words")
    assert ear.asked == []
    ear.transcriber.wordless = False
    await ear.hear(frames("#" * 5 + "." * 12, first=23))
    assert [turn.turn for turn in log.of(e.TurnEnded)] == [1]
    assert ear.asked == [1]


async def test_a_turn_that_no_transcriber_could_hear_is_answered_all_the_same() -> None:
    log = Log()
    ear = Ear(log)
    ear.transcriber.broken = True
    await ear.hear(frames("." * 6 + "#" * 5 + "." * 12))
    [failed], [ended] = log.of(e.StageFailed), log.of(e.TurnEnded)
    assert (failed.stage, failed.error_type) == ("asr", "unavailable")
    assert (ended.turn, ended.text, ended.confidence) == (1, "", 0.0)
    assert ear.asked == [1]


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
    stale = speech(1, position=5 * FRAME)
    await Ear(log, unresolved=stale).hear(frames("." * 60))
    [dropped] = log.of(e.SpeechDropped)
    assert (dropped.turn, dropped.position) == (1, 5 * FRAME)


async def test_speech_that_the_new_owner_hears_too_is_resolved_by_its_turn() -> None:
    log = Log()
    await Ear(log, unresolved=speech(1, 5 * FRAME)).hear(
        frames("." * 5 + "#" * 10 + "." * 12 + "." * 60)
    )
    assert log.of(e.SpeechDropped) == []
    assert len(log.of(e.TurnEnded)) == 1


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
