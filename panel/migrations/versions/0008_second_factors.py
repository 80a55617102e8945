"""Keep what people sign in with besides the password, and where they are signed in."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _of_a_user(table: str, key: sa.Column[Any] | None = None) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False) if key is None else key,
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f(f"fk_{table}_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "user_id"],
            ["users.account_id", "users.id"],
            name=op.f(f"fk_{table}_account_id_user_id"),
            ondelete="CASCADE",
        ),
    ]


def upgrade() -> None:
    # What a key that holds the account points at.
    op.create_index("ix_users_account_id_id", "users", ["account_id", "id"], unique=True)
    op.create_table(
        "totp_keys",
        *_of_a_user("totp_keys"),
        sa.Column("secret_sealed", sa.String(400), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_counter", sa.BigInteger(), nullable=True),
        sa.UniqueConstraint("user_id", name=op.f("uq_totp_keys_user_id")),
    )
    op.create_table(
        "passkeys",
        *_of_a_user("passkeys"),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkeys_credential_id")),
    )
    op.create_index("ix_passkeys_user", "passkeys", ["account_id", "user_id"])
    op.create_table(
        "recovery_codes",
        *_of_a_user("recovery_codes"),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("ix_recovery_codes_user", "recovery_codes", ["account_id", "user_id"])
    op.create_table(
        "sign_ins",
        *_of_a_user("sign_ins", sa.Column("id", sa.String(32), nullable=False)),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ip", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(60), nullable=False),
    )
    op.create_index("ix_sign_ins_user", "sign_ins", ["account_id", "user_id"])
    op.create_index("ix_sign_ins_until", "sign_ins", ["until"])


def downgrade() -> None:
    op.drop_table("sign_ins")
    op.drop_table("recovery_codes")
    op.drop_table("passkeys")
    op.drop_table("totp_keys")
    op.drop_index("ix_users_account_id_id", table_name="users")
