"""Count what the platform's server sent within a day; what a server asked for, and what its owner was told of, apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SENT = "sent_at IS NOT NULL AND server_id IS NULL"


def upgrade() -> None:
    op.add_column("mail_servers", sa.Column("told_to_wait_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mail_servers", sa.Column("owner_told_reason", sa.String(40), nullable=True))
    op.create_index(
        "ix_deliveries_sent_by_platform",
        "deliveries",
        ["account_id", "sent_at"],
        sqlite_where=sa.text(_SENT),
        postgresql_where=sa.text(_SENT),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_sent_by_platform", table_name="deliveries")
    op.drop_column("mail_servers", "owner_told_reason")
    op.drop_column("mail_servers", "told_to_wait_until")
