"""What is said beside the answers: while one is late, and when the caller is silent.

A fold of the log and the clock decide, so whoever asks, and after whatever restart, decides alike.
"""

from __future__ import annotations

from typing import NamedTuple

from calls.agent import Agent
from calls.conversation import Conversation
from calls.events import AsideReason
from calls.ids import GREETING_TURN, ReplyId, aside_id
from calls.turns import Turn


class DueAside(NamedTuple):
    """Something to be said now."""

    reply: ReplyId
    why: AsideReason
    text: str


def aside_due(conversation: Conversation, now_ms: float, *, deaf: bool) -> DueAside | None:
    """Say what is to be said beside the answers at `now_ms` (epoch ms), if anything is.

    `deaf`: no worker is there that could hear the caller.
    """
    started = conversation.started
    if started is None or conversation.answered_at is None or conversation.ended is not None:
        return None
    if conversation.spoken is not None and conversation.spoken.playing is not None:
        return None
    turn = conversation.turns.get(conversation.current_turn) or Turn(conversation.current_turn)
    due = _due(conversation, started.agent, turn, now_ms, deaf=deaf)
    if due is None:
        return None
    why, text = due
    return DueAside(aside_id(turn.number, len(turn.asides)), why, text)


def _due(
    conversation: Conversation, agent: Agent, turn: Turn, now_ms: float, *, deaf: bool
) -> tuple[AsideReason, str] | None:
    said = [aside.due for aside in turn.asides.values() if aside.due is not None]
    reasons = [aside.why for aside in said]
    quiet_ms = now_ms - max(conversation.active_at, *(aside.at for aside in said), 0.0)
    waiting = agent.waiting
    if deaf and waiting.trouble_after_ms and (
        "trouble" not in reasons or quiet_ms >= waiting.trouble_after_ms
    ):  # fmt: skip
        return "trouble", waiting.trouble
    if conversation.speech is not None or "goodbye" in reasons:
        return None
    if conversation.transferring:
        return None  # they listen to somebody else's ringing tone, or to nobody
    if len(conversation.said_beside("transfer_failed")) < conversation.failed_transfers:
        return "transfer_failed", agent.transfer.failed
    if _unspeakable(turn) and "apology" not in reasons:
        return "apology", agent.apology
    if _answer_is_due(agent, turn):
        if _filler_is_due(agent, turn, now_ms) and not said:
            return "filler", waiting.fillers[turn.number % len(waiting.fillers)]
        if waiting.trouble_after_ms and quiet_ms >= waiting.trouble_after_ms:
            return "trouble", waiting.trouble
        return None
    if agent.silence.reprompt_after_ms and quiet_ms >= agent.silence.reprompt_after_ms:
        asked = reasons.count("reprompt")
        if asked < len(agent.silence.reprompts):
            return "reprompt", agent.silence.reprompts[asked]
        return "goodbye", agent.silence.goodbye
    return None


def _answer_is_due(agent: Agent, turn: Turn) -> bool:
    """Does the caller wait for the agent?"""
    if turn.ended is None and (turn.number != GREETING_TURN or not agent.greeting):
        return False
    return turn.reply is None or not turn.reply.played_out


def _filler_is_due(agent: Agent, turn: Turn, now_ms: float) -> bool:
    waiting = agent.waiting
    if turn.ended is None or not waiting.filler_after_ms or not waiting.fillers:
        return False
    sentences = turn.reply.ordered if turn.reply else []
    on_its_way = any(sentence.audio_at is not None for sentence in sentences)
    return not on_its_way and now_ms - turn.ended.at >= waiting.filler_after_ms


def _unspeakable(turn: Turn) -> bool:
    """Has the answer failed, with nothing of it that could be heard?"""
    reply = turn.reply
    if reply is None or reply.ended is None or reply.count is None:
        return False
    if reply.count == 0:
        return reply.ended == "failed"
    return all(
        index in reply.sentences
        and reply.sentences[index].synthesis == "failed"
        and reply.sentences[index].samples == 0
        for index in range(reply.count)
    )
