"""How turns end: what ended each, what was guessed of it, and what was said beside the answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    # The defaults are the truth for older calls: they knew no guesses, no cache and no protection.
    op.add_column("turns", sa.Column("rule", sa.Text(), nullable=True))
    for column in ("guesses", "guesses_withdrawn"):
        op.add_column("turns", sa.Column(column, sa.Integer(), server_default="0", nullable=False))
    op.add_column("turns", sa.Column("hidden_ms", sa.Double(), server_default="0", nullable=False))
    op.add_column("turns", sa.Column("ready_early_ms", sa.Double(), nullable=True))
    for column in ("protected", "cached"):
        op.add_column(
            "sentences",
            sa.Column(column, sa.Boolean(), server_default=sa.false(), nullable=False),
        )
    op.create_table(
        "asides",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("heard_text", sa.Text(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=True),
        sa.Column("heard_samples", sa.BigInteger(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("runs", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"], ["calls.id"], name="fk_asides_call_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", "turn", "number", name="pk_asides"),
    )


def downgrade() -> None:
    op.drop_table("asides")
    for column in ("cached", "protected"):
        op.drop_column("sentences", column)
    for column in ("ready_early_ms", "hidden_ms", "guesses_withdrawn", "guesses", "rule"):
        op.drop_column("turns", column)
