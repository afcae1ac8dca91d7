"""One call judged by what its phone heard, and by what was kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from calls import events as e
from calls.conversation import Conversation
from media import seam
from media.correlate import find
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.wav import WavError, read_channels
from storage.record import CallRecord, EventRecord
from trunkline.phone.caller import Story
from trunkline.phone.heard import Heard

#: A frame louder than this (of 32768) somewhere is voice.
_VOICE: Final = 400
#: How far the phone's clock may stand off the recording's: what came before the first packet, s.
_LAG_S: Final = 2.0
_PATTERN: Final = SAMPLE_RATE
_ALIKE: Final = 0.8


@dataclass(slots=True)
class Sound:
    """How a call sounded, and whether what was kept of it is whole."""

    #: The share of the agent's voice, as recorded, that the phone heard at its place, 0 to 1.
    arrived: float = 0.0
    #: Voice that the phone heard and the recording has not, ms.
    unrecorded_ms: float = 0.0
    #: Packets, as the phone counts them.
    packets: int = 0
    lost: int = 0
    jumps: int = 0
    late: int = 0
    longest_wait_ms: float = 0.0
    rows_whole: bool = False
    recording_whole: bool = False
    remarks: list[str] = field(default_factory=list)


def compare(agent: Samples, heard: Samples) -> tuple[float, float]:
    """Compare the agent's channel with what the phone heard, frame by frame.

    Returns:
        The share of the agent's voiced frames that the phone heard, and the ms of voice that it
        heard besides.
    """
    voiced = _loud(agent)
    if not voiced.any():
        return 1.0, float(_loud(heard).sum() * 20)
    begin = int(np.argmax(voiced)) * FRAME_SAMPLES
    pattern = agent[begin : begin + _PATTERN]
    margin = int(_LAG_S * SAMPLE_RATE)
    window_at = max(0, begin - margin)
    match = find(pattern, heard[window_at : begin + _PATTERN + margin])
    lag = window_at + match.lag - begin
    if match.peak < _ALIKE:
        return 0.0, float(_loud(heard).sum() * 20)
    shifted = heard[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag, np.int16), heard])
    length = max(len(agent), len(shifted)) // FRAME_SAMPLES + 1
    ours, theirs = _framed(agent, length), _framed(shifted, length)
    same = _alike(ours, theirs)
    ours_loud = np.abs(ours.astype(np.int32)).max(axis=1) > _VOICE
    # An interrupted voice dies away within the frame after it, which was never recorded.
    theirs_loud = np.abs(theirs[:, seam.EDGE :].astype(np.int32)).max(axis=1) > _VOICE
    return (
        float((same & ours_loud).sum() / ours_loud.sum()),
        float((theirs_loud & ~same).sum() * 20),
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a call."""

    #: Its rows, but for events; None if there are none.
    record: CallRecord | None
    #: The rows of its log.
    events: Sequence[EventRecord]
    recording: Path | None


def look(story: Story, heard: Heard, log: Sequence[e.AnyEvent], kept: Kept) -> Sound:
    """Hold the phone's audio, the rows and the recording against the log, as it was when they were
    made."""
    record, events, recording = kept.record, kept.events, kept.recording
    found = Sound(
        packets=heard.packets, lost=heard.lost, jumps=heard.jumps,
        late=heard.late, longest_wait_ms=heard.longest_wait_ms,
    )  # fmt: skip
    if record is None:
        found.remarks.append("it was not recorded")
        return found
    conversation = Conversation.of(log)
    ours = CallRecord.of(conversation, log, record.recording)
    found.rows_whole = replace(ours, events=()) == record and list(ours.events) == list(events)
    if not found.rows_whole:
        found.remarks.append(f"rows differ from the log: {_differing(ours, record, events)}")
    if recording is None or conversation.ended is None:
        found.remarks.append("there is no recording")
        return found
    try:
        with recording.open("rb") as file:
            channels, _ = read_channels(file)
    except (OSError, WavError) as error:
        found.remarks.append(f"{recording}: {error}")
        return found
    length = conversation.ended.position
    talked = ((story.hung_up_at or 0.0) - (story.answered_at or 0.0)) * SAMPLE_RATE
    found.recording_whole = len(channels) == length and (
        bool(story.dropped) or abs(length - talked) < SAMPLE_RATE
    )
    if not found.recording_whole:
        found.remarks.append(
            f"the recording has {len(channels)} samples, the call {length}, the phone {talked:.0f}"
        )
    found.arrived, found.unrecorded_ms = compare(channels[:, 1].astype(np.int16), heard.samples)
    return found


def _differing(ours: CallRecord, kept: CallRecord, events: Sequence[EventRecord]) -> str:
    fields = [
        name
        for name in CallRecord.__dataclass_fields__
        if name != "events" and getattr(ours, name) != getattr(kept, name)
    ]
    if list(ours.events) != list(events):
        missing = {each.seq: each.kind for each in ours.events if each not in events}
        fields.append(f"{len(ours.events)} events, {len(events)} rows, not among them {missing}")
    return ", ".join(fields)


def _loud(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    framed = _framed(samples, len(samples) // FRAME_SAMPLES)
    loud: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        np.abs(framed.astype(np.int32)).max(axis=1, initial=0) > _VOICE
    )
    return loud


def _framed(samples: Samples, count: int) -> Samples:
    fits = samples[: count * FRAME_SAMPLES]
    padded = np.concatenate([fits, np.zeros(count * FRAME_SAMPLES - len(fits), np.int16)])
    return padded.reshape(count, FRAME_SAMPLES)


def _alike(ours: Samples, theirs: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Frames that are the same waveform: a synthesizer that is asked twice is not the same to the
    bit."""
    one, other = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    alike: np.ndarray[tuple[int], np.dtype[np.bool_]] = (one * other).sum(
        axis=1
    ) >= _ALIKE * np.maximum(norms, 1.0)
    return alike
