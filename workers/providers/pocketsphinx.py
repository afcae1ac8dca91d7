"""The embedded transcriber: PocketSphinx, listening for the agent's own phrases.

English, on the CPU, with nothing to download: the acoustic model comes with the package. It knows
what callers are expected to say and nothing else: the language model is made from the phrases of
the rules responder, from `options.phrases` and from what listeners say (`LISTENING` and the agent's
own backchannels), the dictionary holds their words only. That makes it accurate (a few % of words
wrong on clear telephone speech) and fast (a final within 1 ms of the last audio, 0.03 s of CPU per
second of speech, 10 to 30 ms to load), and it makes whatever else is said come out as nonsense, of
low confidence.

**Confidence.** PocketSphinx's own `hyp().prob` is a posterior over the word lattice, and is always
1.0 without the `bestpath` pass that a fast final leaves out. What gives strangers to the domain
away is that the decoder must string improbable words together to explain them. So the measure is
*surprise*: the improbability of the words under the language model, over that of words drawn
blindly from the vocabulary, one per 0.3 s of speech. With the example agent it is 0.4 in the median
for what callers are expected to say and above 1.1 for 1 in 100 of it; 1.8 in the median and below
1.25 for 1 in 20 of anything else. Confidence is a logistic function of it, 0.5 at `STRANGE`.

PocketSphinx holds the GIL and runs in the caller's task: worker processes only.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pocketsphinx import Decoder, get_model_path
from pydantic import AfterValidator, Field

from calls.agent import ProviderSpec, StageSpec
from workers.ports import Ask, Partial, ProviderError, Transcript
from workers.providers.language_model import BEGIN, END, LanguageModel
from workers.providers.options import Options, parse
from workers.providers.receptionist import Line, Phrase, Receptionist, phrases_of
from workers.providers.wording import words

Samples = np.ndarray[Any, np.dtype[np.int16]]

#: Samples decoded between two chances for other tasks to run: 100 ms.
PIECE = 800
#: Samples between two looks at the partial transcript: 200 ms.
PARTIAL_EVERY = 1600

#: Surprise at which something is as likely a stranger as expected.
STRANGE = 1.2
_STEEPNESS = 6.0
_FRAMES_PER_WORD = 30  # of 10 ms

#: The sounds of CMUdict (http://www.speech.cs.cmu.edu/cgi-bin/cmudict), without stress marks.
_ARPABET = frozenset([
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH",
    "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH",
    "UW", "V", "W", "Y", "Z", "ZH",
])  # fmt: skip

#: What everybody says who listens. Who does not know "mhm" hears other words there, and so a turn
#: that ends the agent's answer.
LISTENING = ("yeah", "okay", "mhm", "hm", "uh huh", "right", "i see", "got it")

#: The mean cepstrum of telephone speech, from which live normalisation starts: the model's own is
#: that of wide-band recordings, and takes some seconds of an utterance to forget.
_TELEPHONE_MEAN = "48,6,5.6,22,4.2,2.8,1.8,2.9,-12.4,7.8,-3.6,9.1,-2"


def _sounds(text: str) -> str:
    sounds = text.upper()
    if unknown := set(sounds.split()) - _ARPABET:
        raise ValueError(f"not ARPAbet: {', '.join(sorted(unknown))}; write it like K AE T")
    return sounds


Sounds = Annotated[Line, AfterValidator(_sounds)]


class PocketSphinxOptions(Options):
    """`asr.options` in agents.yaml."""

    #: What callers may say besides the phrases of the rules responder.
    phrases: tuple[Phrase, ...] = ()
    #: Words the dictionary lacks, in ARPAbet as CMUdict writes it: {trunkline: T R AH NG K L AY N}.
    pronunciations: dict[str, Sounds] = Field(default_factory=dict)
    #: Utterances heard at once by one process, 5 MB each.
    max_decoders: int = Field(default=100, ge=1, le=1000)


class PocketSphinxTranscriber:
    """Listens with a pool of decoders, each hearing one utterance at a time."""

    def __init__(
        self, model: LanguageModel, expected: LanguageModel, dictionary: str, max_decoders: int
    ) -> None:
        """`model` is of all that is understood, `expected` of the agent's own phrases alone."""
        self.model = model
        self.expected = expected
        self._dictionary = dictionary
        self._max_decoders = max_decoders
        self._idle: list[Any] = []
        self._made = 0
        self._idle.append(self.take())  # the first caller does not wait for it to load

    def listen(self) -> PocketSphinxUtterance:
        """Begin an utterance; its decoder is taken with its first audio."""
        return PocketSphinxUtterance(self)

    def take(self) -> Any:
        """Take a decoder out of the pool, or make one.

        Raises:
            ProviderError: `max_decoders` utterances are being heard already.
        """
        if self._idle:
            return self._idle.pop()
        if self._made >= self._max_decoders:
            raise ProviderError(
                f"pocketsphinx hears {self._made} utterances already; raise "
                "asr.options.max_decoders, or start another ASR worker",
                error_type="refused",  # others are being heard: it is not dead
            )
        decoder = _decoder(self.model.arpa(), self._dictionary)
        self._made += 1
        return decoder

    def give_back(self, decoder: Any) -> None:
        """The utterance is over: the decoder is free for the next."""
        self._idle.append(decoder)

    async def close(self) -> None:
        """Free the decoders."""
        self._idle.clear()


