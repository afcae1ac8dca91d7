"""Offer and answer for one audio stream (RFC 3264).

The first m= line that we can do is taken; every other is refused with port 0, in its place. An
answer names one codec and telephone-event, so that no peer changes codec in mid-call; among the
offered codecs our order decides (codecs.Formats.best says why).

What comes of an exchange is a `Negotiated`: all that the media need to know, and the session as
both sides have it, from which later exchanges are made:

    agreed = answer(body_of_invite, local)              agreed = offer(local).accept(body_of_ack)
    agreed = agreed.answer(body_of_reinvite)            pending = agreed.offer_again(direction=...)
                                                        agreed = pending.accept(body_of_200)
                                                    or  agreed = agreed.withdrawn(pending)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from ingress_sip.sdp.codecs import (
    CODECS,
    PCMA,
    PCMU,
    PTIME,
    Codec,
    EventType,
    Formats,
    offered_formats,
    ptime_of,
)
from ingress_sip.sdp.direction import Direction, direction_of, is_unspecified, redirected
from ingress_sip.sdp.fingerprint import DtlsPeer
from ingress_sip.sdp.security import (
    ATTRIBUTES,
    PROFILES,
    LocalSecurity,
    Secured,
    Security,
    secure_answer,
    secure_offer,
    secured_by,
)
from ingress_sip.sdp.session import (
    Attribute,
    Media,
    Origin,
    SdpError,
    SessionDescription,
    is_host,
    parse_sdp,
)

_MUX: Final[Attribute] = ("rtcp-mux", None)
_RTCP_RE: Final = re.compile(r"([0-9]{1,5})(?: +IN +IP[46] +(\S+))? *")


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Our side of a session: where we are, what we can do, and what we want."""

    address: str  # IPv4 or IPv6 literal that the peer can reach
    port: int  # RTP; RTCP is one above, or the same where the peer likes that
    session_id: int
    version: int = 1  # of the first description, and the least that the next new one has
    codecs: tuple[Codec, ...] = (PCMU, PCMA)  # in the order in which we offer them
    direction: Direction = Direction.SENDRECV  # SENDONLY or INACTIVE: we hold the peer
    ptime: int = PTIME  # ms per packet that we would like to get
    security: LocalSecurity = field(default_factory=LocalSecurity)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on, and what both said for it.

    Addresses are as the peer wrote them: they may be names, or somebody else's. While the peer
    holds us the old way, `remote` is 0.0.0.0 or ::, and `direction` sends nothing.
    """

    remote: tuple[str, int]  # where RTP goes, until symmetric RTP learns better
    rtcp_remote: tuple[str, int] | None  # where RTCP goes; None: nowhere
    rtcp_mux: bool  # RFC 5761: RTCP shares the RTP ports, of both sides
    codec: Codec  # what we send
    payload_type: int  # under which we send it: the peer's number
    receive: tuple[tuple[int, Codec], ...]  # what may come, under which numbers
    events: EventType | None  # how we send telephone events; None: the peer knows none
    receive_events: tuple[EventType, ...]  # how they may come
    ptime: int  # ms per packet that we send
    direction: Direction  # ours: what both sides want
    security: Security | None  # equal to the one before: keys and DTLS association go on
    local: LocalMedia
    ours: SessionDescription = field(repr=False)  # may hold keys
    theirs: SessionDescription = field(repr=False)
    place: int  # of the audio stream among the m= lines

    @property
    def event_payload_type(self) -> int | None:
        return self.events.payload_type if self.events else None

    @property
    def body(self) -> bytes:
        """Our description: the answer to send, or the offer that was answered."""
        return self.ours.encode()

    def answer(self, offered: bytes, local: LocalMedia | None = None) -> Negotiated:
        """Answer a later offer of the peer's: hold, resume, another address, other codecs.

        `local` replaces what we have wanted so far. Raises SdpError; the session stays as it was.
        """
        return _answer(parse_sdp(offered), local or self.local, self)

    def offer(self, local: LocalMedia | None = None) -> Offer:
        """All that we can do, anew: for the 200 to a re-INVITE without an offer (RFC 3261 14.2).

        How the stream is secured stays as agreed.
        """
        local = local or self.local
        line = self.ours.media[self.place]
        secured = tuple(a for a in line.attributes if a[0] in ATTRIBUTES)
        formats = offered_formats(local.codecs, (line, self.theirs.media[self.place]))
        return self._offer(local, _stream(local, formats, local.direction, line.protocol, secured))

    def offer_again(
        self, local: LocalMedia | None = None, *, direction: Direction | None = None
    ) -> Offer:
        """An offer in mid-call that changes no more than it is told to (RFC 3264 8).

        With nothing to change it repeats our last description, version and all, as the refresh of
        a session timer does. `direction` holds the peer (SENDONLY, INACTIVE) and resumes
        (SENDRECV); `local` is where we have moved to, or other codecs.
        """
        local = local or self.local
        if direction is not None:
            local = replace(local, direction=direction)
        elif local.direction is not self.local.direction:
            direction = local.direction
        if (local.codecs, local.ptime) != (self.local.codecs, self.local.ptime):
            return self.offer(local)
        line = replace(self.ours.media[self.place], port=local.port)
        if direction is not None:
            line = replace(line, attributes=redirected(line.attributes, direction))
        return self._offer(local, line)

    def withdrawn(self, offer: Offer) -> Negotiated:
        """The session after the peer refused our offer: as before, but for the version spent."""
        if offer.description == self.ours:
            return self
        spent = offer.description.origin.version
        return replace(self, local=replace(self.local, version=spent + 1))

    def _offer(self, local: LocalMedia, line: Media) -> Offer:
        """RFC 3264 8: as many m= lines as before, in the same places."""
        media = self.ours.media
        lines = (*media[: self.place], line, *media[self.place + 1 :])
        return Offer(local, _describe(local, lines, self.ours), self.place)


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of ours, as long as it has no answer."""

    local: LocalMedia
    description: SessionDescription = field(repr=False)  # may hold keys
    place: int = 0

    @property
    def body(self) -> bytes:
        return self.description.encode()

    def accept(self, answered: bytes) -> Negotiated:
        """Take the answer. Raises SdpError: hang up, or leave the session as it was."""
        theirs = parse_sdp(answered)
        if len(theirs.media) != len(self.description.media):
            raise SdpError(400, "an answer has as many m= lines as its offer (RFC 3264 6)")
        offered, media = self.description.media[self.place], theirs.media[self.place]
        if media.kind != offered.kind:
            raise SdpError(400, "an answer keeps the kinds of its offer's m= lines")
        if media.port == 0 or media.protocol.upper() not in PROFILES:
            raise SdpError(488, "the audio stream is refused")
        ours = Formats.of(offered, CODECS)
        said = Formats.of(media, (codec for _, codec in ours.codecs))
        if said.first is None:
            raise SdpError(488, "no codec of ours in the answer")
        security = secured_by(offered, theirs, media, self.local.security.policy)
        direction = direction_of(self.description, offered) & direction_of(theirs, media).mirrored
        mux = _is_muxed(offered) and _is_muxed(media)
        taken = _Taken(self.place, media, said.first, said, security, mux)
        return taken.negotiated(
            self.local, self.description, theirs, direction, _expected(ours, said)
        )


