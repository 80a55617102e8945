"""Make room for what a person does to many deliveries at once, and find what was sent again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPEN = "ended_at IS NULL"
_AGAIN = "resend_of IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "bulk_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("reached", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_bulk_actions_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_actions")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_bulk_actions_account_id_id")),
    )
    op.create_index(
        "ix_bulk_actions_open",
        "bulk_actions",
        ["touched_at"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.create_index(
        "ix_deliveries_resend_of",
        "deliveries",
        ["account_id", "resend_of"],
        sqlite_where=sa.text(_AGAIN),
        postgresql_where=sa.text(_AGAIN),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_resend_of", table_name="deliveries")
    op.drop_index("ix_bulk_actions_open", table_name="bulk_actions")
    op.drop_table("bulk_actions")
