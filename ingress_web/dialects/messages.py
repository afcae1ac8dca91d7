"""A media stream in the words that all carriers' dialects share, and what a dialect must do.

A dialect reads one connection's messages and writes ours; it knows no socket and no clock. It is as
strict as its carrier's documentation where something must be there, and takes no notice of what
the documentation does not name, for carriers add to their messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from media.codec import Decoder

#: The longest message that is read, in bytes: a second of audio in base64, and as much again.
MAX_MESSAGE: Final = 32_768
#: More parameters, or longer ones (characters), are left out: they go into the call's log.
MAX_PARAMETERS: Final = 32
MAX_PARAMETER: Final = 500


class DialectError(ValueError):
    """The peer does not speak as its carrier's documentation says: end the connection (1002 or
    1003 of RFC 6455 7.4.1). The message says what was wrong, and holds no more than 100 characters
    of the peer's.
    """


class Started(NamedTuple):
    """The stream begins. `call` and `account` are the carrier's ids; `parameters` are what the
    webhook gave the stream to say. `codec` is what the payloads are, for the log (PCMU, L16/16000),
    and `decoder` reads them. `caller` and `called` are empty where the stream does not tell.
    """

    stream: str
    call: str
    account: str
    codec: str
    decoder: Decoder
    parameters: Mapping[str, str]
    caller: str = ""
    called: str = ""


class Audio(NamedTuple):
    """A piece of the caller's audio. `number` counts pieces from 1 and does not wrap; `at_ms` is
    its first sample's time since the stream began. Where a dialect has neither, it counts itself.
    """

    number: int
    at_ms: int
    payload: bytes


class KeyPressed(NamedTuple):
    """The caller pressed a key: 0-9, *, #, A-D."""

    digit: str


class MarkReached(NamedTuple):
    """All that we sent before this mark was played, or thrown away by a `clear`."""

    name: str


class Stopped(NamedTuple):
    """The stream is over: the caller hung up, or the carrier was told to go on elsewhere."""

    reason: str = ""


class Trouble(NamedTuple):
    """The carrier complains of something that we sent: to be logged."""

    what: str


Message = Started | Audio | KeyPressed | MarkReached | Stopped | Trouble


class Dialect(Protocol):
    """One connection's side of a carrier's protocol."""

    #: The carrier, as `call.started` names it.
    name: str
    #: The most audio that one message may bring the caller, in samples.
    longest: int
    #: Is a connection that is closed in good order (1000) the end of the stream? Of those carriers
    #: that do not say so in a message.
    closes: bool

    def read(self, message: str | bytes) -> Sequence[Message]:
        """What a message says; nothing, if it is one that says nothing to us.

        Raises:
            DialectError: it is none of this protocol, or not at this time (audio before a start).
        """
        ...

    def audio(self, payload: bytes) -> str | bytes:
        """A message that brings the caller this audio, which is queued there.

        It is mu-law at 8 kHz, and no more than `longest`.
        """
        ...

    def mark(self, name: str) -> str | bytes:
        """A message that is answered once what was sent before it has been played."""
        ...

    def clear(self) -> str | bytes:
        """A message that has the carrier throw away what it has not played."""
        ...
