"""Who did what in words; accounts that are closed; values that are removed in time; the mark of the installation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_WHO_IT_WAS = """
UPDATE audit_log SET
    actor = coalesce((SELECT users.email FROM users WHERE users.id = audit_log.user_id), ''),
    actor_kind = CASE WHEN user_id IS NULL THEN 'program' ELSE 'user' END
"""


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("actor_kind", sa.String(10), nullable=False, server_default=""))
    op.add_column("audit_log", sa.Column("actor", sa.String(320), nullable=False, server_default=""))
    op.execute(_WHO_IT_WAS)
    op.add_column("accounts", sa.Column("deletion_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("keep_values_days", sa.Integer(), nullable=True))
    op.add_column("accounts", sa.Column("blanked_through", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("blanked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("bumped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_because", sa.String(20), nullable=True),
        sa.Column("stopped_through", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )


def downgrade() -> None:
    op.drop_table("installation")
    op.drop_column("deliveries", "blanked_at")
    op.drop_column("accounts", "blanked_through")
    op.drop_column("accounts", "keep_values_days")
    op.drop_column("accounts", "deletion_at")
    op.drop_column("audit_log", "actor")
    op.drop_column("audit_log", "actor_kind")