class PocketSphinxUtterance:
    """One utterance. It depends on no other: each starts from the same mean cepstrum."""

    def __init__(self, transcriber: PocketSphinxTranscriber) -> None:
        self._transcriber = transcriber
        self._decoder: Any = None
        self._over = False
        self._last = 0
        self._partial = ""
        self._unseen = 0

    async def write(self, pcm: bytes) -> Partial:
        """Decode more audio; the partial is renewed every 200 ms of it.

        Raises:
            ProviderError: too many utterances are being heard at once.
        """
        samples = np.frombuffer(pcm, "<i2")
        for start in range(0, len(samples), PIECE):
            if start:
                await asyncio.sleep(0)
            if self._over:
                break  # cancelled meanwhile
            self._decode(samples[start : start + PIECE])
        if self._unseen >= PARTIAL_EVERY and self._decoder is not None:
            self._unseen = 0
            hypothesis = self._decoder.hyp()
            self._partial = hypothesis.hypstr if hypothesis else ""
        return Partial(self._partial)

    def _decode(self, piece: Samples) -> None:
        if self._decoder is None:
            self._decoder = self._transcriber.take()
            self._decoder.set_cmn(_TELEPHONE_MEAN)
            self._decoder.start_utt()
        self._decoder.process_raw(upsampled(piece, self._last), False, False)
        self._last = int(piece[-1])
        self._unseen += len(piece)

    async def guess(self) -> Transcript:
        """Look at what is decoded: 0.1 ms.

        The decoder is some 50 ms behind the audio, and only the end of an utterance makes it decode
        those. In a pause they are silence: 80 ms after the VAD's last speech frame all 39 shipped
        recordings, clean and in noise, are guessed in the words they end up with.
        """
        return self._transcript(self._decoder)

    async def finish(self) -> Transcript:
        """End the utterance: about 1 ms."""
        decoder = self._end()
        transcript = self._transcript(decoder)
        if decoder is not None:
            self._transcriber.give_back(decoder)
        return transcript

    def _transcript(self, decoder: Any) -> Transcript:
        spoken = [
            (segment.word.partition("(")[0], segment.end_frame - segment.start_frame + 1)
            for segment in (decoder.seg() if decoder is not None and decoder.hyp() else ())
            if segment.word[0] not in "<["  # silence, noise, the sentence's ends
        ]
        if not spoken:
            return Transcript("")
        heard = [word for word, _ in spoken]
        frames = sum(count for _, count in spoken)
        return Transcript(" ".join(heard), confidence(self._transcriber.expected, heard, frames))

    async def cancel(self) -> None:
        """Forget it."""
        decoder = self._end()
        if decoder is not None:
            self._transcriber.give_back(decoder)

    def _end(self) -> Any:
        self._over = True
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.end_utt()
        return decoder


