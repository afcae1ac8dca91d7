"""A responder that others stand behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from calls.conversation import Message
from workers.ports import Action, ProviderError, Responder, Token
from workers.resilience.chain import Chain
from workers.resilience.patience import patiently


class ResilientResponder:
    """Asks one after the other until one answers.

    Once a piece was given there is no going back: what half a sentence was going to be, only who
    began it knows. A provider that fails then is an error; who has the whole sentences may ask for
    the rest with `said`, and whoever answers then goes on after them.
    """

    def __init__(self, chain: Chain[Responder]) -> None:
        self._chain = chain

    async def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        """Stream the first answer that begins in time.

        Raises:
            ProviderError: nobody answered, or the answer broke off.
        """
        course = self._chain.course()
        while True:
            attempt = await course.attempt()
            try:
                with attempt:
                    stream = attempt.provider.reply(conversation, confidence=confidence, said=said)
                    async with aclosing(patiently(stream, attempt.patience())) as pieces:
                        async for piece in pieces:
                            attempt.given = True
                            yield piece
            except ProviderError as error:
                if attempt.given:
                    raise
                course.failed(attempt.link, error)
            else:
                return

    async def close(self) -> None:
        """Close all of them."""
        await self._chain.close()
