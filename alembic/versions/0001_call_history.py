"""Call history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("carrier_call", sa.Text(), nullable=False),
        sa.Column("agent_name", sa.Text(), nullable=False),
        sa.Column("agent", JSON, nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("called", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("remote", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("turn_count", sa.Integer(), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.Column("voice_to_voice_ms", sa.Double(), nullable=True),
        sa.Column("mos", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_calls"),
    )
    op.create_index("ix_calls_started_at_id", "calls", ["started_at", "id"])
    op.create_index("ix_calls_agent_name_started_at", "calls", ["agent_name", "started_at"])
    op.create_index("ix_calls_ending_started_at", "calls", ["ending", "started_at"])
    op.create_table(
        "turns",
        *_of_call("turns", sa.Column("number", sa.Integer(), autoincrement=False, nullable=False)),
        sa.Column("caller_text", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("agent_text", sa.Text(), nullable=False),
        sa.Column("heard_text", sa.Text(), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("speech_start", sa.BigInteger(), nullable=True),
        sa.Column("speech_end", sa.BigInteger(), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("voice_to_voice_ms", sa.Double(), nullable=True),
        sa.Column("stages_ms", JSON, nullable=False),
        sa.Column("replies", JSON, nullable=False),
    )
    op.create_table(
        "sentences",
        *_of_call(
            "sentences",
            sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        ),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("heard_text", sa.Text(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        sa.Column("heard_samples", sa.BigInteger(), nullable=False),
        sa.Column("runs", JSON, nullable=False),
    )
    op.create_table(
        "events",
        *_of_call("events", sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False)),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
    )
    op.create_table(
        "recordings",
        *_of_call("recordings"),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
    )
    op.create_table(
        "quality",
        *_of_call("quality"),
        sa.Column("packets", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.BigInteger(), nullable=False),
        sa.Column("concealed", sa.BigInteger(), nullable=False),
        sa.Column("jitter_ms", sa.Double(), nullable=False),
        sa.Column("round_trip_ms", sa.Double(), nullable=True),
        sa.Column("mos", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    for table in ("quality", "recordings", "events", "sentences", "turns", "calls"):
        op.drop_table(table)


def _of_call(table: str, *key: sa.Column) -> list[sa.schema.SchemaItem]:
    """A row that dies with its call, keyed by the call and `key`."""
    return [
        sa.Column("call_id", sa.Text(), nullable=False),
        *key,
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name=f"fk_{table}_call_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", *(column.name for column in key), name=f"pk_{table}"),
    ]