def confidence(model: LanguageModel, heard: list[str], frames: int) -> float:
    """How sure it is, 0..1, that `heard`, spoken in `frames` of 10 ms, is what was said."""
    sentence = (BEGIN, *heard, END)
    improbability = -sum(
        math.log10(model.probability(sentence[at], sentence[:at])) for at in range(1, len(sentence))
    )
    blind = math.log10(len(model.vocabulary)) * frames / _FRAMES_PER_WORD
    return 1 / (1 + math.exp(_STEEPNESS * (improbability / blind - STRANGE)))


def upsampled(samples: Samples, last: int) -> bytes:
    """Double the rate to 16 kHz by lines between samples; `last` is the one before the first.

    A better filter would serve the decoder worse: its wide-band features expect energy above
    4 kHz, and the images that a linear interpolation leaves there stand in for it.
    """
    wide = np.empty(2 * len(samples), np.int32)
    wide[1::2] = samples
    wide[2::2] = samples[:-1]
    wide[0] = last
    wide[0::2] += samples
    wide[0::2] >>= 1
    return wide.astype("<i2").tobytes()


def transcriber(ask: Ask) -> PocketSphinxTranscriber:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong, there are no phrases, or one has an unknown word.
    """
    where = f"agent {ask.agent.name!r}: asr.options"
    options = parse(PocketSphinxOptions, ask.options, where=where)
    phrases = list(options.phrases)
    for path, spec in _thinking(ask.agent.llm):
        if spec.provider == "rules":
            rules_at = f"agent {ask.agent.name!r}: {path}.options"
            phrases += phrases_of(parse(Receptionist, spec.options, where=rules_at))
    if not phrases:
        raise ProviderError(
            f"{where}.phrases: pocketsphinx hears only what it was told to expect; list what "
            "callers say, or use another transcriber",
            error_type="refused",
        )
    expected = LanguageModel(words(phrase) for phrase in phrases)
    listening = (*LISTENING, *ask.agent.interruption.backchannels)
    model = LanguageModel(words(phrase) for phrase in (*phrases, *listening))
    own = {word.casefold(): sounds for word, sounds in options.pronunciations.items()}
    return PocketSphinxTranscriber(
        model, expected, _dictionary(model.words, own, where), options.max_decoders
    )


def _thinking(llm: StageSpec) -> Iterator[tuple[str, ProviderSpec]]:
    """All who may answer, with their paths in agents.yaml."""
    yield "llm", llm
    for index, spec in enumerate(llm.fallback):
        yield f"llm.fallback.{index}", spec


def _dictionary(vocabulary: list[str], own: dict[str, str], where: str) -> str:
    missing = set(vocabulary) - own.keys()
    lines = [f"{word} {own[word]}\n" for word in vocabulary if word in own]
    found = set()
    for word, line in _cmudict():
        if word in missing:
            lines.append(line)
            found.add(word)
    if missing - found:
        unknown = ", ".join(repr(word) for word in sorted(missing - found))
        raise ProviderError(
            f"{where}: the dictionary does not know {unknown}: write it in other words, or spell "
            "out its sound in asr.options.pronunciations, like {trunkline: T R AH NG K L AY N}",
            error_type="refused",
        )
    return "".join(lines)


def _cmudict() -> Iterator[tuple[str, str]]:
    """The words of the shipped dictionary with their lines; a word may have several."""
    with Path(get_model_path("en-us/cmudict-en-us.dict")).open(encoding="utf-8") as lines:
        for line in lines:
            yield line.partition(" ")[0].partition("(")[0], line


def _decoder(arpa: str, dictionary: str) -> Any:
    # PocketSphinx loads its models from files only, and reads them at once.
    with tempfile.TemporaryDirectory(prefix="trunkline-lm-") as folder:
        lm, words_file = Path(folder, "phrases.arpa"), Path(folder, "phrases.dict")
        lm.write_text(arpa, encoding="utf-8")
        words_file.write_text(dictionary, encoding="utf-8")
        try:
            return Decoder(
                hmm=get_model_path("en-us/en-us"),
                lm=str(lm),
                dict=str(words_file),
                fwdflat=False,
                bestpath=False,
                loglevel="FATAL",
            )
        except RuntimeError as error:
            raise ProviderError(
                "pocketsphinx could not load its models; reinstall the package pocketsphinx",
                error_type="unavailable",
            ) from error
