"""Each invitation says who sent it: the audit log may forget whom it was to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LAST = """
    UPDATE invitations SET invited_by = (
        SELECT user_id FROM audit_log
        WHERE audit_log.account_id = invitations.account_id AND action = 'user.invited'
          AND subject = substr(invitations.email, 1, 200)
        ORDER BY at DESC LIMIT 1
    )
"""


def upgrade() -> None:
    op.add_column("invitations", sa.Column("invited_by", sa.Uuid(), nullable=True))
    op.execute(_LAST)


def downgrade() -> None:
    op.drop_column("invitations", "invited_by")
