"""What callers say, what the agent answers, and what undisturbed hearing makes of it.

The callers say the shipped recordings (trunkline/callers). The agent is made of rules, one question
in passing per recording, each with an answer of several sentences that no other has: so every
answer follows from the words alone, and what is missing or doubled of it can be named.

A recogniser errs now and then, and that is no word lost. So each recording is first given to the
agent's own transcriber, in a quiet room, with as much silence before and after it as a call may
leave; only those that come out the same every time are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from calls.agent import Agent
from media import g711
from media.frames import FRAME_BYTES, to_pcm
from trunkline.agents_file import load_agents
from trunkline.demo import CALLERS
from trunkline.errors import UserError
from trunkline.phone.caller import Frames
from trunkline.phone.line import FRAME
from trunkline.phone.line import SILENCE as SILENT_FRAME
from trunkline.softphone import load_wav
from workers.ports import Ask, ProviderError, Transcriber
from workers.providers.registry import load_transcriber

GREETING: Final = "Chaos line, good day. Please go on."
#: Shorter things are easily taken for others.
_FEWEST_WORDS: Final = 3
_FEWEST_RECORDINGS: Final = 5
#: Each costs a quarter of a second to calibrate, and more than these say nothing new.
_MOST_RECORDINGS: Final = 12
#: Frames of silence before and after a recording, as it is given to the transcriber.
_AROUND: Final = ((6, 30), (12, 30), (16, 10))
#: A language model's and a synthesizer's pace: with answers that are there at once, no worker would
#: ever be killed over one.
_LLM_PACE_MS: Final = 60
_TTS_PACE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Something callers say."""

    wav: Path
    #: What undisturbed hearing makes of it.
    words: str
    frames: Frames
    #: The sentences of its answer.
    answer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """All that is said in a run."""

    greeting: tuple[str, ...]
    recordings: tuple[Recording, ...]

    def answer_to(self, words: str) -> tuple[str, ...]:
        """The sentences that answer these words; none for words that nobody says."""
        return next((r.answer for r in self.recordings if r.words == words), ())


def _lines() -> dict[str, Path]:
    """What the shipped callers say: the words, and one recording of them."""
    callers = yaml.safe_load((CALLERS / "script.yaml").read_text("utf-8"))["callers"]
    found: dict[str, Path] = {}
    for caller in callers.values():
        for turn in caller["turns"]:
            if len(turn["said"].split()) >= _FEWEST_WORDS:
                found.setdefault(turn["said"], CALLERS / turn["wav"])
    return found


def _answer(number: int, said: str) -> tuple[str, ...]:
    return (
        f"You said {said}.",
        f"This is the second sentence of answer {number}.",
        f"And answer {number} ends with this third sentence.",
    )


def write_agents(file: Path) -> Agent:
    """Write the agents' file of the run, and give its only agent."""
    intents = {
        f"line_{number}": {"phrases": [said], "say": " ".join(_answer(number, said))}
        for number, said in enumerate(_lines(), start=1)
    }
    agent: dict[str, Any] = {
        "name": "chaos",
        "greeting": GREETING,
        "asr": {"provider": "pocketsphinx"},
        "llm": {"provider": "rules", "options": {"intents": intents, "pace_ms": _LLM_PACE_MS}},
        "tts": {"provider": "espeak", "options": {"rate": 190, "pace": _TTS_PACE}},
        "voice": "en-us",
        # Every caller hears the same answers: from the cache, nobody would have to speak them.
        "cache": False,
    }
    file.write_text(yaml.safe_dump({"agents": [agent]}, sort_keys=False), "utf-8")
    return load_agents(file).agents[0]


async def calibrate(agent: Agent) -> Script:
    """Find out what the agent's transcriber makes of the recordings when nothing is wrong.

    Raises:
        UserError: the transcriber is not to be had, or understands too few of them.
    """
    try:
        transcriber = load_transcriber(Ask(agent, agent.asr.options, lambda _: None))
    except ProviderError as error:
        raise UserError(str(error)) from error
    recordings: list[Recording] = []
    try:
        for number, (said, wav) in enumerate(_lines().items(), start=1):
            if len(recordings) == _MOST_RECORDINGS:
                break
            frames = _frames(wav)
            if (words := await _heard(transcriber, frames)) == said:
                recordings.append(Recording(wav, words, frames, _answer(number, said)))
    finally:
        await transcriber.close()
    if len(recordings) < _FEWEST_RECORDINGS:
        raise UserError(f"only {len(recordings)} recordings are understood: no run can tell more")
    return Script(_sentences(GREETING), tuple(recordings))


def _frames(wav: Path) -> list[bytes]:
    pcm = to_pcm(load_wav(wav))
    codes = g711.pcm_to_ulaw(pcm + bytes(-len(pcm) % FRAME_BYTES))
    return [codes[at : at + FRAME] for at in range(0, len(codes), FRAME)]


async def _heard(transcriber: Transcriber, frames: Sequence[bytes]) -> str | None:
    """What a recording is taken for, as it is sent; None unless it always is the same."""
    heard = set()
    for before, after in _AROUND:
        utterance = transcriber.listen()
        for frame in (*[SILENT_FRAME] * before, *frames, *[SILENT_FRAME] * after):
            await utterance.write(g711.ulaw_to_pcm(frame))
        heard.add((await utterance.finish()).text)
    return heard.pop() if len(heard) == 1 else None


def _sentences(text: str) -> tuple[str, ...]:
    return tuple(f"{part.strip()}." for part in text.split(".") if part.strip())
