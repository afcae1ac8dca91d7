"""A transcriber on OpenAI's `audio/transcriptions`: the utterance is uploaded when it is over.

The protocol does not stream audio in, so there are no partials, and a guess or a final takes as
long as the service takes for the whole utterance.
"""

from __future__ import annotations

import io
import wave

from openai import omit

from workers.ports import Ask, Partial, Transcript
from workers.providers.openai_client import OpenAIOptions, Service, connect, vendor_errors
from workers.providers.options import parse

SAMPLE_RATE = 8000


class TranscriptionOptions(OpenAIOptions):
    """`asr.options` in agents.yaml."""

    #: Names and words that the model should expect.
    prompt: str = ""
    #: ISO 639-1 code; None takes the agent's language, "" lets the model find out.
    language: str | None = None


class UploadTranscriber:
    """Hears by upload; any number of utterances at once, on shared connections."""

    def __init__(self, options: TranscriptionOptions, language: str, service: Service) -> None:
        self._options = options
        self._language = language
        self._service = service
        self._client = service.client

    def listen(self) -> UploadUtterance:
        """Begin an utterance: nothing is sent before somebody asks what it says."""
        return UploadUtterance(self)

    async def transcribe(self, pcm: bytes) -> Transcript:
        """Upload 8000 Hz audio as a WAV file, and take the text from the answer."""
        options = self._options
        with vendor_errors(options):
            answer = await self._client.audio.transcriptions.create(
                model=options.model,
                file=("utterance.wav", _wav(pcm), "audio/wav"),
                response_format="json",
                language=self._language or omit,
                prompt=options.prompt or omit,
                extra_body=options.extra,
            )
            if not isinstance(answer.text, str):
                raise ValueError(f"a transcription without `text`: {answer!r:.200}")  # noqa: TRY004
        return Transcript(answer.text.strip())

    async def close(self) -> None:
        """Let go of the shared client."""
        await self._service.release()


class UploadUtterance:
    """One utterance, kept until it is over: 16 kB a second."""

    def __init__(self, transcriber: UploadTranscriber) -> None:
        self._transcriber = transcriber
        self._pcm = bytearray()

    async def write(self, pcm: bytes) -> Partial:
        """Keep the audio; this protocol has no partials."""
        self._pcm += pcm
        return Partial()

    async def guess(self) -> Transcript:
        """Upload what there is; without audio there are no words, and nothing is asked."""
        return await self._transcriber.transcribe(bytes(self._pcm)) if self._pcm else Transcript("")

    async def finish(self) -> Transcript:
        """Upload all of it."""
        return await self.guess()

    async def cancel(self) -> None:
        """Forget it."""
        self._pcm.clear()


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(pcm)
    return file.getvalue()


def transcriber(ask: Ask) -> UploadTranscriber:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, or the key is missing.
    """
    where = f"agent {ask.agent.name!r}: asr.options"
    options = parse(TranscriptionOptions, ask.options, where=where)
    language = options.language
    if language is None:
        language = ask.agent.language.partition("-")[0]
    return UploadTranscriber(options, language, connect(options, ask, "asr"))
