"""What travels by FastStream: jobs for the pools, and what everybody may know of a call.

A job names its work; all else stands in the call's log.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from calls.events import CallEnded, CallRecorded, CallStarted
from calls.ids import CALL_ID_PATTERN, REPLY_ID_PATTERN, CallId, ReplyId, reply_id
from calls.transfer import Name, Target

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


class PlaceCall(Job):
    """dial: place this call. Its asker names it (calls.ids.new_call_id)."""

    #: Whom to call: a number, or a sip: or tel: URI, as transfers have them.
    number: Target
    #: Who speaks: an agent's name, as the ingress's file has it.
    agent: Name
    #: Who carries it: an ingress by its trunks, or Twilio for one by its REST API.
    carrier: Literal["sip", "twilio"] = "sip"
    #: What the other side is shown; empty: the trunk's own.
    caller_id: str = Field(default="", max_length=128, pattern=r"^[^\x00-\x1f\x7f<>\"]*$")
    #: The trunk's name; empty: the first that takes the number.
    trunk: str = Field(default="", max_length=63)
    #: How long it may ring, s.
    timeout_s: float = Field(default=60, ge=1, le=600)
    #: What is known of the call, by name: the agent is told, and its greeting has it in `{places}`.
    variables: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")],
        Annotated[str, StringConstraints(max_length=500)],
    ] = Field(default_factory=dict, max_length=32)
    #: When it was asked for, by the bus's clock (Unix epoch, ms), and how long it may wait for an
    #: ingress, s: nobody's phone shall ring for what was wanted an hour ago.
    asked_at: float = 0
    take_within_s: float = Field(default=30, ge=1, le=3600)


class CancelCall(Job):
    """dial:cancel: hang this call up, before or after its answer."""


class CallChanged(Job):
    """calls: a call began, ended, or was recorded."""

    event: Annotated[CallStarted | CallEnded | CallRecorded, Field(discriminator="kind")]


class RecordCall(Job):
    """recorder: the call has ended; turn its log into rows and a recording."""
