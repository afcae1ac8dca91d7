"""What the listening side needs of a packet, whichever protocol it came by."""

from __future__ import annotations

from typing import Protocol


class Packet(Protocol):
    """A numbered, timed piece of a stream's audio: an RTP packet, a message of a media stream.

    `sequence` counts packets, modulo 2**16; `timestamp` samples of the stream's clock, modulo
    2**32; another `ssrc` is another source, whose numbers have nothing to do with those before.
    """

    @property
    def sequence(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def ssrc(self) -> int: ...

    @property
    def payload(self) -> bytes: ...
