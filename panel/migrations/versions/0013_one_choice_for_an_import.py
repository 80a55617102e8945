"""An import keeps the choice with which it was begun. Files that wait are in a form that is read no more: they go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("DELETE FROM participant_imports"))
    op.add_column("participant_imports", sa.Column("overwrite", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("participant_imports", "overwrite")
