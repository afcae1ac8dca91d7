"""Where a turn's milliseconds went, from the last spoken sample to the first RTP packet.

The stages are consecutive spans between facts of the log, so they add up to the whole. What was
done while the caller was still being waited for (a reply to a guess) cost no time: its span is 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from calls.turns import Turn

#: The spans, in order. `endpoint` holds the agent's configured end-of-turn silence.
STAGES = (
    "endpoint",  # last speech sample heard -> end of turn decided
    "asr",  # -> transcript final
    "llm_queue",  # -> a worker took the turn
    "llm_first_token",  # -> the responder's first token
    "llm_sentence",  # -> the first sentence complete
    "tts_queue",  # -> a worker took the sentence
    "tts_first_audio",  # -> its first audio on the bus
    "playout",  # -> its first frame left the ingress
)


def stages_ms(turn: Turn) -> dict[str, float]:
    """Split a turn's voice-to-voice time into `STAGES`, ms each.

    Returns:
        The stages known so far, in order: empty for a turn that nobody spoke (the greeting) or that
        has not ended, shorter while the reply is on its way.
    """
    if turn.ended is None:
        return {}
    facts: list[float | None] = [turn.ended.speech_ended_at, turn.ended.decided_at, turn.ended.at]
    if (reply := turn.reply) is not None:
        facts.append(reply.started_at)
        if (first := reply.sentences.get(0)) is not None:
            facts += [
                first.first_token_at,
                first.ready_at,
                first.taken_at,
                first.audio_at,
                first.played_at,
            ]
    spans: dict[str, float] = {}
    latest = turn.ended.speech_ended_at
    for stage, (begin, end) in zip(STAGES, pairwise(facts), strict=False):
        if begin is None or end is None:
            break
        latest = max(begin, latest)
        spans[stage] = round(max(0.0, end - latest), 1)
    return spans


def voice_to_voice_ms(turn: Turn) -> float | None:
    """From the caller's last spoken sample to the first packet of the answer, ms."""
    spans = stages_ms(turn)
    return round(sum(spans.values()), 1) if len(spans) == len(STAGES) else None


def hidden_ms(turn: Turn) -> float:
    """How much of the reply's making ran while the caller was still being waited for, ms.

    From the guess that was right to the reply's first audio, as far as it lay before the turn's end
    was decided: so much later the answer would have come without the guess. 0 when no guess was
    right, and until there is audio.
    """
    if (made := _preparation(turn)) is None:
        return 0.0
    return round(max(0.0, min(made.audio_at, made.decided_at) - made.guessed_at), 1)


def ready_early_ms(turn: Turn) -> float | None:
    """How long before the decision that the turn is over its reply's first audio was there, ms.

    Negative when it came after. None when no guess was right, and until there is audio.
    """
    made = _preparation(turn)
    return round(made.decided_at - made.audio_at, 1) if made else None


class _Preparation(NamedTuple):
    """How a reply that was spoken came to be, epoch ms."""

    guessed_at: float
    audio_at: float
    decided_at: float


def _preparation(turn: Turn) -> _Preparation | None:
    if turn.ended is None or turn.reply is None:
        return None
    guess = turn.guesses.get(turn.ended.revision)
    first = turn.reply.sentences.get(0)
    if guess is None or first is None or first.audio_at is None:
        return None
    return _Preparation(guess.at, first.audio_at, turn.ended.decided_at)
