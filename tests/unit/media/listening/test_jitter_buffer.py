"""The jitter buffer, on a network of our own making.

Each packet's payload says which one it is, so what is played shows what became of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_sip.rtp.packet import RtpPacket
from media.codec import PayloadError
from media.listening.delay import DelayEstimator
from media.listening.jitter import CAPACITY, Frame, JitterBuffer, Missing, Nothing, Slot

Arrival = tuple[float, RtpPacket]


class Plain:
    """A codec whose payloads are the PCM itself; the word "noise" is none."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def samples(self, payload: bytes) -> int:
        if len(payload) % 2:
            raise PayloadError("half a sample")
        return len(payload) // 2

    def decode(self, payload: bytes) -> bytes:
        self.decoded.append(payload)
        if payload.startswith(b"noise"):
            raise PayloadError("noise")
        return payload


PLAIN = Plain()


def packet(number: int, *, ssrc: int = 1, first: int = 65500, stamp: int = 0xFFFFF000) -> RtpPacket:
    """Packet `number` of a stream of 20 ms packets that soon wraps in both numbers."""
    return RtpPacket(
        payload_type=0,
        sequence=(first + number) & 0xFFFF,
        timestamp=(stamp + number * 160) & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=number.to_bytes(4, "big") * 80,
    )


def steady(numbers: Iterable[int], jitter: dict[int, float] | None = None) -> list[Arrival]:
    """Packets sent each 20 ms, delayed by `jitter[number]` ms, in the order they arrive."""
    late = jitter or {}
    return sorted(
        ((number * 20.0 + late.get(number, 0.0), packet(number)) for number in numbers),
        key=lambda arrival: arrival[0],
    )


def play(
    arrivals: list[Arrival],
    buffer: JitterBuffer | None = None,
    *,
    until_ms: float | None = None,
    phase_ms: float = 7.0,
    quiet: bool = False,
) -> tuple[list[Slot], JitterBuffer]:
    """Run a buffer over arrivals with a tick each 20 ms."""
    buffer = buffer or JitterBuffer(quiet=lambda _: quiet)
    waiting = list(arrivals)
    end = until_ms if until_ms is not None else arrivals[-1][0] + 600
    slots = []
    now = arrivals[0][0] + phase_ms
    while now < end:
        while waiting and waiting[0][0] <= now:
            arrival_ms, received = waiting.pop(0)
            buffer.push(received, arrival_ms, PLAIN)
        slots.append(buffer.pop(now))
        now += 20.0
    return slots, buffer


def numbers(slots: list[Slot]) -> list[int]:
    return [int.from_bytes(slot.pcm[:4], "big") for slot in slots if isinstance(slot, Frame)]


def heard(slots: list[Slot]) -> list[Slot]:
    """Without the silence before and after."""
    while slots and isinstance(slots[0], Nothing):
        slots = slots[1:]
    while slots and not isinstance(slots[-1], Frame):
        slots = slots[:-1]
    return slots


def test_a_steady_stream_is_played_whole_after_its_delay() -> None:
    slots, buffer = play(steady(range(200)))
    assert numbers(slots) == list(range(200))
    assert all(isinstance(slot, Frame) for slot in heard(slots))
    assert slots[:2] == [Nothing.NOT_YET] * 2
    assert isinstance(slots[2], Frame)  # at 47 ms: the tick nearest to 40 ms
    assert buffer.counters.lost == buffer.counters.late == 0
    assert buffer.target_ms == 20


def test_reordered_packets_are_played_in_their_order() -> None:
    slots, buffer = play(steady(range(100), {50: 25.0, 60: 25.0}))
    assert numbers(slots) == list(range(100))
    assert buffer.counters.reordered == 2


def test_duplicates_are_played_once() -> None:
    arrivals = steady(range(50))
    slots, buffer = play(sorted([*arrivals, *arrivals], key=lambda arrival: arrival[0]))
    assert numbers(slots) == list(range(50))
    assert buffer.counters.duplicate == 50
    assert buffer.counters.received == 100


