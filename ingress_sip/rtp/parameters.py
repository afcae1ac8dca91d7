"""What an offer and its answer settled about a call's RTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ingress_sip.rtp.source import Address
from media.encoding import Encoding


class EventFormat(NamedTuple):
    """How telephone-event is sent: its payload type, and its clock in Hz (RFC 4733 2.1)."""

    payload_type: int
    clock_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaParameters:
    """One audio stream, both ways."""

    #: Where the peer's SDP says that it receives RTP. A port of 0 is nowhere.
    remote: Address
    #: What we send, under which payload type, and how much of it in each packet.
    encoding: Encoding
    payload_type: int
    ptime_ms: int = 20
    #: What may come, by payload type.
    receives: Mapping[int, Encoding]
    #: Which payload types that come are telephone-event, and their clocks in Hz.
    event_clocks: Mapping[int, int] = field(default_factory=dict)
    #: How keys are sent; None: as tones, for the peer knows no telephone-event.
    event_format: EventFormat | None = None
    #: Where it receives RTCP, by default on the port after RTP's (RFC 3605); None: nowhere.
    remote_rtcp: Address | None = None
    #: RTCP comes and goes on the port of RTP (RFC 5761).
    rtcp_mux: bool = False
    #: Nothing is sent or taken unprotected: without keys yet there is silence both ways.
    secure: bool = False
    #: Does the direction let us send? What comes in is heard in any case.
    sending: bool = True

    @property
    def rtcp_address(self) -> Address | None:
        """Where the peer receives RTCP, as far as SDP says."""
        return self.remote if self.rtcp_mux else self.remote_rtcp
