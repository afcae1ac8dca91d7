"""One case played to the product's own ear and mouth, in virtual time.

Ours: workers/asr/hearing.py with its real ear, turn-taking and judge; legs/leg.py with its real
playout; the conversation folded from what they write. Stand-ins: the log (a list, at once), the
transcriber (the true words, 50 ms after it is asked), the responder and the synthesizer (50 ms to
the sentence, 50 ms more to its audio). So what is left out is the bus, the network and the CPU:
bench/latency.py measures those.

A frame of the caller is heard when its last sample is there; a frame of the agent counts from its
first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from scene import ANSWER, Scene
from sounds import FRAME

from bus.audio import OUT_FIELD, SILENT, OutChunk, encode_chunk
from bus.log import Ownership
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId
from legs.leg import Heard, Leg
from legs.mouth import Paced
from media.frames import Codec
from media.g711 import pcm_to_ulaw
from workers.asr.ear import PhoneEar
from workers.asr.hearing import Hearing
from workers.asr.judge import Judge
from workers.asr.speech import Scene as Hears
from workers.ports import Partial, Transcript

_ASR_S: Final = 0.05
_LLM_S: Final = 0.05
_TTS_S: Final = 0.05
_CALL: Final = CallId("20260101t000000-00000000")
_SILENCE: Final = b"\xff" * FRAME
#: More of a chunk does not fit an entry of the bus.
_CHUNK: Final = 25 * FRAME


@dataclass
class Outcome:
    """What happened in a scene. Times in ms on the media clock."""

    scene: Scene
    #: Every event with its time, in order.
    log: list[tuple[float, e.Event]] = field(default_factory=list)
    #: The reply that each frame of the agent belonged to; None for silence.
    spoken: list[ReplyId | None] = field(default_factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.log if isinstance(event, kind)]


class _Line:
    """The caller's phone: what it says, and the agent's echo in it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._number = 0
        self.said: list[bytes | None] = []

    def hear(self, now_ms: float) -> Heard:  # noqa: ARG002
        number = self._number
        self._number += 1
        return Heard(self._scene.frame(number, self._echo(number)), concealed=False)

    def _echo(self, number: int) -> bytes:
        delay = self._scene.case.echo_ms
        if delay is None:
            return b""
        whole, rest = divmod(delay * 8, FRAME)
        both = self._frame(number - whole - 1) + self._frame(number - whole)
        return both[FRAME - rest : 2 * FRAME - rest]

    def _frame(self, number: int) -> bytes:
        said = self.said[number] if 0 <= number < len(self.said) else None
        return said or _SILENCE

    def say(self, payload: bytes | None) -> None:
        self.said.append(payload)

    def hang_up(self) -> None: ...


class _TrueWords:
    """Knows what the caller says; hears as much of it as it is given audio of."""

    def __init__(self, scene: Scene, position: Callable[[], int]) -> None:
        self._scene = scene
        self.position = position

    def listen(self) -> _Utterance:
        return _Utterance(self)

    def words(self, begin: int, end: int) -> str:
        case = self._scene.case
        heard = " ".join(word.text for word in self._scene.words if begin <= word.at < end)
        spoken = any(start < end and begin < stop for start, stop in self._scene.speech)
        if not spoken and case.invents and end - begin >= FRAME:
            return case.invents
        if heard and self._scene.punctuated:
            return f"{heard[0].upper()}{heard[1:]}."
        return heard

    async def close(self) -> None: ...


class _Utterance:
    def __init__(self, ears: _TrueWords) -> None:
        self._ears = ears
        self._samples = 0
        self._end = 0

    async def write(self, pcm: bytes) -> Partial:
        self._samples += len(pcm) // 2
        self._end = self._ears.position()
        return Partial(self._text())

    def _text(self) -> str:
        return self._ears.words(self._end - self._samples, self._end)

    async def guess(self) -> Transcript:
        text = self._text()
        await asyncio.sleep(_ASR_S)
        return Transcript(text)

    finish = guess

    async def cancel(self) -> None: ...


