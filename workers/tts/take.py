"""One synthesis of a sentence, as the bus carries it: PCMU, 8000 Hz, in whole frames."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from media import g711
from media.frames import FRAME_BYTES, SAMPLE_RATE, Codec
from media.resample import Resampler
from workers.ports import Synthesizer

#: An iterator that a fallback chain's `speak` returns says here, at its end, whether another than
#: the agent's first provider spoke. Other synthesizers need not have it.
STOOD_IN: Final = "stood_in"


class Take:
    """Iterate it once: it gives audio as soon as there is a frame of it."""

    def __init__(self, synthesizer: Synthesizer, text: str, *, keep: int = 0) -> None:
        """`keep`: remember the audio, up to so many bytes."""
        self._synthesizer = synthesizer
        self._text = text
        self._keep = keep
        self._audio = bytearray()
        self._whole = False

    @property
    def kept(self) -> bytes | None:
        """All of the audio; None unless it is whole, its agent's own voice, and short enough."""
        return bytes(self._audio) if self._whole and len(self._audio) <= self._keep else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Synthesize.

        Raises:
            ProviderError
        """
        resampler = Resampler(self._synthesizer.sample_rate, SAMPLE_RATE)
        pcm = bytearray()
        spoken = self._synthesizer.speak(self._text)
        async with aclosing(spoken) as pieces:  # type: ignore[type-var]  # ports return generators
            async for piece in pieces:
                pcm += resampler.process(piece)
                whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
                if whole:
                    yield self._remember(pcm[:whole])
                    del pcm[:whole]
        pcm += resampler.flush()
        pcm += bytes(-len(pcm) % FRAME_BYTES)
        if pcm:
            yield self._remember(pcm)
        self._whole = not getattr(spoken, STOOD_IN, False)

    def _remember(self, pcm: bytearray) -> bytes:
        payload = g711.encode(bytes(pcm), Codec.PCMU)
        if len(self._audio) <= self._keep:
            self._audio += payload
        return payload
