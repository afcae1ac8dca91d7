"""`trunkline calls`: live calls from the bus and past ones from the database, as one list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import TypeAdapter

from bus.events import WireError
from calls.conversation import Conversation
from calls.ids import CallId, parse_call_id
from storage.errors import DatabaseUnavailableError, DatabaseUrlError
from storage.record import CallRecord, CallSummary, EventRecord
from storage.repository import CallHistory
from storage.session import Database
from trunkline.buses import open_bus
from trunkline.errors import UserError
from trunkline.settings import Settings

_CALL: TypeAdapter[CallRecord] = TypeAdapter(CallRecord)
_SUMMARY: TypeAdapter[CallSummary] = TypeAdapter(CallSummary)
_EVENTS: TypeAdapter[tuple[EventRecord, ...]] = TypeAdapter(tuple[EventRecord, ...])

Json = dict[str, Any]


async def list_calls(settings: Settings, limit: int) -> list[Json]:
    """Newest first: each a `CallSummary` as JSON, with `live`.

    Raises:
        UserError: the database is not to be had.
    """
    live = [_SUMMARY.dump_python(record, mode="json") for record in await _live(settings)]
    async with _history(settings) as history:
        past = [
            _SUMMARY.dump_python(one, mode="json") for one in await history.list_calls(limit=limit)
        ]
    known = {call["id"] for call in past}
    rows = [_shown(call, live=True) for call in live if call["id"] not in known]
    rows += [_shown(call, live=False) for call in past]
    return sorted(rows, key=lambda call: str(call["id"]), reverse=True)[:limit]


async def show(settings: Settings, call: str) -> Json:
    """One call: a `CallRecord` as JSON without its events, with `live` and `recording_file`.

    Raises:
        UserError: there is no such call, or the database is not to be had.
    """
    call_id = _call_id(call)
    async with _history(settings) as history:
        record = await history.get(call_id)
    live = record is None
    if record is None:
        record = next((one for one in await _live(settings) if one.id == call_id), None)
    if record is None:
        raise UserError(f"no call {call}: `trunkline calls list` shows those there are")
    shown = _shown(_CALL.dump_python(record, mode="json"), live=live)
    shown.pop("events")
    shown["recording_file"] = (
        str(settings.recordings_dir / record.recording.path) if record.recording else None
    )
    return shown


async def events(settings: Settings, call: str) -> list[Json]:
    """A call's log, in order: {seq, at, kind, payload}.

    Raises:
        UserError: there is no such call, or the database is not to be had.
    """
    call_id = _call_id(call)
    async with _history(settings) as history:
        kept = tuple(await history.events(call_id))
    if not kept:
        live = next((one for one in await _live(settings) if one.id == call_id), None)
        kept = live.events if live else ()
    if not kept:
        raise UserError(f"no call {call}: `trunkline calls list` shows those there are")
    found: list[Json] = _EVENTS.dump_python(kept, mode="json")
    return found


async def delete(settings: Settings, call: str) -> Json:
    """Forget a call that is over: its rows and its recording.

    Raises:
        UserError: there is no such call, it is not over, or something cannot be removed.
    """
    call_id = _call_id(call)
    async with _history(settings) as history:
        if await history.get(call_id) is None:
            raise UserError(f"no call {call} in the history; a live call is kept until it ends")
        recording = await history.delete(call_id)
    if recording is not None:
        file = settings.recordings_dir / recording
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}; remove it by hand") from error
    return {"deleted": call, "recording": recording}


@asynccontextmanager
async def _history(settings: Settings) -> AsyncIterator[CallHistory]:
    try:
        database = Database(settings.database_url)
    except DatabaseUrlError as error:
        raise UserError(f"TRUNKLINE_DATABASE_URL: {error}") from error
    try:
        yield CallHistory(database)
    except DatabaseUnavailableError as error:
        raise UserError(str(error)) from error
    finally:
        await database.close()


async def _live(settings: Settings) -> list[CallRecord]:
    """Calls that are on the bus and not recorded yet; none where there is no bus to ask."""
    records = []
    try:
        async with open_bus(settings) as bus:
            for call in await bus.presence.live_calls():
                try:
                    log = await bus.log.read(call)
                    records.append(CallRecord.of(Conversation.of(log), log, None))
                except (WireError, ValueError):
                    continue  # of another version, or recorded while we looked
    except UserError:
        return []
    return records


def _call_id(text: str) -> CallId:
    try:
        return parse_call_id(text)
    except ValueError as error:
        raise UserError(f"{error}; `trunkline calls list` shows them") from None


def _shown(call: Json, *, live: bool) -> Json:
    return {"live": live, **call}


def list_as_text(calls: list[Json]) -> str:
    """The list for people."""
    if not calls:
        return "no calls yet"
    lines = [f"{'CALL':<28}{'FROM':<16}{'TO':<16}{'TURNS':>6}{'SECONDS':>9}  ENDING"]
    for call in calls:
        seconds = "" if call["duration_ms"] is None else f"{call['duration_ms'] / 1000:.1f}"
        ending = "live" if call["live"] else call["ending"]
        lines.append(
            f"{call['id']:<28}{call['caller'][:15]:<16}{call['called'][:15]:<16}"
            f"{call['turn_count']:>6}{seconds:>9}  {ending}"
        )
    return "\n".join(lines)


def call_as_text(call: Json) -> str:
    """A call for people: who, the transcript with each turn's milliseconds, the recording."""
    ending = "live" if call["live"] else call["ending"]
    lines = [
        f"{call['id']}  {call['direction']}  {call['caller']} -> {call['called']}, "
        f"agent {call['agent_name']}, {call['codec']}, {ending}",
    ]
    for turn in call["turns"]:
        if turn["caller_text"]:
            lines.append(f"  caller  {turn['caller_text']}")
        if turn["agent_text"]:
            cut = " [interrupted]" if turn["interrupted"] else ""
            lines.append(f"  agent   {turn['heard_text'] or turn['agent_text']}{cut}")
        if turn["voice_to_voice_ms"] is not None:
            stages = ", ".join(f"{name} {ms:.0f}" for name, ms in turn["stages_ms"].items())
            lines.append(f"          {turn['voice_to_voice_ms']:.0f} ms ({stages})")
        lines += [_action(each) for each in call["actions"] if each["turn"] == turn["number"]]
    if call["recording_file"]:
        lines.append(f"  recording {call['recording_file']}")
    return "\n".join(lines)


def _action(done: Json) -> str:
    given = " ".join(done["arguments"].values())
    outcome = " ".join(filter(None, (done["outcome"] or "not done", done["detail"])))
    return f"  {done['action']:<7} {given}".rstrip() + f" [{outcome}]"
