"""What an offer/answer came to, in the words of the media side."""

from __future__ import annotations

from ingress_sip.rtp.parameters import EventFormat, MediaParameters
from ingress_sip.sdp.offer_answer import Negotiated
from media.encoding import Encoding


def media_parameters(agreed: Negotiated) -> MediaParameters:
    """The RTP of a session."""
    events = agreed.events
    return MediaParameters(
        remote=agreed.remote,
        encoding=Encoding(agreed.codec.name),
        payload_type=agreed.payload_type,
        ptime_ms=agreed.ptime,
        receives={number: Encoding(codec.name) for number, codec in agreed.receive},
        event_clocks={event.payload_type: event.clock_rate for event in agreed.receive_events},
        event_format=EventFormat(events.payload_type, events.clock_rate) if events else None,
        remote_rtcp=agreed.rtcp_remote,
        rtcp_mux=agreed.rtcp_mux,
        secure=agreed.security is not None,
        sending=agreed.direction.sends,
    )
