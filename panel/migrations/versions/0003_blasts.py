"""Make room for blasts: one email to many participants of a campaign."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OF_BLAST = "blast_id IS NOT NULL"
_ONCE = "blast_id IS NOT NULL AND resend_of IS NULL"
_ONCE_OF_EVENT = "event_id IS NOT NULL AND resend_of IS NULL"
_OPEN = "state <> 'draft' AND finished_at IS NULL"


def upgrade() -> None:
    _let_versions_be_of_no_notification(nullable=True)
    op.create_table(
        "blasts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("audience", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recipients", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'scheduled', 'asking', 'sending', 'paused', 'canceled', 'done')",
            name=op.f("ck_blasts_state"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_blasts_account_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["account_id", "campaign_id"],
            ["campaigns.account_id", "campaigns.id"],
            name=op.f("fk_blasts_account_id_campaign_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "version_id"],
            ["notification_versions.account_id", "notification_versions.id"],
            name=op.f("fk_blasts_account_id_version_id"),
            ondelete="NO ACTION",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blasts")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_blasts_account_id_id")),
    )
    op.create_index("ix_blasts_list", "blasts", ["campaign_id", "made_at"])
    op.create_index(
        "ix_blasts_open",
        "blasts",
        ["state", "scheduled_at"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.add_column("deliveries", sa.Column("blast_id", sa.Uuid(), nullable=True))
    op.create_index(
        "uq_deliveries_blast_participant",
        "deliveries",
        ["blast_id", "participant_id"],
        unique=True,
        sqlite_where=sa.text(_ONCE),
        postgresql_where=sa.text(_ONCE),
    )
    op.create_index(
        "ix_deliveries_blast_state",
        "deliveries",
        ["blast_id", "state", "account_id"],
        sqlite_where=sa.text(_OF_BLAST),
        postgresql_where=sa.text(_OF_BLAST),
    )

    # Rows of no event need no place in the index that keeps events apart; a blast adds many of them.
    _keep_events_apart(_ONCE_OF_EVENT)


def downgrade() -> None:
    _keep_events_apart("resend_of IS NULL")
    op.drop_index("ix_deliveries_blast_state", table_name="deliveries")
    op.drop_index("uq_deliveries_blast_participant", table_name="deliveries")
    op.drop_column("deliveries", "blast_id")
    op.drop_table("blasts")
    op.execute(
        "DELETE FROM deliveries WHERE notification_version_id IN"
        " (SELECT id FROM notification_versions WHERE notification_id IS NULL)"
    )
    op.execute("DELETE FROM notification_versions WHERE notification_id IS NULL")
    _let_versions_be_of_no_notification(nullable=False)


def _keep_events_apart(where: str) -> None:
    op.drop_index("uq_deliveries_event_notification_recipient", table_name="deliveries")
    op.create_index(
        "uq_deliveries_event_notification_recipient",
        "deliveries",
        ["event_id", "notification_id", "to_address"],
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def _let_versions_be_of_no_notification(*, nullable: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("notification_versions", "notification_id", nullable=nullable)
        return
    # SQLite cannot change a column, so the table is made anew under its own name: what points at it goes on doing so.
    # Until the commit nobody minds that it is away.
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TABLE old_versions AS SELECT * FROM notification_versions")
    op.drop_table("notification_versions")
    op.create_table(
        "notification_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notification_id", sa.Uuid(), nullable=nullable),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("preheader", sa.Text(), nullable=False),
        sa.Column("html_source", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_is_own", sa.Boolean(), nullable=False),
        sa.Column("tags_used", sa.JSON(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "notification_id"],
            ["notifications.account_id", "notifications.id"],
            name=op.f("fk_notification_versions_account_id_notification_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_notification_versions_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_versions")),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_notification_versions_account_id_id")),
        sa.UniqueConstraint("notification_id", "number", name=op.f("uq_notification_versions_notification_id_number")),
    )
    op.execute("INSERT INTO notification_versions SELECT * FROM old_versions")
    op.drop_table("old_versions")
