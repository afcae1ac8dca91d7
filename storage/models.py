"""The tables. A column is named as the field of the record that it keeps (record.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    Text,
    false,
    text,
)
from sqlalchemy import DateTime as SqlDateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, timezone-aware UTC on the way in and out.

    Postgres keeps `timestamptz`. SQLite has no such type and keeps the UTC fields, so that the
    stored text sorts as time.
    """

    impl = SqlDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody could say which moment it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a timezone: {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: What rows from before the column was there hold: then there was none of it.
_NONE = "0"
#: ... and then nobody was called.
_INBOUND = "inbound"
_NO_TEXT = text("''")
#: JSON as Postgres can index it, and as SQLite can hold it.
Json = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """All tables; constraints have names, so that a migration can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: Json,
        list[Any]: Json,
        str: Text,
    }


def _of_call() -> Mapped[str]:
    """The call that a row belongs to and dies with; first part of the row's key."""
    return mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)


class CallRow(Base):
    """One call."""

    __tablename__ = "calls"

    id: Mapped[str] = mapped_column(primary_key=True)
    carrier: Mapped[str]
    carrier_call: Mapped[str]
    agent_name: Mapped[str]
    agent: Mapped[dict[str, Any]]
    caller: Mapped[str]
    called: Mapped[str]
    codec: Mapped[str]
    remote: Mapped[str]
    direction: Mapped[str] = mapped_column(server_default=_INBOUND)
    trunk: Mapped[str] = mapped_column(server_default=_NO_TEXT)
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ending: Mapped[str | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    turn_count: Mapped[int]
    failure_count: Mapped[int]
    voice_to_voice_ms: Mapped[float | None]
    mos: Mapped[float | None]

    turns: Mapped[list[TurnRow]] = relationship(order_by="TurnRow.number")
    sentences: Mapped[list[SentenceRow]] = relationship(
        order_by="SentenceRow.turn, SentenceRow.number"
    )
    asides: Mapped[list[AsideRow]] = relationship(order_by="AsideRow.turn, AsideRow.number")
    actions: Mapped[list[ActionRow]] = relationship(order_by="ActionRow.number")
    recording: Mapped[RecordingRow | None] = relationship()
    quality: Mapped[QualityRow | None] = relationship()

    # The list page: newest first, alone or for one agent, ending or direction. A b-tree is read
    # backwards as fast as forwards, so the indexes need no DESC.
    __table_args__ = (
        Index(None, "started_at", "id"),
        Index(None, "agent_name", "started_at"),
        Index(None, "ending", "started_at"),
        Index(None, "direction", "started_at"),
    )


class TurnRow(Base):
    """What the caller said, what was answered, and where the milliseconds went."""

    __tablename__ = "turns"

    call_id: Mapped[str] = _of_call()
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    caller_text: Mapped[str]
    confidence: Mapped[float | None]
    rule: Mapped[str | None]
    guesses: Mapped[int] = mapped_column(server_default=_NONE)
    guesses_withdrawn: Mapped[int] = mapped_column(server_default=_NONE)
    hidden_ms: Mapped[float] = mapped_column(server_default=_NONE)
    ready_early_ms: Mapped[float | None]
    agent_text: Mapped[str]
    heard_text: Mapped[str]
    interrupted: Mapped[bool]
    speech_start: Mapped[int | None] = mapped_column(BigInteger)
    speech_end: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    voice_to_voice_ms: Mapped[float | None]
    stages_ms: Mapped[dict[str, Any]]
    replies: Mapped[list[Any]]


class SentenceRow(Base):
    """One sentence of the reply that counted, and which of its audio was played where."""

    __tablename__ = "sentences"

    call_id: Mapped[str] = _of_call()
    turn: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str]
    heard_text: Mapped[str]
    samples: Mapped[int | None] = mapped_column(BigInteger)
    heard_samples: Mapped[int] = mapped_column(BigInteger)
    protected: Mapped[bool] = mapped_column(server_default=false())
    cached: Mapped[bool] = mapped_column(server_default=false())
    runs: Mapped[list[Any]]


class AsideRow(Base):
    """Something said beside the answer to a turn."""

    __tablename__ = "asides"

    call_id: Mapped[str] = _of_call()
    turn: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    why: Mapped[str]
    due_at: Mapped[datetime]
    text: Mapped[str]
    heard_text: Mapped[str]
    samples: Mapped[int | None] = mapped_column(BigInteger)
    heard_samples: Mapped[int] = mapped_column(BigInteger)
    cached: Mapped[bool]
    runs: Mapped[list[Any]]


class ActionRow(Base):
    """Something the agent wanted done, and what came of it."""

    __tablename__ = "actions"

    call_id: Mapped[str] = _of_call()
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    turn: Mapped[int]
    action: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    detail: Mapped[str]
    status: Mapped[int | None]
    steps: Mapped[list[Any]]


class EventRow(Base):
    """One entry of the call's log."""

    __tablename__ = "events"

    call_id: Mapped[str] = _of_call()
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]


class RecordingRow(Base):
    """The stereo WAV of a call."""

    __tablename__ = "recordings"

    call_id: Mapped[str] = _of_call()
    path: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    duration_ms: Mapped[int] = mapped_column(BigInteger)
    channels: Mapped[int]
    sha256: Mapped[str]


class QualityRow(Base):
    """How the caller's audio arrived, and ours there."""

    __tablename__ = "quality"

    call_id: Mapped[str] = _of_call()
    packets: Mapped[int] = mapped_column(BigInteger)
    lost: Mapped[int] = mapped_column(BigInteger)
    late: Mapped[int] = mapped_column(BigInteger)
    concealed: Mapped[int] = mapped_column(BigInteger)
    jitter_ms: Mapped[float]
    round_trip_ms: Mapped[float | None]
    mos: Mapped[float]
    sent: Mapped[int] = mapped_column(BigInteger, server_default=_NONE)
    peer_lost: Mapped[int | None] = mapped_column(BigInteger)
    peer_jitter_ms: Mapped[float | None]
