"""What the pools are asked to do. A job names its work; all else stands in the call's log."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from calls.ids import CallId, ReplyId, reply_id

_Call = Annotated[CallId, StringConstraints(min_length=8, max_length=64)]


class _Job(BaseModel):
    model_config = ConfigDict(frozen=True)

    call: _Call


class HearCall(_Job):
    """asr: listen to this call until it ends."""


class AnswerTurn(_Job):
    """llm: write the reply to this turn. Turn 0 is the greeting."""

    turn: int = Field(ge=0)
    revision: int = Field(default=0, ge=0)

    @property
    def reply(self) -> ReplyId:
        return reply_id(self.turn, self.revision)


class SpeakSentence(_Job):
    """tts: speak this sentence of a reply."""

    reply: ReplyId
    index: int = Field(ge=0, lt=2**16)
    text: str = Field(max_length=4000)


class RecordCall(_Job):
    """recorder: the call has ended; turn its log into rows and a recording."""


Job = HearCall | AnswerTurn | SpeakSentence | RecordCall