def answer(offered: bytes, local: LocalMedia) -> Negotiated:
    """Answer a first offer.

    Raises SdpError: 400 when it is no SDP, 488 when nothing in it will do.
    """
    return _answer(parse_sdp(offered), local, None)


def offer(local: LocalMedia) -> Offer:
    """A first offer of our own: for an INVITE, or the 200 to one that brought none."""
    protocol, secured = secure_offer(local.security)
    formats = offered_formats(local.codecs)
    stream = _stream(local, formats, local.direction, protocol, secured)
    return Offer(local, _describe(local, (stream,), None))


class _Taken(NamedTuple):
    """The peer's stream that is taken, and what of it."""

    place: int
    media: Media
    first: tuple[int, Codec]
    formats: Formats
    security: Security | None
    mux: bool

    def negotiated(
        self,
        local: LocalMedia,
        ours: SessionDescription,
        theirs: SessionDescription,
        direction: Direction,
        expected: Formats,
    ) -> Negotiated:
        payload_type, codec = self.first
        address = _address(theirs, self.media)
        dtls_alone = isinstance(self.security, DtlsPeer) and not self.mux
        return Negotiated(
            remote=(address, self.media.port),
            # A second port would want a second handshake (RFC 5764 4.1.1): we leave RTCP out.
            rtcp_remote=None if dtls_alone else _rtcp_address(address, self.media, mux=self.mux),
            rtcp_mux=self.mux,
            codec=codec,
            payload_type=payload_type,
            receive=expected.codecs,
            events=self.formats.events_beside(codec),
            receive_events=expected.events,
            ptime=ptime_of(theirs, self.media, codec),
            direction=direction,
            security=self.security,
            local=local,
            ours=ours,
            theirs=theirs,
            place=self.place,
        )


