"""Make room for the record of holds, sign-ins and pace, and find what is due without reading all of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_DUE = "state IN ('queued', 'deferred')"
_HELD = "state = 'held'"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("held_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("deliveries", sa.Column("trying_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("bytes_sent", sa.Integer(), nullable=True))
    op.add_column("mail_servers", sa.Column("rests_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mail_servers", sa.Column("auth_tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("mail_servers", sa.Column("auth_tried_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mail_servers", sa.Column("proven_version", sa.Integer(), nullable=True))
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        [sa.text("coalesce(address_id, account_id)"), "priority", "next_attempt_at", "id"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    op.create_index(
        "ix_deliveries_held",
        "deliveries",
        ["account_id", "held_at"],
        sqlite_where=sa.text(_HELD),
        postgresql_where=sa.text(_HELD),
    )
    # Since when the letters that are held now have been so, nobody noted.
    op.execute("UPDATE deliveries SET held_at = made_at WHERE state = 'held'")


def downgrade() -> None:
    op.drop_index("ix_deliveries_held", table_name="deliveries")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["account_id", "address_id", "priority", "next_attempt_at"],
        sqlite_where=sa.text(_DUE),
        postgresql_where=sa.text(_DUE),
    )
    for table, column in (
        ("mail_servers", "proven_version"),
        ("mail_servers", "auth_tried_at"),
        ("mail_servers", "auth_tries"),
        ("mail_servers", "rests_until"),
        ("attempts", "bytes_sent"),
        ("deliveries", "trying_since"),
        ("deliveries", "held_at"),
    ):
        op.drop_column(table, column)
