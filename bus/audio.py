"""Audio on the bus.

Caller's frames: `{call}:in`, one entry per 20 ms frame, field `f`:

    u8 codec | u8 flags | u8 agent_level | u64 captured_ms | payload

The entry's id is the frame's number (`FIRST + seq`-0), so the stream's ids are the media clock: a
retried write cannot double a frame, a reader resumes at a position, and the trim is by position.

Agent's chunks: `{call}:out`, field `c`:

    u8 codec | u8 flags | u16 sentence | u32 offset (samples) | u8 n | reply id, n bytes | payload

Chunks carry their place, so readers drop what they have and order the rest; a sentence is whole
when the chunk flagged LAST has come and no sample before it is missing. All lengths are multiples
of one frame. Integers are big-endian.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from bus.events import WireError
from calls.ids import ReplyId, parse_reply_id
from media.frames import FRAME_SAMPLES, Codec

IN_FIELD: Final = b"f"
OUT_FIELD: Final = b"c"
#: Stream ids start above 0-0.
FIRST: Final = 1

SILENT: Final = 127
CONCEALED: Final = 1  # no packet came for this frame: its audio is made up
LAST: Final = 1  # the sentence ends with this chunk

_IN = struct.Struct(">BBBQ")
_OUT = struct.Struct(">BBHIB")
_WIRE_CODECS: Final = {Codec.PCMU: 0, Codec.PCMA: 8, Codec.L16: 11}
_CODECS: Final = {number: codec for codec, number in _WIRE_CODECS.items()}
_MAX_PAYLOAD: Final = 16 * 1024


class InFrame(NamedTuple):
    """20 ms of the caller: frame `seq` begins at sample `seq * 160` of the media clock."""

    seq: int
    captured_ms: int
    codec: Codec
    payload: bytes
    concealed: bool = False
    #: How loud the agent was in the same 20 ms: 0..127 in -dBov (RFC 6464 3), 127 for silence.
    agent_level: int = SILENT

    @property
    def position(self) -> int:
        return self.seq * FRAME_SAMPLES


class OutChunk(NamedTuple):
    """Some of a sentence's audio, from `offset` (samples) on."""

    reply: ReplyId
    sentence: int
    offset: int
    codec: Codec
    payload: bytes
    last: bool = False


def frame_id(seq: int) -> str:
    """The stream id of a frame."""
    return f"{seq + FIRST}-0"


def after_position(position: int) -> str:
    """The id to read after, so that the frame at `position` (samples) comes first."""
    return f"{position // FRAME_SAMPLES + FIRST - 1}-0"


def frame_end(entry_id: bytes) -> int:
    """Where on the media clock the frame of this stream id ends (samples)."""
    return (int(entry_id.partition(b"-")[0]) - FIRST + 1) * FRAME_SAMPLES


def encode_frame(frame: InFrame) -> bytes:
    """Write a frame's field."""
    codec, flags = _WIRE_CODECS[frame.codec], CONCEALED * frame.concealed
    head = _IN.pack(codec, flags, frame.agent_level, frame.captured_ms)
    return head + frame.payload


def decode_frame(entry_id: bytes, data: bytes) -> InFrame:
    """Read a frame from its entry.

    Raises:
        WireError
    """
    try:
        codec, flags, level, captured = _IN.unpack_from(data)
        seq = int(entry_id.partition(b"-")[0]) - FIRST
        payload = data[_IN.size :]
        frame = InFrame(seq, captured, _CODECS[codec], payload, bool(flags & CONCEALED), level)
    except (struct.error, KeyError, ValueError) as error:
        raise WireError(f"not an audio frame: {data[:40]!r}") from error
    if seq < 0 or len(payload) != _frame_bytes(frame.codec):
        raise WireError(f"frame {seq} of {len(payload)} bytes")
    return frame


def encode_chunk(chunk: OutChunk) -> bytes:
    """Write a chunk's field."""
    reply = chunk.reply.encode()
    head = _OUT.pack(
        _WIRE_CODECS[chunk.codec], LAST * chunk.last, chunk.sentence, chunk.offset, len(reply)
    )
    return head + reply + chunk.payload


def decode_chunk(data: bytes) -> OutChunk:
    """Read a chunk.

    Raises:
        WireError
    """
    try:
        codec, flags, sentence, offset, length = _OUT.unpack_from(data)
        begin = _OUT.size + length
        reply = parse_reply_id(data[_OUT.size : begin].decode())
        payload = data[begin:]
        chunk = OutChunk(reply, sentence, offset, _CODECS[codec], payload, bool(flags & LAST))
    except (struct.error, KeyError, ValueError) as error:
        raise WireError(f"not an audio chunk: {data[:40]!r}") from error
    ragged = offset % FRAME_SAMPLES or len(payload) % _frame_bytes(chunk.codec)
    if ragged or len(payload) > _MAX_PAYLOAD:
        raise WireError(f"a chunk of {len(payload)} bytes at {offset}")
    return chunk


def _frame_bytes(codec: Codec) -> int:
    return FRAME_SAMPLES * codec.bytes_per_sample