def _answer(theirs: SessionDescription, local: LocalMedia, before: Negotiated | None) -> Negotiated:
    taken, secured = _take(theirs, local, before)
    codec = taken.first[1]
    events = taken.formats.events_beside(codec)
    # We answer with the offerer's numbers, so they count both ways.
    chosen = Formats((taken.first,), (events,) if events else ())
    direction = local.direction & direction_of(theirs, taken.media).mirrored
    attributes = (*secured.attributes, *((_MUX,) if taken.mux else ()))
    stream = _stream(local, chosen, direction, taken.media.protocol, attributes)
    refused = [_refuse(media) for media in theirs.media]
    lines = (*refused[: taken.place], stream, *refused[taken.place + 1 :])
    ours = _describe(local, lines, before.ours if before else None)
    return taken.negotiated(local, ours, theirs, direction, chosen)


def _take(
    theirs: SessionDescription, local: LocalMedia, before: Negotiated | None
) -> tuple[_Taken, Secured]:
    why = "no audio stream"
    for index in _in_order(len(theirs.media), before):
        media = theirs.media[index]
        if media.kind != "audio" or media.port == 0 or media.protocol.upper() not in PROFILES:
            continue
        _address(theirs, media)
        formats = Formats.of(media, local.codecs)
        best = formats.best(local.codecs)
        if best is None:
            why = "no codec in common"
            continue
        secured = secure_answer(theirs, media, local.security, before.security if before else None)
        if secured is None:
            why = "no agreement on secure media"
            continue
        keys = secured.keys
        return _Taken(index, media, best, formats, keys, _is_muxed(media)), secured
    raise SdpError(488, why)


def _in_order(count: int, before: Negotiated | None) -> Iterable[int]:
    """The peer's lines, the one in use first."""
    if before is None or before.place >= count:
        return range(count)
    return dict.fromkeys((before.place, *range(count)))


def _expected(ours: Formats, said: Formats) -> Formats:
    """What may come in after our offer was answered.

    RFC 3264 6.1: the codecs of the answer, under the numbers of our offer. Some send under their
    own numbers instead: these count, too, where we gave them no other meaning.
    """
    answered = {codec for _, codec in said.codecs}
    taken = {int(number) for number in ours.numbers()}
    codecs = [(number, codec) for number, codec in ours.codecs if codec in answered]
    codecs += [(number, codec) for number, codec in said.codecs if number not in taken]
    events = [*ours.events, *(e for e in said.events if e.payload_type not in taken)]
    return Formats(tuple(codecs), tuple(events) if said.events else ())


def _address(theirs: SessionDescription, media: Media) -> str:
    address = theirs.address_of(media)
    if address is None:
        raise SdpError(400, "m= line without c= line")
    return address


def _is_muxed(media: Media) -> bool:
    return any(name == _MUX[0] for name, _ in media.attributes)


def _rtcp_address(address: str, media: Media, *, mux: bool) -> tuple[str, int] | None:
    """RFC 3605 (a=rtcp); RFC 3550 11: one port above RTP's."""
    host, port = address, media.port if mux else media.port + 1
    said = None if mux else _RTCP_RE.fullmatch(media.attribute("rtcp") or "")
    if said is not None:
        host, port = said.group(2) or address, int(said.group(1))
    # RFC 3264 8.4: on hold the old way, RTCP stops with RTP.
    usable = 0 < port <= 65_535 and is_host(host) and not is_unspecified(host)
    return (host, port) if usable else None


def _refuse(media: Media) -> Media:
    """RFC 3264 6: the same m= line with port 0; at least one format has to stay."""
    return Media(media.kind, 0, media.protocol, media.formats or ("0",))


def _stream(
    local: LocalMedia,
    formats: Formats,
    direction: Direction,
    protocol: str,
    secured: tuple[Attribute, ...],
) -> Media:
    attributes = (
        *formats.attributes(),
        *secured,
        ("ptime", str(local.ptime)),
        (direction.value, None),
    )
    return Media("audio", local.port, protocol, formats.numbers(), None, attributes)


def _describe(
    local: LocalMedia, media: tuple[Media, ...], before: SessionDescription | None
) -> SessionDescription:
    """RFC 3264 8: the o= line stays, and its version counts what changed."""
    if before is None:
        origin = Origin("-", local.session_id, local.version, local.address)
        return SessionDescription(origin, local.address, media)
    described = replace(before, address=local.address, media=media)
    if described == before:
        return before
    version = max(before.origin.version + 1, local.version)
    return replace(described, origin=replace(before.origin, version=version))
