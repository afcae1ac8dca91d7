"""A transcriber that others stand behind: the caller's words are kept until they were understood.

An utterance's audio stays here while it is heard. When its provider fails, whoever is asked next
gets all of it from the beginning, as fast as it takes it, and goes on as if it had listened all
along: the caller need not say it again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from workers.ports import Partial, ProviderError, Transcriber, Transcript, Utterance
from workers.resilience.chain import Attempt, Chain, Course
from workers.resilience.patience import Patience

#: 8000 Hz, 16 bit.
BYTES_PER_MS: Final = 16
#: Audio is handed over in pieces of at most a second: each has the provider's whole time.
_PIECE: Final = 1000 * BYTES_PER_MS


class ResilientTranscriber:
    """Has one after the other listen to an utterance, until one has understood it."""

    def __init__(self, chain: Chain[Transcriber], longest_ms: int) -> None:
        """Of each utterance the newest `longest_ms` are kept: 16 kB a second."""
        self._chain = chain
        self._longest = longest_ms * BYTES_PER_MS

    def listen(self) -> ResilientUtterance:
        """Begin an utterance; a provider is asked with its first audio."""
        return ResilientUtterance(self._chain.course(), self._longest)

    async def close(self) -> None:
        """Close all of them."""
        await self._chain.close()


@dataclass(slots=True, eq=False)
class _Listener:
    """A provider that hears the utterance."""

    attempt: Attempt[Transcriber]
    utterance: Utterance
    patience: Patience
    #: How far it has heard, in bytes of the utterance.
    heard: int = 0


class ResilientUtterance:
    """One utterance, whoever hears it."""

    def __init__(self, course: Course[Transcriber], longest: int) -> None:
        self._course = course
        self._longest = longest
        self._kept = bytearray()
        #: Where in the utterance `_kept` begins, bytes.
        self._begin = 0
        self._listener: _Listener | None = None
        #: Held while audio is handed over, so that pieces stay in order; not while a transcript is
        #: waited for, so that a guess holds up no audio.
        self._handing_over = asyncio.Lock()
        self._partial = Partial()
        self._over = False

    async def write(self, pcm: bytes) -> Partial:
        """Keep the audio, and hand it on.

        Raises:
            ProviderError: nobody is left who could hear it.
        """
        self._kept += pcm
        if (excess := len(self._kept) - self._longest) > 0:
            del self._kept[:excess]
            self._begin += excess
        await self._listening(self._end)
        return self._partial

    async def guess(self) -> Transcript:
        """What it says if it ends here. Who fails at it hears no more of this utterance.

        Audio that is written meanwhile is in the guess only if somebody else had to make it.

        Raises:
            ProviderError: nobody is left, or the utterance is over meanwhile.
        """
        here = self._end
        while True:
            listener = await self._listening(here)
            try:
                with listener.attempt.patience():
                    transcript = await listener.utterance.guess()
            except ProviderError as error:
                if self._over:
                    raise
                await self._failed(listener, error)
            else:
                listener.attempt.given = True
                return transcript

    async def finish(self) -> Transcript:
        """The words, by whoever is the first to have them.

        Raises:
            ProviderError: nobody had them.
        """
        self._over = True
        while True:
            listener = await self._listening(self._end, last=True)
            try:
                with listener.attempt.patience():
                    transcript = await listener.utterance.finish()
            except ProviderError as error:
                await self._failed(listener, error)
            else:
                self._listener = None
                listener.attempt.settle()
                return transcript

    async def cancel(self) -> None:
        """Forget it."""
        self._over = True
        self._kept.clear()
        if self._listener is not None:
            await self._dismiss(self._listener, asyncio.CancelledError())

    @property
    def _end(self) -> int:
        return self._begin + len(self._kept)

    async def _listening(self, until: int, *, last: bool = False) -> _Listener:
        """Whoever is at work, once it has heard the utterance so far (bytes)."""
        async with self._handing_over:
            while True:
                if self._over and not last:
                    raise ProviderError("the utterance is over", error_type="unavailable")
                listener = self._listener
                if listener is None:
                    attempt = await self._course.attempt()
                    utterance = attempt.provider.listen()
                    listener = _Listener(attempt, utterance, attempt.patience(), self._begin)
                    self._listener = listener
                try:
                    await self._hand_over(listener, until)
                except ProviderError as error:
                    await self._failed(listener, error)
                except asyncio.CancelledError as error:
                    # What of it was heard, nobody knows: whoever comes next begins anew.
                    await self._dismiss(listener, error)
                    raise
                if listener is self._listener:
                    return listener

    async def _hand_over(self, listener: _Listener, until: int) -> None:
        while listener.heard < until and listener is self._listener:
            at = max(listener.heard, self._begin)
            end = min(at + _PIECE, until)
            with listener.patience:
                self._partial = await listener.utterance.write(
                    bytes(self._kept[at - self._begin : end - self._begin])
                )
            listener.heard = max(at, end)

    async def _failed(self, listener: _Listener, error: ProviderError) -> None:
        if listener is self._listener:  # else somebody has seen it fail before us
            self._course.failed(listener.attempt.link, error)
            await self._dismiss(listener, error)

    async def _dismiss(self, listener: _Listener, why: BaseException) -> None:
        if listener is self._listener:
            self._listener = None
            listener.attempt.settle(why)
            await listener.utterance.cancel()
