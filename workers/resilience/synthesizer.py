"""A synthesizer that others stand behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from media.resample import Resampler
from workers.ports import ProviderError, Synthesizer
from workers.resilience.chain import Chain
from workers.resilience.patience import patiently


class _Spoken:
    """A sentence's audio, as `say` gives it, who is told of this to note who speaks."""

    def __init__(self, say: Callable[[_Spoken], AsyncGenerator[bytes, None]]) -> None:
        self._pieces = say(self)
        #: Is it another's voice than the first provider's? Such audio is not cached as the first's.
        self.stood_in = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()


class ResilientSynthesizer:
    """Has one after the other try to speak, until one does.

    Once there was audio the caller may have heard it, and nobody can say the rest of a sentence
    alone: a provider that fails then is an error, and nothing is said twice.
    """

    def __init__(self, chain: Chain[Synthesizer]) -> None:
        self._chain = chain
        #: The first one's; the others' audio is brought to it.
        self.sample_rate = chain.links[0].provider.sample_rate

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Stream the first audio that begins in time.

        Raises:
            ProviderError: nobody spoke, or the voice broke off.
        """
        return _Spoken(lambda spoken: self._speak(text, spoken))

    async def _speak(self, text: str, spoken: _Spoken) -> AsyncGenerator[bytes, None]:
        course = self._chain.course()
        while True:
            attempt = await course.attempt()
            spoken.stood_in = attempt.link is not self._chain.links[0]
            rate = attempt.provider.sample_rate
            resampler = Resampler(rate, self.sample_rate)
            try:
                with attempt:
                    stream = attempt.provider.speak(text)
                    async with aclosing(patiently(stream, attempt.patience())) as pieces:
                        async for piece in pieces:
                            attempt.given = True
                            if audio := resampler.process(piece):
                                yield audio
                if rest := resampler.flush():
                    yield rest
            except ProviderError as error:
                if attempt.given:
                    raise
                course.failed(attempt.link, error)
            else:
                return

    async def close(self) -> None:
        """Close all of them."""
        await self._chain.close()
