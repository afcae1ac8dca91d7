"""What the agent says beside the answer, as a filler: at once where the cache of speech has it."""

from __future__ import annotations

from collections.abc import Callable

from bus.jobs import SpeakSentence
from bus.session import BusSession
from bus.speech_cache import speech_key
from calls.agent import Agent
from calls.ids import CallId, ReplyId


async def speak_aside(  # noqa: PLR0917  # whose, where, then what
    session: BusSession,
    call: CallId,
    agent: Agent,
    reply: ReplyId,
    text: str,
    now_ms: Callable[[], float],
) -> bool:
    """Have `text` spoken, as sentence 0 of the aside `reply`.

    From the cache its audio and the facts of it are on the bus when this returns, though every tts
    worker be dead; otherwise the tts pool is asked for it. Doing it again changes nothing.

    Args:
        text: The fixed phrase as the agent has it, whole: so it was kept.
        now_ms: The clock: Unix epoch, ms.

    Returns:
        Whether it came from the cache.

    Raises:
        BusError: the bus is away.
    """
    if agent.cache:
        speech = await session.cache.get(speech_key(agent, text))
        if speech is not None:
            await session.speech.sentence(call, reply, 0, now_ms).whole(speech)
            return True
    await session.topics.speak.publish(SpeakSentence(call=call, reply=reply, index=0, text=text))
    return False
