"""What waits and is of no use after a while is found by an index: the ticker read every letter that waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_EXPIRES = "expires_at IS NOT NULL AND state IN ('queued', 'deferred', 'held')"


def upgrade() -> None:
    where = sa.text(_EXPIRES)
    op.create_index("ix_deliveries_expires", "deliveries", ["expires_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_deliveries_expires", "deliveries")
