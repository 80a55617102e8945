"""Drop an index whose columns are those of the unique key; every letter's changes paid for it on PostgreSQL."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_deliveries_log", table_name="deliveries")


def downgrade() -> None:
    op.create_index("ix_deliveries_log", "deliveries", ["account_id", "id"], unique=False)