def test_a_lost_packet_is_one_missing_slot() -> None:
    slots, buffer = play(steady(number for number in range(100) if number not in (40, 60, 61)))
    sound = heard(slots)
    assert len(sound) == 100
    assert [at for at, slot in enumerate(sound) if isinstance(slot, Missing)] == [40, 60, 61]
    assert (buffer.counters.lost, buffer.counters.bursts) == (3, 2)
    assert buffer.counters.concealed - 3 == 4  # and the end, until it is known for one


def test_a_packet_after_its_slot_is_late_and_not_lost() -> None:
    slots, buffer = play(steady(range(100), {50: 150.0}))
    assert 50 not in numbers(slots)
    assert (buffer.counters.late, buffer.counters.lost) == (1, 0)


def test_a_stall_is_played_out_later_and_nothing_of_it_is_thrown_away() -> None:
    stall = {number: (60 - number) * 20.0 for number in range(45, 60)}
    slots, buffer = play(steady(range(140), stall))
    assert numbers(slots) == list(range(140))
    assert buffer.counters.late == 0
    assert sum(slot is Missing.LATE for slot in heard(slots)) == 4


def test_the_delay_grows_with_jitter_and_shrinks_after_it_in_quiet() -> None:
    rng = random.Random(3)
    shaky = {number: rng.uniform(0, 90) for number in range(100, 400)}
    slots, buffer = play(steady(range(400), shaky), quiet=True, until_ms=8000)
    assert 80 <= buffer.target_ms <= 110
    assert buffer.counters.stretched > 0
    assert buffer.counters.late < 15  # nearly all of them before it had learnt
    late_before = buffer.counters.late
    slots, _ = play(steady(range(400, 1000)), buffer, quiet=True, until_ms=20000.0, phase_ms=7.0)
    assert buffer.counters.late == late_before
    assert buffer.target_ms == 20
    assert buffer.counters.shrunk >= 2
    assert any(isinstance(slot, Frame) and slot.spliced for slot in slots)


def held_ms(slots: list[Slot], phase_ms: float) -> list[float]:
    """How long the buffer kept what it plays at each tick, had the packet come undelayed."""
    return [
        tick * 20.0 + phase_ms - int.from_bytes(slot.pcm[:4], "big") * 20.0
        for tick, slot in enumerate(slots)
        if isinstance(slot, Frame)
    ]


@pytest.mark.parametrize("phase_ms", [0.0, 3.0, 9.0, 11.0, 17.0, 19.9])
def test_the_delay_it_starts_with_is_shed_in_quiet_and_stays_away(phase_ms: float) -> None:
    rng = random.Random(5)
    nearly = {number: rng.uniform(0, 3) for number in range(1500)}
    slots, buffer = play(steady(range(1500), nearly), quiet=True, phase_ms=phase_ms)
    held = held_ms(slots, phase_ms)
    assert held[0] >= 30
    assert all(10 - 3 <= each <= 30 + 3 for each in held[100:])
    assert buffer.counters.shrunk <= 2
    assert buffer.counters.stretched == buffer.counters.late == 0


def test_a_delay_that_a_packet_needed_is_kept() -> None:
    spikes = dict.fromkeys(range(20, 1500, 200), 30.0)  # too few for the target to follow
    slots, buffer = play(steady(range(1500), spikes), quiet=True, phase_ms=1.0)
    assert buffer.target_ms == 20
    assert min(held_ms(slots, 1.0)) > 30
    assert buffer.counters.late == buffer.counters.shrunk == 0
    assert all(isinstance(slot, Frame) for slot in heard(slots))


