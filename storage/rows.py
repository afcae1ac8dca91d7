"""Records to rows and back. Columns and fields share their names, so most of it is mechanical."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from calls.turns import Run
from storage.actions import ActionRecord, Step
from storage.models import (
    ActionRow,
    AsideRow,
    Base,
    CallRow,
    EventRow,
    QualityRow,
    RecordingRow,
    SentenceRow,
    TurnRow,
)
from storage.record import (
    CallRecord,
    CallSummary,
    EventRecord,
    QualityRecord,
    RecordingRecord,
)
from storage.turns import AsideRecord, SentenceRecord, TurnRecord

Row = dict[str, Any]
R = TypeVar("R", CallSummary, EventRecord, RecordingRecord, QualityRecord)
P = TypeVar("P", SentenceRecord, AsideRecord)

_NESTED = frozenset({"turns", "actions", "events", "recording", "quality"})


def call_row(record: CallRecord) -> Row:
    """Give the row of `calls` for a record."""
    row = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in _NESTED}
    return {name: _clean(value) for name, value in row.items()}


def rows_of_call(record: CallRecord) -> dict[type[Base], list[Row]]:
    """Give the rows of every table below `calls`, by table."""
    rows: dict[type[Base], list[Row]] = {
        TurnRow: [],
        SentenceRow: [],
        AsideRow: [],
        ActionRow: [asdict(action) for action in record.actions],
        EventRow: [asdict(event) for event in record.events],
        RecordingRow: [asdict(record.recording)] if record.recording else [],
        QualityRow: [asdict(record.quality)] if record.quality else [],
    }
    for turn in record.turns:
        row = asdict(turn)
        for table, parts in ((SentenceRow, "sentences"), (AsideRow, "asides")):
            rows[table] += [{"turn": turn.number, **part} for part in row.pop(parts)]
        rows[TurnRow].append(row)
    return {
        table: [_clean({"call_id": record.id, **row}) for row in of_table]
        for table, of_table in rows.items()
    }


def record_of(kind: type[R], row: Base) -> R:
    """Read a record whose fields are all columns of one table."""
    return kind(**_columns(kind, row))


def call_record(row: CallRow) -> CallRecord:
    """Read a whole call but for its events, from a row whose relations are loaded."""
    sentences = _by_turn(SentenceRecord, row.sentences)
    asides = _by_turn(AsideRecord, row.asides)
    turns = []
    for turn in row.turns:
        columns = _columns(TurnRecord, turn, leave_out=frozenset({"sentences", "asides"}))
        columns["replies"] = tuple(turn.replies)
        columns["sentences"] = tuple(sentences.get(turn.number, ()))
        columns["asides"] = tuple(asides.get(turn.number, ()))
        turns.append(TurnRecord(**columns))
    actions = []
    for action in row.actions:
        columns = _columns(ActionRecord, action)
        columns["steps"] = tuple(Step(*step) for step in action.steps)
        actions.append(ActionRecord(**columns))
    return CallRecord(
        **_columns(CallRecord, row, leave_out=_NESTED),
        turns=tuple(turns),
        actions=tuple(actions),
        events=(),
        recording=record_of(RecordingRecord, row.recording) if row.recording else None,
        quality=record_of(QualityRecord, row.quality) if row.quality else None,
    )


def _by_turn(kind: type[P], rows: Iterable[SentenceRow | AsideRow]) -> dict[int, list[P]]:
    """Read what was spoken, turn by turn."""
    spoken: dict[int, list[P]] = {}
    for row in rows:
        columns = _columns(kind, row)
        columns["runs"] = tuple(Run(*run) for run in row.runs)
        spoken.setdefault(row.turn, []).append(kind(**columns))
    return spoken


def _columns(kind: type[Any], row: Base, leave_out: frozenset[str] = frozenset()) -> Row:
    return {f.name: getattr(row, f.name) for f in fields(kind) if f.name not in leave_out}


def _clean(value: Any) -> Any:
    """Make text storable: Postgres refuses U+0000, and UTF-8 has no lone surrogates.

    Both can come from a careless provider or peer, and a call that cannot be written would be
    retried for ever.
    """
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_clean(key): _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return value
