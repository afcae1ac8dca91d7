"""The wire forms: what was written is read back, and nothing else gets in."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bus import audio
from bus.events import MAX_EVENT_BYTES, WireError, decode, encode
from bus.jobs import AnswerTurn, HearCall, SpeakSentence
from calls import events as e
from calls.ids import ReplyId, reply_id
from media.frames import Codec
from tests.support.facts import CALL, KINDS, events, reply_started, sentence, started


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_survives_its_wire_form(kind: type[e.Event]) -> None:
    @given(events(kind))
    def survives(event: e.Event) -> None:
        again = decode(encode(event))
        assert again == event
        assert type(again) is kind
        assert again.key == event.key

    survives()


def test_a_kind_of_a_newer_version_is_passed_over() -> None:
    assert decode(b'{"kind": "call.teleported", "at": 1}') is None


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    newer = {**json.loads(encode(reply_started("1.0"))), "mood": "good"}
    assert decode(json.dumps(newer).encode()) == reply_started("1.0")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"kind": "call.answered"}',
        b'{"kind": "call.answered", "at": "noon"}',
        b'{"kind": "reply.started", "at": 1, "reply": "first"}',
        b'{"kind": "reply.started", "at": 1, "reply": "1.0\\n"}',
        b'{"kind": "digit", "at": 1}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert decode(data) is None


def test_a_call_id_that_is_a_path_is_refused() -> None:
    data = encode(started()).replace(CALL.encode(), b"../../../etc/passwd")
    with pytest.raises(WireError):
        decode(data)


def test_an_event_past_the_limit_is_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(sentence("1.0", 0, "x" * MAX_EVENT_BYTES))
    with pytest.raises(WireError, match="at most"):
        decode(b" " * (MAX_EVENT_BYTES + 1))


def test_text_that_is_no_unicode_has_no_wire_form() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # pydantic's own, and its words vary
        encode(sentence("1.0", 0, "\udcff"))


def test_facts_are_told_apart_by_their_key() -> None:
    assert reply_started("1.0", at=1).key == reply_started("1.0", at=2).key
    assert sentence("1.0", 0, "a").key != sentence("1.0", 1, "a").key
    assert sentence("1.0", 0, "a").key != sentence("1.1", 0, "a").key


# -- audio

codecs = st.sampled_from(list(Codec))
frames = st.builds(
    lambda seq, at, codec, concealed: audio.InFrame(seq, at, codec, codec.silence(), concealed),
    st.integers(0, 2**40),
    st.integers(0, 2**50),
    codecs,
    st.booleans(),
)
chunks = st.builds(
    lambda turn, sentence, frame, codec, length, last: audio.OutChunk(
        reply_id(turn), sentence, frame * 160, codec, codec.silence(length * 160), last
    ),
    st.integers(0, 10**6),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**20),
    codecs,
    st.integers(0, 10),
    st.booleans(),
)


@given(frames)
def test_a_frame_survives_its_wire_form(frame: audio.InFrame) -> None:
    entry_id = audio.frame_id(frame.seq).encode()
    assert audio.decode_frame(entry_id, audio.encode_frame(frame)) == frame
    assert audio.frame_end(entry_id) == frame.position + 160


@given(chunks)
def test_a_chunk_survives_its_wire_form(chunk: audio.OutChunk) -> None:
    assert audio.decode_chunk(audio.encode_chunk(chunk)) == chunk


@given(st.integers(0, 2**30))
def test_reading_after_a_position_begins_with_its_frame(seq: int) -> None:
    before = int(audio.after_position(seq * 160).partition("-")[0])
    assert audio.frame_id(seq) == f"{before + 1}-0"


@given(st.binary(max_size=20) | st.sampled_from([b"1-0", b"0-1", b"-5-0"]), st.binary(max_size=400))
def test_arbitrary_bytes_are_at_most_no_frame(entry_id: bytes, data: bytes) -> None:
    try:
        frame = audio.decode_frame(entry_id, data)
    except WireError:
        return
    assert frame.seq >= 0
    assert len(frame.payload) == 160 * frame.codec.bytes_per_sample


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_at_most_no_chunk(data: bytes) -> None:
    try:
        chunk = audio.decode_chunk(data)
    except WireError:
        return
    assert len(chunk.payload) % 160 == 0
    assert chunk.offset % 160 == 0


@given(chunks, st.data())
def test_a_mangled_chunk_raises_only_a_wire_error(
    chunk: audio.OutChunk, data: st.DataObject
) -> None:
    wire = bytearray(audio.encode_chunk(chunk))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(WireError):
        audio.decode_chunk(bytes(wire))


@pytest.mark.parametrize(
    "chunk",
    [
        audio.OutChunk(ReplyId("1.0"), 0, 80, Codec.PCMU, bytes(160)),
        audio.OutChunk(ReplyId("1.0"), 0, 0, Codec.PCMU, bytes(100)),
        audio.OutChunk(ReplyId("first"), 0, 0, Codec.PCMU, bytes(160)),
        audio.OutChunk(ReplyId("1.0"), 0, 0, Codec.PCMU, bytes(160 * 200)),
    ],
)
def test_a_chunk_that_would_not_play_is_refused(chunk: audio.OutChunk) -> None:
    with pytest.raises(WireError):
        audio.decode_chunk(audio.encode_chunk(chunk))


# -- jobs


def test_jobs_name_their_work() -> None:
    assert AnswerTurn(call=CALL, turn=3, revision=1).reply == "3.1"


@pytest.mark.parametrize(
    ("job", "fields"),
    [
        (HearCall, {"call": "x"}),
        (HearCall, {"call": "../../etc/passwd"}),
        (AnswerTurn, {"call": CALL, "turn": -1}),
        (SpeakSentence, {"call": CALL, "reply": "last", "index": 0, "text": "a"}),
        (SpeakSentence, {"call": CALL, "reply": "1.0", "index": 2**16, "text": "a"}),
    ],
)
def test_a_job_that_names_nothing_is_refused(
    job: type[HearCall], fields: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        job.model_validate(fields)
