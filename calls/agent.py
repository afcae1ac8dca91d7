"""An agent: what a called number is answered with.

The whole agent is written into `call.started`, so that every worker, and every later replay, uses
the configuration the call began with. It therefore holds no secrets: a provider's key is named by
the environment variable that holds it (`api_key_env`).
"""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProviderSpec(_Frozen):
    """Which provider does a stage's work, and how."""

    provider: Name
    #: The provider's own options; each provider validates them when the process starts.
    options: dict[str, Any] = Field(default_factory=dict)


class Endpointing(_Frozen):
    """When speech begins and when a turn is over. All in ms."""

    vad: Literal["webrtc", "energy"] = "webrtc"
    #: Speech shorter than this is a click, not a word.
    min_speech_ms: int = Field(default=120, ge=20, le=2000)
    #: Silence that ends the turn.
    silence_ms: int = Field(default=600, ge=100, le=5000)
    #: Audio kept from before the first speech frame: soft onsets are not cut.
    pad_ms: int = Field(default=240, ge=0, le=1000)
    #: A turn longer than this is ended where it stands.
    max_turn_ms: int = Field(default=30_000, ge=1000, le=120_000)


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
    asr: ProviderSpec = ProviderSpec(provider="pocketsphinx")
    llm: ProviderSpec = ProviderSpec(provider="rules")
    tts: ProviderSpec = ProviderSpec(provider="espeak")
    endpointing: Endpointing = Endpointing()
    #: May the caller speak over the agent?
    barge_in: bool = True
    recording: bool = True

    @field_validator("numbers")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(value):
            raise ValueError("name at least one number, or '*' for all")
        return value

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
