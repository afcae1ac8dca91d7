"""One call's outbound RTP: contiguous sequence numbers, a clock that never stops (RFC 3550 5.1)."""

from __future__ import annotations

from collections.abc import Iterator

from ingress_sip.rtp import telephone_event
from ingress_sip.rtp.packet import RtpPacket, build
from ingress_sip.rtp.sequence import SEQUENCES, TIMESTAMPS
from media.frames import FRAME_SAMPLES


class RtpSender:
    """Builds one packet for each 20 ms tick.

    Each tick calls exactly one of `audio`, `pause` or the next step of `digit`; the timestamp moves
    on by one frame with each, so silence that is not sent still takes its time.
    """

    def __init__(self, *, payload_type: int, ssrc: int, sequence: int, timestamp: int) -> None:
        """The last three should be random (RFC 3550 section 5.1): 32, 16 and 32 bits."""
        self.payload_type = payload_type
        """May be changed by a new offer/answer; the numbering goes on."""
        self.ssrc = ssrc
        self.packets = 0
        """Packets sent, for the sender report."""
        self.octets = 0
        """Payload bytes sent, for the sender report."""
        self._sequence = sequence % SEQUENCES
        self._timestamp = timestamp % TIMESTAMPS
        self._talking = False

    @property
    def timestamp(self) -> int:
        """RTP timestamp of the next frame."""
        return self._timestamp

    def audio(self, payload: bytes) -> bytes:
        """The datagram of one 20 ms frame in the negotiated codec."""
        # RFC 3551 section 4.1: the marker is set on the first packet of a talkspurt.
        datagram = self._packet(self.payload_type, payload, self._timestamp, not self._talking)
        self._talking = True
        self._advance()
        return datagram

    def pause(self) -> None:
        """Let one frame of silence pass unsent; the next audio begins a talkspurt."""
        self._talking = False
        self._advance()

    def digit(
        self, digit: str, *, event_type: int, duration_ms: int = 100
    ) -> Iterator[tuple[bytes, ...]]:
        """The datagrams of one DTMF digit, one item a tick, in place of audio (RFC 4733).

        Raises ValueError for what is no digit.
        """
        start = self._timestamp
        events = telephone_event.press(digit, duration_ms)
        for count, event in enumerate(events):
            payload = telephone_event.build(event)
            copies = telephone_event.END_PACKETS if event.end else 1
            yield tuple(
                self._packet(event_type, payload, start, count == 0 and copy == 0)
                for copy in range(copies)
            )
            self._advance()
        self._talking = False

    def _packet(self, payload_type: int, payload: bytes, timestamp: int, marker: bool) -> bytes:
        datagram = build(
            RtpPacket(payload_type, self._sequence, timestamp, self.ssrc, payload, marker)
        )
        self._sequence = (self._sequence + 1) % SEQUENCES
        self.packets += 1
        self.octets += len(payload)
        return datagram

    def _advance(self) -> None:
        self._timestamp = (self._timestamp + FRAME_SAMPLES) % TIMESTAMPS
