"""A mail server may have a CA certificate of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("mail_servers", sa.Column("ca_certificate", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("mail_servers", "ca_certificate")
