"""`trunkline dial`: one call by the softphone, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from media.frames import to_pcm
from media.wav import write_mono
from trunkline.errors import UserError
from trunkline.softphone import Softphone, load_wav, parse_uri, seconds

#: An agent without a greeting waits for the caller.
_GREETING_SECONDS = 5.0
_ANSWER_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went."""

    uri: str
    #: How many of the WAVs were said, and how many were answered by speech.
    said: int
    answered: int
    #: Whether the other side hung up.
    hung_up_on: bool
    heard_seconds: float
    record: str | None

    def as_json(self) -> dict[str, object]:
        """For `trunkline dial --json`."""
        return asdict(self)


def dial(
    uri: str,
    wavs: Sequence[Path],
    *,
    record: Path | None,
    silence_ms: int,
    timeout_s: float,
    tell: Callable[[str], None],
) -> Outcome:
    """Call, say each WAV when the other side has finished speaking, hang up.

    Args:
        uri: Whom to call.
        wavs: What to say; without any the phone listens until it is hung up on.
        record: Where to write what was heard.
        silence_ms: The silence after which the other side has finished speaking.
        timeout_s: How long the call may last.
        tell: Told what happens, for people.

    Raises:
        UserError: the call was refused, or a file cannot be read or written.
    """
    target = parse_uri(uri)
    speeches = [load_wav(wav) for wav in wavs]
    phone = Softphone(target)
    deadline = time.monotonic() + timeout_s
    said = answered = 0
    with phone.call() as line:
        tell(f"answered: {uri}")
        first_s = _GREETING_SECONDS if speeches else timeout_s
        if line.wait_for_answer(silence_ms, min(first_s, timeout_s)):
            tell("the agent has spoken")
        for wav, speech in zip(wavs, speeches, strict=True):
            if not line.alive or time.monotonic() > deadline:
                break
            tell(f"says {wav.name} ({seconds(speech):.1f} s)")
            line.say(speech)
            said += 1
            patience = min(_ANSWER_SECONDS, deadline - time.monotonic())
            answered += line.wait_for_answer(silence_ms, patience)
        hung_up_on = not line.alive
        heard = line.received()
    if record is not None:
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            with record.open("wb") as file:
                write_mono(file, to_pcm(heard))
        except OSError as error:
            raise UserError(f"{record}: {error.strerror}") from error
    outcome = Outcome(
        uri, said, answered, hung_up_on, round(seconds(heard), 2), str(record) if record else None
    )
    tell(f"over: heard {outcome.heard_seconds} s" + (f" -> {record}" if record else ""))
    return outcome
