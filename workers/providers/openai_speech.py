"""A synthesizer on OpenAI's `audio/speech`, streamed as raw PCM."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from workers.ports import Ask, ProviderError
from workers.providers.openai_client import OpenAIOptions, Service, connect, vendor_errors
from workers.providers.options import parse

#: What is not raw PCM, whatever was asked for.
_PACKED = ("audio/mpeg", "audio/wav", "audio/x-wav", "audio/ogg", "application/json", "text/")


class SpeechOptions(OpenAIOptions):
    """`tts.options` in agents.yaml."""

    #: Used when the agent names no voice.
    voice: str = "alloy"
    #: Of the service's `pcm`, Hz: OpenAI and Kokoro-FastAPI send 24000.
    sample_rate: int = Field(default=24_000, ge=8000, le=48_000)
    #: Faster or slower than the voice's own pace; None leaves it out of the request.
    speed: float | None = Field(default=None, ge=0.25, le=4)


class SpeechSynthesizer:
    """Speaks with one voice; any number of sentences at once, on shared connections."""

    def __init__(self, options: SpeechOptions, voice: str, service: Service) -> None:
        self._options = options
        self._voice = voice
        self._service = service
        self._client = service.client
        self.sample_rate = options.sample_rate

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """Say a sentence: each piece is passed on as it arrives, in whole samples."""
        options = self._options
        speed = {} if options.speed is None else {"speed": options.speed}
        with vendor_errors(options):
            async with self._client.audio.speech.with_streaming_response.create(
                model=options.model,
                voice=self._voice,
                input=text,
                response_format="pcm",
                extra_body={**speed, **options.extra},
            ) as response:
                self._refuse_packed(response.headers.get("content-type", ""))
                odd = b""
                # Without a chunk size: a size would hold the first bytes back until it is full.
                async for piece in response.iter_bytes():
                    whole = odd + piece
                    even = len(whole) & ~1
                    odd = whole[even:]
                    if even:
                        yield whole[:even]

    def _refuse_packed(self, content_type: str) -> None:
        if content_type.startswith(_PACKED):
            raise ProviderError(
                f"{self._options.base_url}, model {self._options.model!r}: asked for raw pcm, the "
                f"service sends {content_type}; it does not support response_format pcm"
            )

    async def close(self) -> None:
        """Let go of the shared client."""
        await self._service.release()


def synthesizer(ask: Ask) -> SpeechSynthesizer:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, or the key is missing.
    """
    options = parse(SpeechOptions, ask.options, where=f"agent {ask.agent.name!r}: tts.options")
    return SpeechSynthesizer(
        options, ask.agent.voice or options.voice, connect(options, ask, "tts")
    )
