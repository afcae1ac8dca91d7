"""One call's outbound RTP: contiguous sequence numbers, a clock that never stops (RFC 3550 5.1)."""

from __future__ import annotations

from collections.abc import Iterator

from ingress_sip.rtp import telephone_event
from ingress_sip.rtp.packet import RtpPacket, build
from media.frames import FRAME_SAMPLES, SAMPLE_RATE
from media.listening.sequence import SEQUENCES, TIMESTAMPS


class RtpSender:
    """Builds the packets of one stream.

    Whatever is sent or not, the timestamp moves on with the time it takes: silence that is not
    sent, and keys in place of audio. Lengths are in samples at 8000 Hz.
    """

    def __init__(
        self,
        *,
        payload_type: int,
        ssrc: int,
        sequence: int,
        timestamp: int,
        clock_rate: int = SAMPLE_RATE,
    ) -> None:
        """SSRC, sequence and timestamp should be random (RFC 3550 section 5.1): 32, 16, 32 bits.

        `clock_rate` is the codec's, in Hz.
        """
        self.payload_type = payload_type
        """May be changed by a new offer/answer; the numbering goes on."""
        self.ssrc = ssrc
        self.clock_rate = clock_rate
        self.packets = 0
        """Packets sent, for the sender report."""
        self.octets = 0
        """Payload bytes sent, for the sender report."""
        self._sequence = sequence % SEQUENCES
        self._timestamp = timestamp % TIMESTAMPS
        self._talking = False

    @property
    def timestamp(self) -> int:
        """RTP timestamp of the next packet."""
        return self._timestamp

    def restart(self, *, ssrc: int, timestamp: int, clock_rate: int) -> None:
        """Go on as another source: a clock of another rate needs one (RFC 7160 section 4.1)."""
        self.ssrc, self.clock_rate = ssrc, clock_rate
        self.packets = self.octets = 0
        self._timestamp = timestamp % TIMESTAMPS
        self._talking = False

    def audio(self, payload: bytes, samples: int = FRAME_SAMPLES) -> bytes:
        """The datagram of one payload in the negotiated codec."""
        # RFC 3551 section 4.1: the marker is set on the first packet of a talkspurt.
        datagram = self._packet(self.payload_type, payload, self._timestamp, not self._talking)
        self._talking = True
        self._advance(samples)
        return datagram

    def pause(self, samples: int = FRAME_SAMPLES) -> None:
        """Let silence pass unsent; the next audio begins a talkspurt."""
        self._talking = False
        self._advance(samples)

    def digit(
        self,
        digit: str,
        *,
        event_type: int,
        duration_ms: int = 100,
        event_clock: int = SAMPLE_RATE,
    ) -> Iterator[tuple[bytes, ...]]:
        """The datagrams of one DTMF digit, one item a 20 ms tick, in place of audio (RFC 4733).

        The last two items say once more, while the key is let go already, that it was. Raises
        ValueError for what is no digit.
        """
        start = self._timestamp
        first = True
        for event in telephone_event.press(digit, duration_ms, clock_rate=event_clock):
            # Section 2.5.1.4: "The final packet [...] SHOULD be sent a total of three times at the
            # interval used by the source for updates."
            for _ in range(telephone_event.END_PACKETS if event.end else 1):
                payload = telephone_event.build(event)
                yield (self._packet(event_type, payload, start, first),)
                first = False
                self._advance(FRAME_SAMPLES)
        self._talking = False

    def _packet(self, payload_type: int, payload: bytes, timestamp: int, marker: bool) -> bytes:
        datagram = build(
            RtpPacket(payload_type, self._sequence, timestamp, self.ssrc, payload, marker)
        )
        self._sequence = (self._sequence + 1) % SEQUENCES
        self.packets += 1
        self.octets += len(payload)
        return datagram

    def _advance(self, samples: int) -> None:
        self._timestamp = (self._timestamp + samples * self.clock_rate // SAMPLE_RATE) % TIMESTAMPS
