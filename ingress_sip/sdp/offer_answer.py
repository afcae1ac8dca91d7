"""Offer and answer for one audio stream (RFC 3264): PCMU, PCMA and telephone-event.

The first m= line that we can do is taken; every other is refused with port 0, in its place. An
answer names one codec and telephone-event, so that no peer changes codec in mid-call; among the
offered codecs the offerer's order decides (6.1).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ingress_sip.sdp.session import (
    Attribute,
    Media,
    Origin,
    RtpMap,
    SdpError,
    SessionDescription,
    parse_sdp,
)

EVENTS = "telephone-event"  # RFC 4733
OFFERED_EVENTS_TYPE = 101  # dynamic; the number everybody uses
PTIME = 20  # ms; what we send and ask for
PTIMES = (10, 20, 30, 40, 60)  # ms; what we take from a peer


@dataclass(frozen=True, slots=True)
class Codec:
    """An audio codec with a static payload type (RFC 3551 section 6)."""

    name: str
    clock_rate: int  # Hz
    payload_type: int


PCMU = Codec("PCMU", 8000, 0)
PCMA = Codec("PCMA", 8000, 8)


class Direction(Enum):
    """Who sends, seen from the side whose description it stands in."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def mirrored(self) -> Direction:
        """The same stream, seen from the other side."""
        return _direction(sends=self.receives, receives=self.sends)


def _direction(*, sends: bool, receives: bool) -> Direction:
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our side of a session. Raise `version` by one with each new description (RFC 3264 8)."""

    address: str  # IPv4 or IPv6 literal that the peer can reach
    port: int  # RTP
    session_id: int
    version: int = 1
    codecs: tuple[Codec, ...] = (PCMU, PCMA)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on.

    `payload_type` and `event_payload_type` count both ways: we answer with the offerer's numbers.
    """

    remote: tuple[str, int]  # where RTP goes, until symmetric RTP learns better
    codec: Codec
    payload_type: int
    event_payload_type: int | None  # None: the peer knows no telephone-event
    ptime: int  # ms per packet that the peer would like to get
    direction: Direction  # ours
    body: bytes  # our description: the answer to send, or the offer that was answered


def answer(offered: bytes, local: LocalMedia) -> Negotiated:
    """Answer an offer. Raises SdpError: 400 when it is no SDP, 488 when nothing in it will do."""
    offer_ = parse_sdp(offered)
    chosen = _choose(offer_, local)
    refused = tuple(_refuse(media) for media in offer_.media)
    direction = _their_direction(offer_, chosen.media).mirrored
    ours = _stream(
        local,
        formats=[(chosen.payload_type, chosen.codec)],
        events=chosen.event_payload_type,
        direction=direction,
        protocol=chosen.media.protocol,
    )
    media = (*refused[: chosen.index], ours, *refused[chosen.index + 1 :])
    return chosen.negotiated(offer_, direction, _describe(local, media).encode())


def offer(local: LocalMedia) -> bytes:
    """An offer of our own: for the 200 to an INVITE that brought none."""
    formats = [(codec.payload_type, codec) for codec in local.codecs]
    stream = _stream(
        local,
        formats=formats,
        events=OFFERED_EVENTS_TYPE,
        direction=Direction.SENDRECV,
        protocol="RTP/AVP",
    )
    return _describe(local, (stream,)).encode()


def accept_answer(local: LocalMedia, answered: bytes) -> Negotiated:
    """Take the answer to `offer(local)`, from the ACK. Raises SdpError (hang up then)."""
    answer_ = parse_sdp(answered)
    if len(answer_.media) != 1:
        raise SdpError(400, "an answer has as many m= lines as its offer (RFC 3264 6)")
    chosen = _choose(answer_, local)
    direction = _their_direction(answer_, chosen.media).mirrored
    return chosen.negotiated(answer_, direction, offer(local))


@dataclass(frozen=True, slots=True)
class _Choice:
    index: int
    media: Media
    address: str
    codec: Codec
    payload_type: int
    event_payload_type: int | None

    def negotiated(
        self, theirs: SessionDescription, direction: Direction, body: bytes
    ) -> Negotiated:
        return Negotiated(
            remote=(self.address, self.media.port),
            codec=self.codec,
            payload_type=self.payload_type,
            event_payload_type=self.event_payload_type,
            ptime=_ptime(theirs, self.media),
            direction=direction,
            body=body,
        )


