"""One call's RTCP: when to report, what to say, and what the peer says of our audio.

RFC 3550 section 6.2 and 6.3 for a session of two, whose five per cent of the bandwidth always
suffice: the interval is the minimum of five seconds, randomized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ingress_sip.rtp import rtcp
from ingress_sip.rtp.reception import Reception
from ingress_sip.rtp.rtcp import Report, ReportBlock, SenderInfo
from ingress_sip.rtp.sender import RtpSender

INTERVAL_MS: Final = 5000.0

_COMPENSATION: Final = 1.21828
"""e - 3/2 (section 6.3.1): by how much timer reconsideration would shorten the interval."""
_WORD: Final = 0xFFFFFFFF


class PeerView(NamedTuple):
    """What the peer's last report says of the audio that we sent.

    `loss` is the share 0 to 1 of `lost` in all packets; `jitter_ms` as of RFC 3550.
    """

    loss: float
    lost: int
    jitter_ms: float


class RtcpSession:
    """Both directions of the reports about one call's audio."""

    def __init__(
        self, cname: str, *, now_ms: float, epoch_ms: float, chance: Callable[[], float]
    ) -> None:
        """`cname` names us for the length of the call (RFC 7022: a random one, no host's name).

        `epoch_ms` is the Unix time at which `now_ms` was 0. `chance` gives numbers from 0 to below
        1, each as likely.
        """
        self.peer: PeerView | None = None
        self.round_trip_ms: float | None = None
        """From us to the peer and back, by the last report that told."""
        self._cname = cname
        self._epoch_ms = epoch_ms
        self._chance = chance
        self._reported = 0  # packets that we had sent at the last report
        # Section 6.2: "the delay before the first RTCP packet is sent [is] half the minimum".
        self.due_ms = now_ms + self._interval_ms() / 2
        """When the next report should leave."""

    def report(
        self, now_ms: float, sender: RtpSender, reception: Reception | None, *, held: int = 0
    ) -> bytes:
        """The compound to send now; sets when the next is due.

        `held` is how far, in timestamp units, the sender's clock is behind the present moment: what
        waits for its packet to be full.
        """
        self.due_ms = now_ms + self._interval_ms()
        return rtcp.build(self._now(now_ms, sender, reception, held), self._cname)

    def goodbye(self, now_ms: float, sender: RtpSender, reception: Reception | None) -> bytes:
        """The compound that ends our part (section 6.3.7)."""
        return rtcp.build(self._now(now_ms, sender, reception, 0), self._cname, goodbye="")

    def received(
        self, compound: bytes, now_ms: float, sender: RtpSender, reception: Reception | None
    ) -> None:
        """Take a datagram of the peer's. Raises RtpError for what is no RTCP."""
        now = self._ntp(now_ms)
        for packet in rtcp.parse(compound):
            if not isinstance(packet, Report):
                continue  # who leaves says so by SIP
            if reception is not None:
                reception.on_report(packet, now)
            for block in packet.blocks:
                if block.ssrc == sender.ssrc:
                    self._learn(block, now, sender)

    def _now(
        self, now_ms: float, sender: RtpSender, reception: Reception | None, held: int
    ) -> Report:
        now = self._ntp(now_ms)
        info = None
        # Section 6.4: a sender report by whoever sent since its last report, or the one before.
        if sender.packets > self._reported:
            timestamp = (sender.timestamp + held) & _WORD
            info = SenderInfo(now, timestamp, sender.packets & _WORD, sender.octets & _WORD)
        self._reported = sender.packets
        blocks = (reception.block(now),) if reception is not None else ()
        return Report(sender.ssrc, info, blocks)

    def _learn(self, block: ReportBlock, now: int, sender: RtpSender) -> None:
        lost = max(block.lost, 0)
        self.peer = PeerView(
            loss=min(lost / sender.packets, 1.0) if sender.packets else 0.0,
            lost=lost,
            jitter_ms=block.jitter * 1000 / sender.clock_rate,
        )
        round_trip_ms = rtcp.round_trip_ms(block, now)
        if round_trip_ms is not None:
            self.round_trip_ms = round_trip_ms

    def _ntp(self, now_ms: float) -> int:
        return rtcp.ntp_time((self._epoch_ms + now_ms) / 1000)

    def _interval_ms(self) -> float:
        """Section 6.2: "varied randomly over the range [0.5,1.5] times the calculated interval"."""
        return INTERVAL_MS * (0.5 + self._chance()) / _COMPENSATION
