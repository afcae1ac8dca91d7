"""The audio formats that we speak, and where a description names them.

A payload type number means what the side that wrote it down wants to *receive* under it (RFC 3264
5.1): so one encoding may have a number of its own in each direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from ingress_sip.sdp.session import Attribute, Media, RtpMap, SessionDescription

EVENTS: Final = "telephone-event"  # RFC 4733
PTIME: Final = 20  # ms; what we ask for, and send where nothing else is asked for
PTIMES: Final = (10, 20, 30, 40, 60)  # ms; what we send
_SANE_PTIME: Final = 200  # ms; who asks for more has not meant it
_DYNAMIC: Final = range(96, 128)  # RFC 3551 section 3


@dataclass(frozen=True, slots=True)
class Codec:
    """An audio codec, by the names and numbers that SDP gives it."""

    name: str
    clock_rate: int  # Hz of RTP timestamps; not always that of the samples
    payload_type: int  # static (RFC 3551 section 6), or the dynamic number that we like to use
    channels: int = 1
    parameters: str | None = None  # a=fmtp: what we ask of the peer's encoder

    def ptime(self, wanted: int) -> int:
        """The longest time we send in a packet of at most `wanted` ms; 10 ms where that is less."""
        # RFC 6716 2: Opus frames last 10, 20, 40 or 60 ms; 30 would take two to a packet.
        return max((p for p in PTIMES if p <= wanted and (self is not OPUS or p != 30)), default=10)


PCMU: Final = Codec("PCMU", 8000, 0)
PCMA: Final = Codec("PCMA", 8000, 8)
#: RFC 3551 4.5.2: the clock is 8000 for history's sake; the samples are 16000 a second.
G722: Final = Codec("G722", 8000, 9)
#: RFC 7587 7: always named with two channels. We hear and speak telephone band, in mono.
OPUS: Final = Codec(
    "opus",
    48000,
    111,
    channels=2,
    parameters="maxplaybackrate=8000;sprop-maxcapturerate=8000;stereo=0;useinbandfec=1",
)


#: All that we speak.
CODECS: Final = (PCMU, PCMA, G722, OPUS)


class EventType(NamedTuple):
    """A payload type for telephone events, and the clock that counts their durations, Hz."""

    payload_type: int
    clock_rate: int


#: What we offer: RFC 4733 2.1 wants the events' clock to be the audio's.
_OFFERED_EVENTS: Final = {8000: 101, 48000: 110}


class Formats(NamedTuple):
    """What an m= line names that we know, in its order."""

    codecs: tuple[tuple[int, Codec], ...]
    events: tuple[EventType, ...]

    @classmethod
    def of(cls, media: Media, codecs: Iterable[Codec]) -> Formats:
        """Of `codecs`, those that are on the line: by its rtpmaps, or by their static number."""
        known = {(codec.name.upper(), codec.clock_rate): codec for codec in codecs}
        found: list[tuple[int, Codec]] = []
        events: list[EventType] = []
        for encoding in _encodings(media):
            name = (encoding.encoding.upper(), encoding.clock_rate)
            codec = known.get(name)
            # Many write opus/48000 or opus/48000/1: there is no other Opus.
            if codec is not None and encoding.channels <= codec.channels:
                found.append((encoding.payload_type, codec))
            elif name[0] == EVENTS.upper() and encoding.channels == 1:
                events.append(EventType(encoding.payload_type, encoding.clock_rate))
        return cls(tuple(found), tuple(events))

    @property
    def first(self) -> tuple[int, Codec] | None:
        return self.codecs[0] if self.codecs else None

    def best(self, ours: tuple[Codec, ...]) -> tuple[int, Codec] | None:
        """The one to answer with: the first in our order that is here.

        RFC 3264 6.1 would leave the order to the offerer, but that costs: what is not G.711 is
        decoded and encoded for a call that goes at 8 kHz all the same. Between the two laws of
        G.711, which are alike to us, it is the offerer's order that decides.
        """
        laws = (PCMU, PCMA)
        ranks = {codec: rank for rank, codec in enumerate(ours)}
        least = min((ranks[law] for law in laws if law in ranks), default=0)
        ranks.update({law: least for law in laws if law in ranks})
        return min(self.codecs, key=lambda each: ranks[each[1]], default=None)

    def events_beside(self, codec: Codec) -> EventType | None:
        """The events to use with a codec.

        RFC 4733 2.1 wants them at the audio's clock. Phones that learned Opus late offer them at
        8000 Hz only, and send them so: that is worth more than no keys at all.
        """
        for clock_rate in (codec.clock_rate, 8000):
            found = next((event for event in self.events if event.clock_rate == clock_rate), None)
            if found is not None:
                return found
        return None

    def attributes(self) -> Iterator[Attribute]:
        """Their a=rtpmap and a=fmtp lines."""
        for payload_type, codec in self.codecs:
            channels = "" if codec.channels == 1 else f"/{codec.channels}"
            yield ("rtpmap", f"{payload_type} {codec.name}/{codec.clock_rate}{channels}")
            if codec.parameters is not None:
                yield ("fmtp", f"{payload_type} {codec.parameters}")
        for event in self.events:
            yield ("rtpmap", f"{event.payload_type} {EVENTS}/{event.clock_rate}")
            yield ("fmtp", f"{event.payload_type} 0-15")

    def numbers(self) -> tuple[str, ...]:
        """Their payload types, as an m= line names them."""
        return tuple(str(number) for number, _ in (*self.codecs, *self.events))


def offered_formats(codecs: tuple[Codec, ...], lines: Iterable[Media] = ()) -> Formats:
    """All of `codecs`, and telephone events at their clocks, each under a number of its own.

    RFC 3264 8.3.2: in one session a number never comes to mean something else. `lines` are what
    was said in it before: what they name keeps its number.
    """
    taken: dict[int, tuple[str, int]] = {}
    for line in lines:
        for known in _encodings(line):
            taken.setdefault(known.payload_type, (known.encoding.upper(), known.clock_rate))
    reserved = {codec.payload_type for codec in codecs} | set(_OFFERED_EVENTS.values())

    def number(name: str, clock_rate: int, preferred: int) -> int:
        meaning = (name.upper(), clock_rate)
        before = (number for number, said in taken.items() if said == meaning)
        ours = next(before, None)
        if ours is None:
            free = (n for n in _DYNAMIC if n not in taken and n not in reserved)
            ours = preferred if preferred not in taken else next(free, preferred)
            taken[ours] = meaning
        return ours

    named = tuple((number(c.name, c.clock_rate, c.payload_type), c) for c in codecs)
    clocks = dict.fromkeys(codec.clock_rate for codec in codecs)
    events = (EventType(number(EVENTS, c, _OFFERED_EVENTS[c]), c) for c in clocks)
    return Formats(named, tuple(events))


def ptime_of(theirs: SessionDescription, media: Media, codec: Codec) -> int:
    """How much audio a packet to that peer shall hold, ms: what it asks for, within its limit."""
    wanted = _milliseconds(media.attribute("ptime") or theirs.attribute("ptime")) or PTIME
    limit = _milliseconds(media.attribute("maxptime") or theirs.attribute("maxptime"))
    return codec.ptime(min(wanted, limit or wanted))


def _milliseconds(text: str | None) -> int | None:
    number = (text or "").strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        return None
    return int(number) if 0 < int(number) <= _SANE_PTIME else None


def _encodings(media: Media) -> list[RtpMap]:
    """What each number on the line stands for, in its order; unknown ones are left out."""
    maps = {
        codec.payload_type: RtpMap(codec.payload_type, codec.name, codec.clock_rate, 1)
        for codec in (PCMU, PCMA, G722)  # RFC 3551: static types need no rtpmap
    } | media.rtpmaps()
    types = (int(f) for f in media.formats if f.isascii() and f.isdigit() and len(f) <= 3)
    return [maps[number] for number in types if number in maps and number < 128]