def test_speech_is_cut_only_slowly() -> None:
    stall = {number: (70 - number) * 20.0 for number in range(55, 70)}
    slots, buffer = play(steady(range(900), stall), quiet=False)
    cuts = [at for at, slot in enumerate(slots) if isinstance(slot, Frame) and slot.spliced]
    assert len(cuts) >= 3
    assert cuts[0] - 70 >= 100  # two seconds of patience
    assert all(later - earlier >= 50 for earlier, later in pairwise(cuts))
    assert 900 - len(numbers(slots)) == buffer.counters.shrunk == len(cuts)


def test_silence_that_is_not_sent_is_no_loss() -> None:
    # DTX: the timestamps go on over a pause, the sequence numbers do not.
    before = steady(range(50))
    after = [
        (2000.0 + n * 20, packet(100 + n)._replace(sequence=packet(50 + n).sequence))
        for n in range(50)
    ]
    slots, buffer = play(before + after)
    assert numbers(slots) == [*range(50), *range(100, 150)]
    assert buffer.counters.lost == 0
    assert buffer.counters.concealed == 4  # at the very end, not in the pause
    pause = slots[slots.index(Missing.LATE) : -20]
    assert sum(slot is Nothing.PAUSE for slot in pause) > 30


def test_a_short_gap_in_the_timestamps_is_a_pause() -> None:
    arrivals = steady(range(50)) + [
        (arrival + 60, received._replace(timestamp=(received.timestamp + 480) & 0xFFFFFFFF))
        for arrival, received in steady(range(50, 100))
    ]
    slots, buffer = play(arrivals)
    assert numbers(slots) == list(range(100))
    assert buffer.counters.lost == 0
    assert Missing.LOST not in slots


def test_packets_without_audio_are_not_missing() -> None:
    buffer = JitterBuffer(quiet=lambda _: False)
    slots: list[Slot] = []
    for number in range(100):
        now = number * 20.0
        if 40 <= number < 50:
            buffer.skip(packet(number))
        else:
            buffer.push(packet(number), now, PLAIN)
        slots.append(buffer.pop(now + 5))
    sound = heard(slots)
    assert numbers(slots) == [*range(40), *range(50, 98)]
    assert buffer.counters.lost == buffer.counters.concealed == 0
    assert not any(isinstance(slot, Missing) for slot in sound)


