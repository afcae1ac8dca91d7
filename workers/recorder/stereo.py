"""The recording: a fold over the log and the audio streams, to the sample.

Left is the caller as the bus had it, right the agent as it left the ingress. Both channels stand on
the call's media clock: the playback ledger says which samples of which sentence left at which
position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bus.audio import InFrame, OutChunk
from calls.conversation import Conversation
from calls.ids import ReplyId
from media import g711
from media.frames import Samples

#: Longer than any call may be: a position past it is not believed. In samples.
_LONGEST: Final = 8000 * 3600 * 4

Spoken = Mapping[tuple[ReplyId, int], Samples]


def caller_channel(frames: Iterable[InFrame], length: int) -> Samples:
    """The caller's channel: each frame at its position, silence where none came."""
    channel = _silence(length)
    for frame in frames:
        pcm = np.frombuffer(g711.decode(frame.payload, frame.codec), dtype="<i2")
        _place(channel, frame.position, pcm)
    return channel


def spoken(chunks: Iterable[OutChunk]) -> Spoken:
    """What was synthesized, by reply and sentence. A repeated chunk counts once: the first does."""
    payloads: dict[tuple[ReplyId, int], bytearray] = {}
    for chunk in sorted(chunks, key=lambda c: c.offset):
        data = payloads.setdefault((chunk.reply, chunk.sentence), bytearray())
        if chunk.offset <= len(data):
            data += chunk.payload[len(data) - chunk.offset :]
    return {
        place: np.frombuffer(g711.ulaw_to_pcm(bytes(data)), dtype="<i2")
        for place, data in payloads.items()
    }


def agent_channel(conversation: Conversation, audio: Spoken, length: int) -> Samples:
    """The agent's channel: each run of the ledger where it was played, asides too."""
    channel = _silence(length)
    for turn in conversation.turns.values():
        heard = [
            (reply.id, sentence)
            for reply in turn.replies.values()
            for sentence in reply.sentences.values()
        ]
        heard += [(name, aside.sentence) for name, aside in turn.asides.items()]
        for reply_id, sentence in heard:
            samples = audio.get((reply_id, sentence.index))
            if samples is not None:
                for run in sentence.runs:
                    _place(channel, run.position, samples[run.offset : run.end])
    return channel


def _silence(length: int) -> NDArray[np.int16]:
    return np.zeros(min(max(0, length), _LONGEST), dtype=np.int16)


def _place(channel: NDArray[np.int16], position: int, samples: Samples) -> None:
    fits = samples[: max(0, len(channel) - position)]
    if position >= 0:
        channel[position : position + len(fits)] = fits