class Simulation:
    """Plays one scene."""

    def __init__(self, scene: Scene, agent: Agent, judge: Judge) -> None:
        self._scene = scene
        self._outcome = Outcome(scene)
        self._conversation = Conversation()
        self._keys: set[str] = set()
        self._line = _Line(scene)
        self._agent = agent
        self._leg = Leg(_CALL, agent, self._line, Paced(self._line), self._now_ms)
        self._leg.follow(self._conversation)
        self._write(
            e.CallStarted(
                at=0.0, call=_CALL, agent=agent, carrier="sip", caller="caller", called="called",
                carrier_call="1", codec="PCMU", remote="-",
            ),
            e.CallAnswered(at=0.0),
        )  # fmt: skip
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(
            Hears(
                agent,
                Ownership(_CALL, "asr", 1, None),
                self,  # type: ignore[arg-type]  # of the log it needs commit() only
                _TrueWords(scene, lambda: self._hearing.position),
                PhoneEar.of(agent),
                judge,
                self._conversation,
                self._now_ms,
                ask=self._ask,
            )
        )

    async def play(self) -> Outcome:
        """To the scene's end."""
        self._started = asyncio.get_running_loop().time()
        pcm = self._scene.asked
        self._speak(ReplyId("0.0"), self._scene.case.asked, pcm_to_ulaw(pcm))
        for number in range(self._scene.frames):
            # The next tick of the ingress: the caller's frame number `number` has just come whole.
            await asyncio.sleep(self._started + (number + 1) * 0.02 - self._loop_time())
            frame = self._leg.tick(self._now_ms())
            assert frame.agent_level == SILENT or self._line.said[-1] is not None
            self._flush()
            self._outcome.spoken.append(self._speaking())
            await self._hearing.hear([frame])
        await self._hearing.cancel()
        for task in self._tasks:
            task.cancel()
        return self._outcome

    async def commit(
        self,
        owner: Ownership,  # noqa: ARG002
        *events: e.Event,
        checkpoint: dict[str, Any] | None = None,  # noqa: ARG002
        trim_before: str = "",  # noqa: ARG002
    ) -> None:
        """As bus/log.py: each fact once."""
        self._write(*events)

    def _write(self, *events: e.Event) -> None:
        for event in events:
            if event.key in self._keys:
                continue
            self._keys.add(event.key)
            self._outcome.log.append((event.at, event))
            self._conversation.apply(event)
            self._leg.happened(event, self._conversation)
        self._flush()

    def _flush(self) -> None:
        while self._leg.pending:
            pending, self._leg.pending = self._leg.pending, []
            self._write(*pending)

    def _speaking(self) -> ReplyId | None:
        if self._line.said[-1] is None:
            return None
        started = self._outcome.of(e.PlaybackStarted)
        return started[-1].reply if started else None

    async def _ask(self, reply: ReplyId) -> None:
        task = asyncio.create_task(self._answer(reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reply: ReplyId) -> None:
        await asyncio.sleep(_LLM_S)
        if not self._conversation.is_current(reply):
            return
        self._write(e.ReplyStarted(at=self._now_ms(), reply=reply))
        await asyncio.sleep(_TTS_S)
        if self._conversation.is_current(reply):
            self._speak(reply, ANSWER, pcm_to_ulaw(self._scene.answer))

    def _speak(self, reply: ReplyId, text: str, audio: bytes) -> None:
        now = self._now_ms()
        self._write(
            e.SentenceReady(at=now, reply=reply, index=0, text=text, first_token_at=now),
            e.ReplyEnded(at=now, reply=reply, sentences=1, why="complete"),
            e.SynthesisStarted(at=now, reply=reply, index=0, taken_at=now),
            e.SynthesisEnded(at=now, reply=reply, index=0, samples=len(audio), why="complete"),
        )
        for offset in range(0, len(audio), _CHUNK):
            piece = audio[offset : offset + _CHUNK]
            last = offset + len(piece) == len(audio)
            chunk = OutChunk(reply, 0, offset, Codec.PCMU, piece, last)
            self._leg.audio_came([(b"1-0", {OUT_FIELD: encode_chunk(chunk)})])

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()

    def _now_ms(self) -> float:
        try:
            return round((self._loop_time() - self._started) * 1000, 3)
        except (RuntimeError, AttributeError):  # before it plays
            return 0.0