@pytest.mark.parametrize("ptime_ms", [10, 30, 40, 60])
@pytest.mark.parametrize("phase_ms", [1.0, 13.0])
def test_other_packet_lengths_are_cut_into_slots(ptime_ms: int, phase_ms: float) -> None:
    audio = b"".join(number.to_bytes(4, "big") for number in range(24000))
    size = ptime_ms * 16
    arrivals = [
        (
            at / 16.0,
            RtpPacket(0, count & 0xFFFF, 5000 + at // 2, 1, audio[at : at + size]),
        )
        for count, at in enumerate(range(0, len(audio) - size + 1, size))
    ]
    slots, buffer = play(arrivals, phase_ms=phase_ms)
    played = b"".join(slot.pcm for slot in slots if isinstance(slot, Frame))
    assert all(isinstance(slot, Frame) for slot in heard(slots))
    assert played == audio[: len(played)]
    assert len(audio) - len(played) < 320 + size
    assert buffer.counters.lost == 0


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
def test_lost_packets_of_other_lengths_keep_the_time(ptime_ms: int) -> None:
    size = ptime_ms * 8
    count = 12000 // size
    arrivals = [
        (n * float(ptime_ms), RtpPacket(0, n, n * size, 1, bytes([n % 256]) * 2 * size))
        for n in range(count)
        if n % 17 != 16
    ]
    slots, buffer = play(arrivals)
    lost = sum(1 for n in range(count - 1) if n % 17 == 16)
    assert buffer.counters.lost == lost
    assert len(heard(slots)) * 20 == pytest.approx(count * ptime_ms, abs=40 + 20 * lost)
    heard_bytes = b"".join(slot.pcm for slot in slots if isinstance(slot, Frame))
    assert len(heard_bytes) // 2 > 12000 - lost * (size + 160) - 500


BREAKS = {
    "another SSRC": lambda n: packet(n, ssrc=2, first=7, stamp=99),
    "numbers restart": lambda n: packet(n, first=20000, stamp=99),
    "timestamps jump ahead": lambda n: packet(n, stamp=0x10000000),
    "timestamps jump back": lambda n: packet(n, stamp=0xFFFFF000 - 80000),
    "timestamps slip back": lambda n: packet(n, stamp=0xFFFFF000 - 1600),
}


@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_timeline_goes_on_without_a_gap(kind: str) -> None:
    arrivals = steady(range(100))
    arrivals += [(n * 20.0, BREAKS[kind](n)) for n in range(100, 200)]
    slots, buffer = play(arrivals)
    confirming = [100] if kind == "numbers restart" else []  # RFC 3550 A.1 wants two in a row
    assert numbers(slots) == [n for n in range(200) if n not in confirming]
    assert buffer.counters.lost == buffer.counters.late == 0
    assert buffer.counters.rejected == len(confirming)


def test_a_flood_is_bounded_and_the_newest_is_kept() -> None:
    buffer = JitterBuffer(quiet=lambda _: False)
    for number in range(1000):
        buffer.push(packet(number), 0.0 + number * 0.1, PLAIN)
    assert buffer.depth_ms <= CAPACITY / 8
    assert buffer.counters.overflow >= 900
    slots = [buffer.pop(200.0 + tick * 20) for tick in range(60)]
    assert numbers(slots)[-1] == 999


def test_clock_drift_is_followed() -> None:
    drift = {number: number * 0.01 for number in range(6000)}  # 500 ppm slow sender
    slots, buffer = play(steady(range(6000), drift), quiet=True)
    assert len(numbers(slots)) == 6000 - buffer.counters.shrunk
    assert buffer.counters.late == 0
    assert 2 <= buffer.counters.stretched <= 6
    fast = {number: 100 - number * 0.01 for number in range(6000)}
    slots, buffer = play(steady(range(6000), fast), quiet=True)
    assert buffer.counters.late == buffer.counters.lost == buffer.counters.overflow == 0
    assert 1 <= buffer.counters.shrunk <= 6


@pytest.mark.parametrize(("ppm", "minutes"), [(500, 60), (-500, 60), (100, 20), (-200, 20)])
@pytest.mark.parametrize("pauses", [True, False])
def test_a_clock_that_is_off_neither_adds_delay_nor_runs_dry(
    ppm: int, minutes: int, pauses: bool
) -> None:
    """`ppm` of the sender: above 0 its clock is slow. Words of two seconds, pauses of 0.4."""
    if not pauses:
        minutes = 10
    rng = random.Random(1)
    count, quiet = minutes * 3000, []
    while len(quiet) < count:
        pause = bool(quiet) and not quiet[-1] and pauses
        quiet += [pause] * (1 + int(rng.expovariate(1 / 20 if pause else 1 / 100)))
    step_ms = 20 * (1 + ppm * 1e-6)
    buffer = JitterBuffer(quiet=lambda pcm: pcm[0] == 1)
    number, now, hidden = 0, 7.0, False
    depths: list[float] = []
    arrival_ms = rng.uniform(0, 5)
    dry = cut = 0
    while number < count:
        while arrival_ms <= now:
            payload = bytes([quiet[number]]) + number.to_bytes(4, "big") + bytes(315)
            stamp = number * 160 & 0xFFFFFFFF
            buffer.push(RtpPacket(0, number & 0xFFFF, stamp, 1, payload), arrival_ms, PLAIN)
            number += 1
            arrival_ms = number * step_ms + rng.uniform(0, 5)
        slot = buffer.pop(now)
        if isinstance(slot, Frame):
            cut += slot.spliced and not quiet[int.from_bytes(slot.pcm[1:5], "big") - 1]
            hidden = slot.pcm[0] == 1
        else:
            dry += slot is Missing.LATE and not hidden
        depths.append(buffer.depth_ms)
        now += 20.0
    drifted_ms = minutes * 60 * abs(ppm) / 1000
    corrections = buffer.counters.stretched + buffer.counters.shrunk + buffer.counters.concealed
    assert corrections * 20 == pytest.approx(drifted_ms, abs=80)
    assert max(depths) <= 80
    early, late = depths[3000:6000], depths[-3000:]
    assert abs(sum(late) - sum(early)) / 3000 < (20 if pauses else 60)
    assert buffer.counters.late == buffer.counters.lost == buffer.counters.overflow == 0
    # Heard at all: a slot that runs dry, or is cut, within a word.
    assert (dry + cut) * 20 <= drifted_ms * (0.3 if pauses else 1.0) + 40


network = st.lists(
    st.tuples(
        st.floats(0, 150),  # delay in ms: up to seven packets of reordering
        st.integers(0, 9),  # 0: lost, 1: doubled
        st.floats(0, 100),  # delay of the double
    ),
    min_size=1,
    max_size=120,
)


@given(network, st.floats(0, 19.9), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_network_makes_it_reorder_or_repeat(
    fates: list[tuple[float, int, float]], phase_ms: float, quiet: bool
) -> None:
    arrivals = []
    for number, (delay, fate, again) in enumerate(fates):
        if fate == 0 and number:
            continue
        arrivals.append((number * 20 + delay, packet(number)))
        if fate == 1:
            arrivals.append((number * 20 + delay + again, packet(number)))
    arrivals.sort(key=lambda arrival: arrival[0])
    slots, buffer = play(arrivals, phase_ms=phase_ms, quiet=quiet, until_ms=arrivals[-1][0] + 2000)
    played = numbers(slots)
    assert all(earlier < later for earlier, later in pairwise(played))
    # Every packet is accounted for, once.
    counters = buffer.counters
    assert counters.received == len(arrivals)
    assert (
        len(played) + counters.duplicate + counters.late + counters.shrunk + counters.rejected
        == counters.received
    )


wild = st.builds(
    RtpPacket,
    payload_type=st.just(0),
    sequence=st.integers(0, 0xFFFF) | st.integers(0, 20),
    timestamp=st.integers(0, 0xFFFFFFFF) | st.integers(0, 4000),
    ssrc=st.integers(1, 2),
    payload=st.integers(0, 500).map(lambda samples: bytes(2 * samples)),
)


@given(st.lists(st.tuples(st.floats(0, 50), wild, st.booleans(), st.booleans()), max_size=150))
@settings(max_examples=100, deadline=None)
def test_wild_packets_do_no_harm(steps: list[tuple[float, RtpPacket, bool, bool]]) -> None:
    buffer = JitterBuffer(quiet=lambda pcm: len(pcm) == 320)
    now = 0.0
    for wait, received, silent, tick in steps:
        now += wait
        if silent:
            buffer.skip(received)
        else:
            buffer.push(received, now, PLAIN)
        if tick:
            slot = buffer.pop(now)
            assert not isinstance(slot, Frame) or len(slot.pcm) == 320
        assert buffer.depth_ms <= CAPACITY / 8
    for _ in range(60):
        now += 20.0
        slot = buffer.pop(now)
    assert slot in (Nothing.PAUSE, Nothing.NOT_YET)
    assert buffer.depth_ms == 0


def test_the_target_follows_the_spread_of_transits() -> None:
    delay = DelayEstimator(least_ms=20, start_ms=40, most_ms=200)
    assert delay.target_ms == 40
    for _ in range(100):
        delay.push(1000.0)
    assert (delay.base_ms, delay.target_ms) == (1000.0, 20)
    for count in range(250):
        delay.push(1000.0 + count % 50)
    assert delay.target_ms == pytest.approx(48 + 10, abs=1)
    for count in range(250):
        delay.push(1000.0 + count)
    assert delay.target_ms == 200
    delay.clear()
    delay.push(5.0)
    assert (delay.base_ms, delay.target_ms) == (5.0, 40)
