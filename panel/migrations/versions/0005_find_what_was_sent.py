"""Find what a mail server took lately without reading all that it ever took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SENT = "sent_at IS NOT NULL AND server_id IS NOT NULL"


def upgrade() -> None:
    op.create_index(
        "ix_deliveries_sent",
        "deliveries",
        ["server_id", "sent_at"],
        sqlite_where=sa.text(_SENT),
        postgresql_where=sa.text(_SENT),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_sent", table_name="deliveries")
