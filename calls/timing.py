"""Where a turn's milliseconds went, from the last spoken sample to the first RTP packet.

The stages are consecutive spans between facts of the log, so they add up to the whole.
"""

from __future__ import annotations

from itertools import pairwise

from calls.conversation import Turn

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
    for stage, (begin, end) in zip(STAGES, pairwise(facts), strict=False):
        if begin is None or end is None:
            break
        spans[stage] = round(end - begin, 1)
    return spans


def voice_to_voice_ms(turn: Turn) -> float | None:
    """From the caller's last spoken sample to the first packet of the answer, ms."""
    spans = stages_ms(turn)
    return round(sum(spans.values()), 1) if len(spans) == len(STAGES) else None
