"""A clock that the tests own, and providers that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest

from calls.agent import ProviderSpec
from calls.conversation import Message
from workers.ports import Action, Partial, ProviderError, Token, Transcript
from workers.resilience.chain import Chain, Link
from workers.resilience.loading import Breakers

#: What a stub does, in order: waits so many seconds, raises, or gives.
Step = float | Exception | Any


class VirtualTime(asyncio.SelectorEventLoop):
    """Its time stands still while anything runs, and jumps to the next timer when all wait."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def skip(timeout: float | None = None) -> Any:
            assert timeout is not None, "everything waits, and nothing is ever going to happen"
            self._now += max(0.0, timeout)
            return select(0)

        self._selector.select = skip

    def time(self) -> float:
        return self._now


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual time": VirtualTime}


def now() -> float:
    return asyncio.get_running_loop().time()


def down(error_type: str = "unavailable") -> ProviderError:
    return ProviderError(f"it is {error_type}", error_type=error_type)


async def steps(script: Iterable[Step]) -> AsyncIterator[Any]:
    for step in script:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.sleep(step)
        else:
            yield step


class Stub:
    """Plays one script after the other, the last one again and again."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = scripts
        self.asked = 0
        #: Streams that were closed, or came to their end.
        self.over = 0
        self.closed = False

    async def play(self) -> AsyncIterator[Any]:
        script = self._scripts[min(self.asked, len(self._scripts) - 1)]
        self.asked += 1
        try:
            async for piece in steps(script):
                yield piece
        finally:
            self.over += 1

    async def close(self) -> None:
        self.closed = True


class Thinks(Stub):
    said: Sequence[str] = ()

    def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        self.said = said
        return self.play()


class Speaks(Stub):
    sample_rate = 8000

    def speak(self, text: str) -> AsyncIterator[bytes]:
        return self.play()


class Hears(Stub):
    """Each transcript, guessed or final, is one script: its text is the audio that was heard."""

    def __init__(self, *scripts: Sequence[Step], write: Iterable[Step] = ()) -> None:
        super().__init__(*(scripts or ((),)))
        #: One step for each write, "" where it is well.
        self.write = iter(write)
        self.utterances: list[HearsUtterance] = []

    def listen(self) -> HearsUtterance:
        self.utterances.append(HearsUtterance(self))
        return self.utterances[-1]


class HearsUtterance:
    def __init__(self, hears: Hears) -> None:
        self._hears = hears
        self.pcm = b""
        self.cancelled = False

    async def write(self, pcm: bytes) -> Partial:
        assert not self.cancelled
        async for _ in steps([next(self._hears.write, "")]):
            pass
        self.pcm += pcm
        return Partial(f"{len(self.pcm)} bytes")

    async def guess(self) -> Transcript:
        heard = self.pcm
        async for _ in self._hears.play():
            pass
        return Transcript(heard.decode())

    async def finish(self) -> Transcript:
        return await self.guess()

    async def cancel(self) -> None:
        self.cancelled = True


class Line:
    """Puts stubs in line, with a time-out of 1 s each; the same stub has the same breaker."""

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def __call__(self, *stubs: Any, stage: str = "llm") -> Chain[Any]:
        links = []
        for stub in stubs:
            spec = ProviderSpec(provider="stub", options={"id": id(stub)})
            name = f"stub {len(links)}"
            links.append(Link(name, stub, 1000, self._breakers.of(stage, spec)))
        return Chain(stage, links, jitter=lambda: 0.5)


@pytest.fixture
def line() -> Line:
    return Line(Breakers(now))
