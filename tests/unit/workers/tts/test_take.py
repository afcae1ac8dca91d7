"""A take: whole frames, whatever pieces a provider yields; and only a whole take is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import g711
from media.frames import Codec
from workers.ports import ProviderError
from workers.tts.take import Take

PCM = bytes(range(256)) * 5  # 640 samples: four frames


class Voice:
    sample_rate = 8000

    def __init__(self, *pieces: bytes, fails: bool = False) -> None:
        self.pieces = pieces
        self.fails = fails

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.fails:
            raise ProviderError("no voice")

    async def close(self) -> None: ...


@given(cuts=st.lists(st.integers(0, len(PCM))), end=st.integers(0, len(PCM)))
async def test_frames_are_whole_however_the_provider_cuts_them(cuts: list[int], end: int) -> None:
    pcm = PCM[: end // 2 * 2]
    places = [0, *sorted(cut for cut in cuts if cut < len(pcm)), len(pcm)]
    pieces = [pcm[a:b] for a, b in pairwise(places)]
    take = Take(Voice(*pieces), "Yes.", keep=640)
    given = [payload async for payload in take]
    assert all(payload and len(payload) % 160 == 0 for payload in given)
    padded = pcm + bytes(-len(pcm) % 320)
    assert b"".join(given) == take.kept == g711.encode(padded, Codec.PCMU)


async def test_audio_comes_as_soon_as_there_is_a_frame_of_it() -> None:
    given = [len(payload) async for payload in Take(Voice(PCM[:318], PCM[318:700], PCM[700:]), "")]
    assert given == [320, 320]


@pytest.mark.parametrize(("keep", "kept"), [(640, True), (639, False), (0, False)])
async def test_what_is_too_long_is_not_kept(keep: int, kept: bool) -> None:
    take = Take(Voice(PCM, PCM[:0]), "Yes.", keep=keep)
    assert take.kept is None
    assert sum([len(payload) async for payload in take]) == 640
    assert (take.kept is not None) is kept


async def test_a_part_is_not_kept() -> None:
    take = Take(Voice(PCM, fails=True), "Yes.", keep=10_000)
    with pytest.raises(ProviderError):
        [payload async for payload in take]
    assert take.kept is None
