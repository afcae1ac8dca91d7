"""Finding a call, wherever it is: kept in the history, or still alive on the bus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

from fastapi import Depends, HTTPException

from admin.live import LiveCalls, LiveCallsUnavailableError
from calls.conversation import Conversation
from calls.ids import CallId, parse_call_id
from storage.record import CallRecord, CallSummary
from storage.repository import CallHistory


def _call_id(call_id: str) -> CallId:
    try:
        return parse_call_id(call_id)
    except ValueError:
        raise HTTPException(404, "no such call") from None


#: A path's `{call_id}`; what could not be one is answered with 404.
CallIdPath = Annotated[CallId, Depends(_call_id)]


@dataclass(frozen=True, slots=True)
class LiveList:
    """Live calls, newest first, or why they cannot be told."""

    calls: tuple[CallSummary, ...] = ()
    trouble: str | None = None


async def live_list(live: LiveCalls) -> LiveList:
    """List live calls; a bus that is down is said, not raised."""
    try:
        conversations = await live.calls()
    except LiveCallsUnavailableError as error:
        return LiveList(trouble=str(error))
    records = [CallRecord.of(talk, (), None) for talk in conversations if talk.started]
    return LiveList(tuple(sorted(records, key=lambda call: call.started_at, reverse=True)))


class Found(NamedTuple):
    """A call with its events. One that is not kept yet may still change, also after its end."""

    call: CallRecord
    is_kept: bool


async def find_call(history: CallHistory, live: LiveCalls, call_id: CallId) -> Found:
    """Look for a call in the history, then among the live ones.

    Raises:
        HTTPException: 404, no such call.
        DatabaseUnavailableError: it is not live, and the history cannot be read.
    """
    if (kept := await history.get(call_id)) is not None:
        return Found(replace(kept, events=tuple(await history.events(call_id))), is_kept=True)
    try:
        events = await live.events(call_id)
    except LiveCallsUnavailableError as error:
        raise HTTPException(503, f"not in the history, and not to be seen live: {error}") from None
    talk = Conversation.of(events)
    if talk.started is None:
        raise HTTPException(404, "no such call")
    return Found(CallRecord.of(talk, events, None), is_kept=False)
