"""What a receiver counts about one source, for its reports (RFC 3550 appendices A.3 and A.8)."""

from __future__ import annotations

from ingress_sip.rtp.packet import RtpPacket
from ingress_sip.rtp.rtcp import Report, ReportBlock, middle_ntp
from media.frames import SAMPLE_RATE
from media.listening.sequence import Arrival, SequenceCounter, timestamp_delta


class Reception:
    """Statistics of one synchronization source, from its first packet on."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        """Packets, duplicates and late ones included, as RFC 3550 counts them."""
        self._clock_rate = SAMPLE_RATE
        self._counter: SequenceCounter | None = None
        self._jitter_ms = 0.0
        self._last: tuple[float, int] | None = None  # arrival in ms, timestamp
        self._expected_before = 0
        self._received_before = 0
        self._sender_report: tuple[int, int] | None = None  # LSR, arrival in 1/65536 s

    def push(
        self, packet: RtpPacket, arrival_ms: float, clock_rate: int | None = SAMPLE_RATE
    ) -> None:
        """Count a packet of this source, whose timestamp counts at `clock_rate` Hz.

        None for a telephone event, whose timestamp is the start of the key's press and says
        nothing of the network, and for comfort noise, whose sender takes its time.
        """
        if self._counter is None:
            self._counter = SequenceCounter(packet.sequence)
        verdict = self._counter.update(packet.sequence)
        if verdict is Arrival.JUMP:
            return
        if verdict is Arrival.RESTART:
            self.received = self._received_before = self._expected_before = 0
            self._last = None
        self.received += 1
        if clock_rate is None:
            return
        if clock_rate != self._clock_rate:
            # RFC 7160 section 4.3: no difference of timestamps across a change of their clock.
            self._clock_rate, self._last = clock_rate, None
        if self._last is not None:
            # D(i-1,i) = (R(i) - R(i-1)) - (S(i) - S(i-1)), here in ms; gain 1/16.
            sent = timestamp_delta(packet.timestamp, self._last[1]) * 1000 / clock_rate
            apart = arrival_ms - self._last[0] - sent
            self._jitter_ms += (abs(apart) - self._jitter_ms) / 16
        self._last = (arrival_ms, packet.timestamp)

    @property
    def expected(self) -> int:
        """Packets that the sequence numbers say were sent."""
        return 0 if self._counter is None else self._counter.expected

    @property
    def lost(self) -> int:
        """Expected less received: below zero if there were duplicates."""
        return self.expected - self.received

    @property
    def jitter_ms(self) -> float:
        """The interarrival jitter of section 6.4.1, in ms."""
        return self._jitter_ms

    def on_report(self, report: Report, arrival_ntp: int) -> None:
        """Keep what this source's sender report asks us to send back (LSR and DLSR)."""
        if report.sender is not None and report.ssrc == self.ssrc:
            self._sender_report = middle_ntp(report.sender.ntp), middle_ntp(arrival_ntp)

    def block(self, now_ntp: int) -> ReportBlock:
        """The report block to send now; begins the next interval of `fraction_lost`."""
        expected = self.expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before, self._received_before = self.expected, self.received
        last_report, delay = 0, 0
        if self._sender_report is not None:
            last_report, arrived = self._sender_report
            delay = (middle_ntp(now_ntp) - arrived) & 0xFFFFFFFF
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=min(max(lost, 0) * 256 // expected, 255) if expected > 0 else 0,
            lost=self.lost,
            highest_sequence=(self._counter.highest if self._counter else 0) & 0xFFFFFFFF,
            jitter=int(self._jitter_ms * self._clock_rate / 1000) & 0xFFFFFFFF,
            last_report=last_report,
            delay=delay,
        )
