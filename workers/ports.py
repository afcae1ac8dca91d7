"""What a provider must do to listen, think or speak. Providers see this file, `calls` and `media`.

Audio on both sides is mono signed 16-bit little-endian PCM. A provider raises `ProviderError`, with
a message that says what to do, for whatever its vendor does wrong; it is cancelled by closing it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from calls.agent import Agent
from calls.conversation import Message


class ProviderError(Exception):
    """A provider could not do its work.

    Look at the message first: it names the vendor's answer and the option or variable to mend.
    `error_type` is a short word for metrics: "timeout", "refused", "unavailable", "protocol".
    """

    def __init__(self, message: str, *, error_type: str = "protocol") -> None:
        super().__init__(message)
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an utterance said: `confidence` in 0..1, or None where the provider does not say.

    `text` is empty when there were no words in it.
    """

    text: str
    confidence: float | None = None


class Partial(NamedTuple):
    """What an utterance seems to say so far; `ended` where the provider hears its end."""

    text: str = ""
    ended: bool = False


class Utterance(Protocol):
    """One utterance being heard. Used by one task at a time; finish() or cancel() ends it."""

    async def write(self, pcm: bytes) -> Partial:
        """Take the next audio, 8000 Hz, any length. Returns the newest partial transcript."""
        ...

    async def guess(self) -> Transcript:
        """What it says if it ends here. More audio may follow. Cancelling the call is harmless.

        While it runs, write() may be called: that audio is not in the guess.

        Raises:
            ProviderError
        """
        ...

    async def finish(self) -> Transcript:
        """All audio was written: return the final transcript.

        Raises:
            ProviderError
        """
        ...

    async def cancel(self) -> None:
        """Nobody wants it any more. Never raises."""
        ...


class Transcriber(Protocol):
    """Hears. One per agent and process; many utterances at once."""

    def listen(self) -> Utterance:
        """Begin an utterance."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the reply's text, as it is generated: spaces included.

    The sentence it belongs to is spoken to its end if it is not `interruptible`.
    """

    text: str
    interruptible: bool = True


@dataclass(frozen=True, slots=True)
class Action:
    """The agent wants something done after the reply was heard.

    "hangup"; "transfer" with `destination`, a name in the agent's file, or `number`; "send_digits"
    with `digits`. Whether the agent may have it is for the worker to say (calls/actions.py).
    """

    name: str
    arguments: dict[str, str] = field(default_factory=dict)
    #: Why nobody can make sense of what the model asked for; then it is reported, and not done.
    problem: str = ""


class Responder(Protocol):
    """Thinks. One per agent and process; many replies at once."""

    def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        """Answer the conversation's last line, streaming. Closing the iterator cancels.

        `confidence` is the transcriber's for that line. After a take-over `said` has the sentences
        of this reply that stand already: go on after them, and say none of them again.

        Raises:
            ProviderError
        """
        ...

    async def close(self) -> None: ...


class Synthesizer(Protocol):
    """Speaks. One per agent and process; many sentences at once."""

    #: Of the audio it yields, Hz.
    sample_rate: int

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Say a sentence, streaming, in pieces of any size. Closing the iterator cancels.

        Raises:
            ProviderError
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What a provider is made from: `factory(ask)`, once per agent and process.

    A provider is named by an entry point (groups `trunkline.transcribers`, `trunkline.responders`,
    `trunkline.synthesizers`) whose object is a function from an `Ask` to the port.
    """

    agent: Agent
    #: The stage's options in agents.yaml, as written; the factory validates them.
    options: Mapping[str, Any]
    #: Looks up a secret by the name of its environment variable; None when it is not set.
    secret: Callable[[str], str | None]
