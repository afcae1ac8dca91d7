"""What travels by FastStream: jobs for the pools, and what everybody may know of a call.

A job names its work; all else stands in the call's log.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from calls.events import CallEnded, CallRecorded, CallStarted
from calls.ids import CALL_ID_PATTERN, REPLY_ID_PATTERN, CallId, ReplyId, reply_id

_CallId = Annotated[CallId, StringConstraints(pattern=f"^{CALL_ID_PATTERN}$")]
_ReplyId = Annotated[ReplyId, StringConstraints(pattern=f"^{REPLY_ID_PATTERN}$")]


class Job(BaseModel):
    """What all jobs share."""

    model_config = ConfigDict(frozen=True)

    call: _CallId


class HearCall(Job):
    """asr: listen to this call until it ends."""


class AnswerTurn(Job):
    """llm: write the reply to this turn. Turn 0 is the greeting."""

    turn: int = Field(ge=0)
    revision: int = Field(default=0, ge=0)

    @property
    def reply(self) -> ReplyId:
        return reply_id(self.turn, self.revision)


class SpeakSentence(Job):
    """tts: speak this sentence of a reply."""

    reply: _ReplyId
    index: int = Field(ge=0, lt=2**16)
    text: str = Field(max_length=4000)


class CallChanged(Job):
    """calls: a call began, ended, or was recorded."""

    event: Annotated[CallStarted | CallEnded | CallRecorded, Field(discriminator="kind")]


class RecordCall(Job):
    """recorder: the call has ended; turn its log into rows and a recording."""
