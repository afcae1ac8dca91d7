"""An agent: what a called number is answered with.

The whole agent is written into `call.started`, so that every worker, and every later replay, uses
the configuration the call began with. It therefore holds no secrets: a provider's key is named by
the environment variable that holds it (`api_key_env`).
"""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from calls.transfer import Name, Phrase, Transfer

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProviderSpec(_Frozen):
    """Which provider does a stage's work, and how."""

    provider: Name
    #: The provider's own options; each provider validates them when the process starts.
    options: dict[str, Any] = Field(default_factory=dict)
    #: How long to wait for its answer to begin (for a transcriber: to be whole) before it counts
    #: as failed, ms.
    timeout_ms: int = Field(default=8000, ge=100, le=60_000)


class StageSpec(ProviderSpec):
    """The provider of a stage, and who stands in when it fails, in this order."""

    fallback: tuple[ProviderSpec, ...] = Field(default=(), max_length=4)


class Endpointing(_Frozen):
    """When speech begins and when a turn is over. All in ms."""

    #: What tells speech from silence; on a machine without Silero's package, webrtc does.
    vad: Literal["silero", "webrtc", "energy"] = "silero"
    #: Speech shorter than this is a click, not a word.
    min_speech_ms: int = Field(default=120, ge=20, le=2000)
    #: Silence that ends the turn when what was said gives no hint either way.
    silence_ms: int = Field(default=700, ge=100, le=5000)
    #: Do the words said so far shorten or lengthen that wait?
    semantic: bool = True
    #: The wait after a complete answer, and after a clause that asks for more: "um", "and", "my
    #: number is". Only where `semantic`.
    complete_ms: int = Field(default=250, ge=60, le=5000)
    unfinished_ms: int = Field(default=1500, ge=100, le=10_000)
    #: A Smart Turn v3 model (ONNX file) that listens too, where `semantic`.
    smart_turn: str | None = None
    #: May the transcriber end the turn, where it says that the caller has finished?
    provider: bool = True
    #: Audio kept from before the first speech frame: soft onsets are not cut.
    pad_ms: int = Field(default=240, ge=0, le=1000)
    #: A turn longer than this is ended where it stands.
    max_turn_ms: int = Field(default=30_000, ge=1000, le=120_000)


class Speculation(_Frozen):
    """Answering while the end-of-turn wait still runs: ready when the turn is confirmed."""

    enabled: bool = True
    #: Silence after which the first guess is made, ms; each guess that was wrong doubles it.
    after_ms: int = Field(default=80, ge=20, le=2000)
    #: The budget: at most so many guesses a turn, and sentences spoken ahead of its end.
    guesses: int = Field(default=4, ge=1, le=20)
    sentences: int = Field(default=2, ge=1, le=20)


class Interruption(_Frozen):
    """What stops the agent when it may be interrupted (`barge_in`)."""

    #: Said while the agent speaks, these are no turn: "mhm", "yeah". Added to the built-in list of
    #: the language.
    backchannels: tuple[str, ...] = ()
    #: A sentence that contains one of these is spoken to its end.
    protect: tuple[str, ...] = ()
    #: May the greeting be interrupted?
    greeting: bool = True
    #: Take no echo of the agent's own voice for the caller.
    echo: bool = True


class Waiting(_Frozen):
    """What a caller hears who waits for an answer. Never after the answer has begun."""

    #: A filler, when no answer has come so long after the turn's end, ms; 0 for none.
    filler_after_ms: int = Field(default=2000, ge=0, le=60_000)
    fillers: tuple[Phrase, ...] = ("One moment, please.", "Just a second.")
    #: Said when there is still none, and when a whole pool of workers is away; again each time
    #: this has passed, ms; 0 for never.
    trouble_after_ms: int = Field(default=7000, ge=0, le=120_000)
    trouble: Phrase = "Sorry, I have a technical problem. Please bear with me."


class Silence(_Frozen):
    """What happens when the caller says nothing."""

    #: Silence after which the agent asks again, ms; 0 for never.
    reprompt_after_ms: int = Field(default=10_000, ge=0, le=600_000)
    #: One after the other; then goodbye, and the agent hangs up.
    reprompts: tuple[Phrase, ...] = ("Are you still there?", "I can't hear you. Are you there?")
    goodbye: Phrase = "I can't hear you, so I will hang up now. Goodbye."


class Keypad(_Frozen):
    """Keys as input: pressed one after the other, they become a turn of the caller."""

    enabled: bool = True
    #: Ends the input at once, and is no part of it; empty for none.
    terminator: str = Field(default="#", pattern=r"^[0-9*#A-D]?$")
    #: The input ends so long after the last key, ms.
    timeout_ms: int = Field(default=2500, ge=100, le=30_000)
    #: ... or when it is this long.
    max_digits: int = Field(default=32, ge=1, le=128)


class Agent(_Frozen):
    """One agent of `agents.yaml`."""

    name: Name
    #: Patterns of the called number or user, `*` and `?` as in a shell: "+1555*", "bot", "*".
    numbers: tuple[str, ...] = ("*",)
    prompt: Text = "You are a helpful voice assistant. Answer in one or two short sentences."
    greeting: str = Field(default="", max_length=2000)
    #: Said when a provider fails, so that the caller does not hear silence.
    apology: str = Field(
        default="Sorry, something went wrong on my side. Could you say that again?",
        min_length=1,
        max_length=500,
    )
    language: str = Field(default="en-US", pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")
    voice: str = Field(default="", max_length=100)
    asr: StageSpec = StageSpec(provider="pocketsphinx")
    llm: StageSpec = StageSpec(provider="rules")
    tts: StageSpec = StageSpec(provider="espeak")
    endpointing: Endpointing = Endpointing()
    speculation: Speculation = Speculation()
    #: May the caller speak over the agent?
    barge_in: bool = True
    interruption: Interruption = Interruption()
    waiting: Waiting = Waiting()
    silence: Silence = Silence()
    keypad: Keypad = Keypad()
    #: Whom it may transfer the caller to.
    transfer: Transfer = Transfer()
    #: Speak the same sentence from the cache of speech, once it has been synthesized?
    cache: bool = True
    recording: bool = True

    @field_validator("numbers")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(value):
            raise ValueError("name at least one number, or '*' for all")
        return value

    @property
    def phrases(self) -> tuple[str, ...]:
        """What the agent says without having thought: worth having in the cache of speech."""
        asides = (*self.waiting.fillers, self.waiting.trouble, *self.silence.reprompts)
        said = (self.greeting, self.apology, *asides, self.silence.goodbye, *self.transfer.phrases)
        return tuple(filter(None, said))

    def protects(self, sentence: str) -> bool:
        """Must the caller hear this sentence to its end?"""
        return any(phrase in sentence for phrase in self.interruption.protect)

    def answers(self, number: str) -> bool:
        """Say whether this agent answers calls to `number`."""
        return any(fnmatch.fnmatchcase(number, pattern) for pattern in self.numbers)


class Agents(_Frozen):
    """All agents of an installation, in the order of the file: the first that answers wins."""

    agents: tuple[Agent, ...] = Field(min_length=1)

    @field_validator("agents")
    @classmethod
    def _names_differ(cls, value: tuple[Agent, ...]) -> tuple[Agent, ...]:
        names = [agent.name for agent in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two agents are named {name!r}; rename one")
        return value

    def for_number(self, number: str) -> Agent | None:
        """Pick the agent for a called number, or None when nobody answers it."""
        return next((agent for agent in self.agents if agent.answers(number)), None)