def _choose(theirs: SessionDescription, local: LocalMedia) -> _Choice:
    for index, media in enumerate(theirs.media):
        address = theirs.address_of(media)
        # SAVP, SAVPF and AVPF promise what we do not do: refused rather than answered wrongly.
        if media.kind != "audio" or media.port == 0 or media.protocol != "RTP/AVP":
            continue
        if address is None:
            raise SdpError(400, "m= line without c= line")
        found = _first_codec(media, local.codecs)
        if found is not None:
            payload_type, codec = found
            events = _event_type(media, codec.clock_rate)
            return _Choice(index, media, address, codec, payload_type, events)
    raise SdpError(488, "no audio stream with a codec in common")


def _first_codec(media: Media, codecs: Iterable[Codec]) -> tuple[int, Codec] | None:
    for payload_type, name, clock_rate in _encodings(media):
        for codec in codecs:
            if (name, clock_rate) == (codec.name, codec.clock_rate):
                return payload_type, codec
    return None


def _event_type(media: Media, clock_rate: int) -> int | None:
    """RFC 4733 2.1: the events' clock must be the audio's."""
    wanted = (EVENTS.upper(), clock_rate)
    return next((pt for pt, *encoding in _encodings(media) if tuple(encoding) == wanted), None)


def _encodings(media: Media) -> list[tuple[int, str, int]]:
    """Payload type, name in upper case and clock rate of each format, in the m= line's order."""
    maps = {
        codec.payload_type: RtpMap(codec.payload_type, codec.name, codec.clock_rate, 1)
        for codec in (PCMU, PCMA)  # RFC 3551: static types need no rtpmap
    } | media.rtpmaps()
    types = (int(f) for f in media.formats if f.isascii() and f.isdigit() and len(f) <= 3)
    known = (maps[t] for t in types if t in maps and t < 128)
    return [(m.payload_type, m.encoding.upper(), m.clock_rate) for m in known if m.channels == 1]


def _their_direction(theirs: SessionDescription, media: Media) -> Direction:
    names = {direction.value for direction in Direction}
    attributes = (*media.attributes, *theirs.attributes)  # the stream's own comes first
    said = next((name for name, _ in attributes if name in names), "sendrecv")
    direction = Direction(said)
    if _is_unspecified(theirs.address_of(media)):
        # RFC 3264 8.4: 0.0.0.0 is the old way to say hold; nothing may be sent there.
        return _direction(sends=direction.sends, receives=False)
    return direction


def _is_unspecified(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _ptime(theirs: SessionDescription, media: Media) -> int:
    wanted = media.attribute("ptime") or theirs.attribute("ptime") or ""
    try:
        return int(wanted) if int(wanted) in PTIMES else PTIME
    except ValueError:
        return PTIME


def _refuse(media: Media) -> Media:
    """RFC 3264 6: the same m= line with port 0; at least one format has to stay."""
    return Media(media.kind, 0, media.protocol, media.formats or ("0",))


def _stream(
    local: LocalMedia,
    *,
    formats: list[tuple[int, Codec]],
    events: int | None,
    direction: Direction,
    protocol: str,
) -> Media:
    attributes: list[Attribute] = [
        ("rtpmap", f"{payload_type} {codec.name}/{codec.clock_rate}")
        for payload_type, codec in formats
    ]
    types = [str(payload_type) for payload_type, _ in formats]
    if events is not None:
        types.append(str(events))
        attributes += [
            ("rtpmap", f"{events} {EVENTS}/{formats[0][1].clock_rate}"),
            ("fmtp", f"{events} 0-15"),
        ]
    attributes += [("ptime", str(PTIME)), (direction.value, None)]
    return Media("audio", local.port, protocol, tuple(types), None, tuple(attributes))


def _describe(local: LocalMedia, media: tuple[Media, ...]) -> SessionDescription:
    origin = Origin("-", local.session_id, local.version, local.address)
    return SessionDescription(origin, local.address, media)
