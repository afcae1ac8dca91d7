"""Who called whom by which trunk, what agents had done, and how our audio arrived there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    # The defaults are the truth for older calls: they came in, by no trunk that had a name.
    op.add_column(
        "calls", sa.Column("direction", sa.Text(), server_default="inbound", nullable=False)
    )
    op.add_column("calls", sa.Column("trunk", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_index("ix_calls_direction_started_at", "calls", ["direction", "started_at"])
    op.add_column("quality", sa.Column("sent", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("quality", sa.Column("peer_lost", sa.BigInteger(), nullable=True))
    op.add_column("quality", sa.Column("peer_jitter_ms", sa.Double(), nullable=True))
    op.create_table(
        "actions",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("arguments", JSON, nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("steps", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name="fk_actions_call_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", "number", name="pk_actions"),
    )


def downgrade() -> None:
    op.drop_table("actions")
    for column in ("peer_jitter_ms", "peer_lost", "sent"):
        op.drop_column("quality", column)
    op.drop_index("ix_calls_direction_started_at", "calls")
    for column in ("trunk", "direction"):
        op.drop_column("calls", column)
