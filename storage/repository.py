"""Call history: written by the recorder, read by the dashboard and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Self

from sqlalchemy import and_, delete, exists, insert, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import raiseload, selectinload

from calls.ids import CallId, parse_call_id
from storage.models import AsideRow, CallRow, EventRow, RecordingRow, TurnRow
from storage.record import CallRecord, CallSummary, EventRecord, RecordingRecord
from storage.rows import Row, call_record, call_row, record_of, rows_of_call
from storage.session import Database


class Cursor(NamedTuple):
    """A place in the list of calls, newest first: after this call."""

    started_at: datetime
    id: CallId

    def __str__(self) -> str:
        return f"{self.started_at.isoformat()}~{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ValueError: it did not.
        """
        moment, _, call = text.partition("~")
        started_at = datetime.fromisoformat(moment)
        if started_at.tzinfo is None:
            raise ValueError("a cursor's time has a timezone")
        return cls(started_at, parse_call_id(call))


class CallHistory:
    """All calls that are over, as rows.

    Every method raises `DatabaseUnavailableError` when the database is not to be had.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, call: CallRecord) -> None:
        """Write a call, whole, in one transaction; in place of what was written of it before.

        Running it twice, or in two processes at once, leaves the same rows as running it once.
        """
        async with self._database.writing() as session:
            # This row's lock puts two recorders of one call in line.
            await self._upsert(session, call_row(call))
            for table, rows in rows_of_call(call).items():
                await session.execute(delete(table).where(table.__table__.c.call_id == call.id))
                if rows:
                    await session.execute(insert(table), rows)

    async def list_calls(
        self,
        *,
        limit: int = 50,
        before: Cursor | None = None,
        agent: str | None = None,
        ending: str | None = None,
        direction: str | None = None,
        text: str | None = None,
    ) -> list[CallSummary]:
        """List calls, newest first.

        Args:
            limit: how many at most.
            before: go on after this place; `Cursor(last.started_at, last.id)` of the page before.
            agent: only this agent's calls.
            ending: only calls that ended so.
            direction: only "inbound" or "outbound" calls.
            text: only calls where it was said by either side, or that hold it in their numbers or
                id. Case is ignored (on SQLite for ASCII letters only).
        """
        query = select(CallRow).options(raiseload("*"))
        query = query.order_by(CallRow.started_at.desc(), CallRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(
                or_(
                    CallRow.started_at < before.started_at,
                    and_(CallRow.started_at == before.started_at, CallRow.id < before.id),
                )
            )
        if agent is not None:
            query = query.where(CallRow.agent_name == agent)
        if ending is not None:
            query = query.where(CallRow.ending == ending)
        if direction is not None:
            query = query.where(CallRow.direction == direction)
        if text:
            said = (TurnRow.caller_text, TurnRow.agent_text)
            named = (CallRow.caller, CallRow.called, CallRow.id)
            in_turns = exists().where(
                TurnRow.call_id == CallRow.id,
                or_(*(column.icontains(text, autoescape=True) for column in said)),
            )
            in_asides = exists().where(
                AsideRow.call_id == CallRow.id, AsideRow.text.icontains(text, autoescape=True)
            )
            query = query.where(
                or_(
                    in_turns,
                    in_asides,
                    *(column.icontains(text, autoescape=True) for column in named),
                )
            )
        async with self._database.reading() as session:
            return [record_of(CallSummary, row) for row in await session.scalars(query)]

    async def agents(self) -> list[str]:
        """Name the agents that have taken calls, in order."""
        query = select(CallRow.agent_name).distinct().order_by(CallRow.agent_name)
        async with self._database.reading() as session:
            return list(await session.scalars(query))

    async def get(self, call_id: CallId) -> CallRecord | None:
        """Read a call with its turns, actions, quality and recording, but without its events."""
        query = select(CallRow).where(CallRow.id == call_id).options(selectinload("*"))
        async with self._database.reading() as session:
            row = await session.scalar(query)
            return call_record(row) if row is not None else None

    async def events(self, call_id: CallId) -> list[EventRecord]:
        """Read a call's log, in order; empty for an unknown call."""
        query = select(EventRow).where(EventRow.call_id == call_id).order_by(EventRow.seq)
        async with self._database.reading() as session:
            return [record_of(EventRecord, row) for row in await session.scalars(query)]

    async def recording(self, call_id: CallId) -> RecordingRecord | None:
        """Say where a call's audio lies, if it was kept."""
        async with self._database.reading() as session:
            row = await session.get(RecordingRow, call_id)
            return record_of(RecordingRecord, row) if row is not None else None

    async def delete(self, call_id: CallId) -> str | None:
        """Forget a call.

        Returns:
            The recording's path (relative to the recordings directory) for the caller to unlink;
            None if there was none, or no such call.
        """
        async with self._database.writing() as session:
            recording = await session.get(RecordingRow, call_id)
            await session.execute(delete(CallRow).where(CallRow.id == call_id))
            return recording.path if recording is not None else None

    async def _upsert(self, session: AsyncSession, row: Row) -> None:
        build: Any = postgresql.insert if self._database.kind == "postgresql" else sqlite.insert
        changed = {name: value for name, value in row.items() if name != "id"}
        statement = build(CallRow.__table__).values(row)
        await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))
