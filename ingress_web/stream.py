"""One call's media over a WebSocket: the caller out of its messages, the agent into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import structlog

from calls.events import MediaQuality
from ingress_web.dialects.messages import Audio, Dialect
from legs.ahead import Ahead
from legs.leg import Heard, Key
from media.codec import Decoder, PayloadError
from media.encoding import Encoding
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec
from media.g711 import pcm_to_ulaw
from media.listening.listener import Heard as HeardKind
from media.listening.listener import Listener

_log = structlog.get_logger(__name__)
_SILENT: Final = Heard(Codec.PCMU.silence(), concealed=False)
#: A message comes by TCP: in order, in time where the network is well, and else all at once later.
_LEAST_MS: Final = 10.0
_START_MS: Final = 20.0
_MOST_MS: Final = 400.0
#: Keys that one tick takes; more at once are no finger's.
_MOST_KEYS: Final = 16
_PER_MS: Final = SAMPLE_RATE // 1000


class Connection(Protocol):
    """A WebSocket, as a call uses it."""

    def send(self, message: str | bytes) -> None:
        """Send, in order. Never blocks: a peer that does not read is cut off."""
        ...

    def close(self) -> None:
        """Send what waits, and close."""
        ...

    async def closed(self) -> None:
        """The same, and wait until it is done, or the peer does not read."""
        ...


class _Packet(NamedTuple):
    """A message's audio as the jitter buffer has it (media.listening.packet)."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


class MediaStream:
    """A call's media, over one connection after the other (legs.ahead.Queue)."""

    def __init__(self, clock_ms: Callable[[], float]) -> None:
        """`clock_ms` never jumps."""
        self.mouth = Ahead(self)
        #: When the caller was last heard, by `clock_ms`; None before.
        self.heard_ms: float | None = None
        self._clock_ms = clock_ms
        self._listener = Listener(least_ms=_LEAST_MS, start_ms=_START_MS, most_ms=_MOST_MS)
        self._connection: Connection | None = None
        self._dialect: Dialect | None = None
        self._decoder: Decoder | None = None
        self._codec = ""
        #: Which connection it is, the first being 1: each counts its messages anew.
        self._number = 0
        self._keys: list[Key] = []
        self._jitter_ms = 0.0
        self._transit_ms: float | None = None
        self._sent = 0
        self._garbled = 0

    @property
    def is_open(self) -> bool:
        """See `Queue`: is there a connection?"""
        return self._connection is not None

    @property
    def connection(self) -> Connection | None:
        return self._connection

    def attach(
        self, connection: Connection, dialect: Dialect, decoder: Decoder, codec: str
    ) -> None:
        """Media flows over this connection from now on."""
        self._connection, self._dialect = connection, dialect
        self._decoder, self._codec = decoder, codec
        self._number += 1
        self._transit_ms = None

    def detach(self) -> None:
        """The connection is gone, with what the far end had not played."""
        self._connection = None
        self.mouth.lost()

    # The caller

    def audio(self, message: Audio) -> None:
        """Take a message with audio. A payload that the codec makes nothing of is left out."""
        if self._decoder is None:
            return
        now_ms = self._clock_ms()
        self.heard_ms = now_ms
        packet = _Packet(
            message.number & 0xFFFF,
            message.at_ms * _PER_MS & 0xFFFFFFFF,
            self._number,
            message.payload,
        )
        # RFC 3550 6.4.1, of messages: how unevenly the network brings them.
        transit_ms = now_ms - message.at_ms
        if self._transit_ms is not None:
            self._jitter_ms += (abs(transit_ms - self._transit_ms) - self._jitter_ms) / 16
        self._transit_ms = transit_ms
        try:
            self._listener.push(packet, now_ms, self._decoder)
        except PayloadError as error:
            if not self._garbled:
                _log.warning("stream.garbled", error=str(error))
            self._garbled += 1

    def key(self, digit: str) -> None:
        """The carrier tells of a key; none of them says for how long."""
        if len(self._keys) < _MOST_KEYS:
            self._keys.append(Key(digit, 0))

    def mark(self, name: str) -> None:
        """The far end has reached a mark; one that is none of ours is nothing to us."""
        if name.isascii() and name.isdigit() and len(name) < 10:
            self.mouth.reached(int(name))

    def hear(self, late_ms: float) -> Heard:
        """The caller's next 20 ms, as of `late_ms` ago."""
        keys, self._keys = tuple(self._keys), []
        pcm, kind = self._listener.tick(self._clock_ms() - late_ms)
        if kind is HeardKind.SILENCE:
            return _SILENT._replace(keys=keys) if keys else _SILENT
        return Heard(pcm_to_ulaw(pcm), kind is HeardKind.CONCEALED, keys)

    # The agent

    def queue(self, payload: bytes, mark: int) -> None:
        """See `Queue`."""
        if self._connection is None or self._dialect is None:
            return
        longest = self._dialect.longest
        for at in range(0, len(payload), longest):
            self._connection.send(self._dialect.audio(payload[at : at + longest]))
        self._connection.send(self._dialect.mark(str(mark)))
        self._sent += len(payload) // FRAME_SAMPLES

    def clear(self) -> None:
        """See `Queue`."""
        if self._connection is not None and self._dialect is not None:
            self._connection.send(self._dialect.clear())

    def quality(self, now_ms: float) -> MediaQuality | None:
        """How both directions went so far; None before any audio."""
        packets = self._listener.counters
        if not packets.received:
            return None
        return MediaQuality(
            at=now_ms,
            packets=packets.received,
            lost=packets.lost,
            late=packets.late,
            concealed=packets.concealed,
            jitter_ms=round(self._jitter_ms, 2),
            mos=round(self._listener.opinion(Encoding.PCMU).mos, 2),
            codec=self._codec,
            sent=self._sent,
        )

    def close(self) -> None:
        """The call is over."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
