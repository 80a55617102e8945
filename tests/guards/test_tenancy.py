"""Tenancy cannot be forgotten: no way around the account scope, and no row that points into another account."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

import pytest
from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, MetaData, Table, Uuid

from panel import models
from panel.db import AccountOwned, Base

from .source import Module, module, modules

# Ways to a query that the scope's criteria do not reach.
AROUND = {"__table__", "exec_driver_sql", "get_bind", "identity_session", "local_table", "raw_connection"}
AROUND |= {"bulk_insert_mappings", "bulk_save_objects", "bulk_update_mappings", "from_statement"}
AROUND |= {"bool_op", "op", "prefix_with", "suffix_with", "with_hint", "with_statement_hint"}  # text in a statement
# A session's own connection, which knows of no scope; and why it is used there.
CONNECTIONS = {
    "panel.deliveries.claims": "each statement names its account, or rows that one of those found",
}
# What is no feature and asks the database by other ways than a scope's session.
MAY = {
    "panel.batch": "the record of letters is of all accounts: each of its statements names the account",
    "panel.db": "it makes the sessions",
    "panel.doctor": "asks whether the database answers",
    "panel.migrations.env": "migrates it",
    "panel.migrations.runner": "migrates it",
    "panel.server": "gives each process connections of its own",
    "panel.tenancy": "it is the scope",
    "panel.web.identity": "people are found over all accounts, at sign-in alone",
}
RAW = {"custom_op", "column", "literal_column", "table", "text"}  # of any module of SQLAlchemy's

# Columns that hold the id of an account's row without a foreign key to it, and why.
UNLINKED = {
    "notifications.current_version_id": "the two tables would point at each other",
    "notification_versions.made_by": "who made a version is told also when that person is gone",
    "bulk_actions.made_by": "who did it is told also when that person is gone",
    "invitations.invited_by": "those that have not been taken up end when that person goes",
    "blasts.made_by": "who made it is told also when that person is gone",
    "deliveries.address_id": "the log outlives the address",
    "deliveries.blast_id": "the log outlives the blast",
    "deliveries.notification_id": "the log outlives the notification",
    "deliveries.participant_id": "the log outlives the participant",
    "deliveries.server_id": "the log outlives the server",
    "passkeys.credential_id": "no row's: the name that its device gave the passkey",
}
# Foreign keys between account-owned tables that leave the account out, and why.
ONE_COLUMN = {
    "audit_log.user_id": "set to null when the person is removed, which a key that holds the account cannot be",
}

assert models  # imported so that every table is known


def around(some: Iterable[Module]) -> Iterator[str]:
    for one in some:
        if one.name in MAY:
            continue
        for node in ast.walk(one.tree):
            if not isinstance(node, ast.Attribute):
                continue
            if node.attr in AROUND or _is_engine(node) or (_is_connection(node) and one.name not in CONNECTIONS):
                yield f"{one.name}:{node.lineno}: {node.attr} goes around the account scope"
        if one.last != "models":  # a partial index states its condition as text
            yield from (f"{one.name}:{line}: {name} is raw SQL" for line, name in one.imports if _is_raw(name))


def _is_raw(name: str) -> bool:
    return name.startswith("sqlalchemy.") and name.rpartition(".")[2] in RAW


def _is_engine(node: ast.Attribute) -> bool:
    return node.attr == "engine" and isinstance(node.value, ast.Name) and node.value.id == "db"


def _is_connection(node: ast.Attribute) -> bool:
    return node.attr in ("connection", "connect") and ast.unparse(node.value).endswith(("session", "session()"))


def owned_tables() -> set[str]:
    return {mapper.local_table.name for mapper in Base.registry.mappers if issubclass(mapper.class_, AccountOwned)}


def loose_keys(metadata: MetaData, owned: set[str]) -> Iterator[str]:
    """Foreign keys between account-owned tables that do not carry the account."""
    for table in metadata.tables.values():
        if table.name not in owned:
            continue
        for key in table.foreign_key_constraints:
            if key.referred_table.name in owned and ("account_id", "account_id") not in _pairs(key):
                names = [column.name for column in key.columns]
                yield from (f"{table.name}.{name}" for name in names if name != "account_id")


def _pairs(key: ForeignKeyConstraint) -> set[tuple[str, str]]:
    return {(element.parent.name, element.column.name) for element in key.elements}


def unlinked(metadata: MetaData, owned: set[str]) -> Iterator[str]:
    """Columns of account-owned tables that look like the id of a row and have no foreign key."""
    for table in metadata.tables.values():
        if table.name in owned:
            looks = (column for column in table.columns if column.name.endswith(("_id", "_by", "_of")))
            yield from (f"{table.name}.{column.name}" for column in looks if _is_loose(table, column))


def _is_loose(table: Table, column: Column[object]) -> bool:
    return not column.foreign_keys and column.name != "message_id" and not column.primary_key


def test_it_goes_around_no_scope():
    assert list(around(modules("panel", "jobs").values())) == []


def test_it_ties_every_row_to_rows_of_its_own_account():
    owned = owned_tables()
    assert {"deliveries", "mail_servers", "users", "audit_log"} <= owned
    assert set(loose_keys(Base.metadata, owned)) == set(ONE_COLUMN)


def test_it_gives_a_reason_for_every_id_without_a_key():
    assert set(unlinked(Base.metadata, owned_tables())) == set(UNLINKED)


def test_it_makes_every_table_an_accounts_own_but_for_two():
    assert set(Base.metadata.tables) - owned_tables() == {"accounts", "installation"}


@pytest.mark.parametrize(
    "text",
    [
        "x = Delivery.__table__.select()",
        "from sqlalchemy import text",
        "def f():\n    from sqlalchemy import literal_column",
        "from sqlalchemy.sql.expression import literal_column",
        "from sqlalchemy import column, table",
        "x = Delivery.id.op('IS NOT NULL OR 1 =')(1)",
        "x = select(Delivery.id).prefix_with('(SELECT email FROM users),')",
        "db.engine().connect()",
        "session.connection().exec_driver_sql('select 1')",
        "db.session().connection().execute(x)",
        "session.bulk_insert_mappings(Delivery, [])",
        "x = select(Delivery).from_statement(y)",
    ],
)
def test_it_would_notice_a_way_around(text: str):
    assert list(around([module("panel.stats.service", text)]))


def test_it_would_notice_a_loose_key():
    metadata = MetaData()
    Table("a", metadata, Column("id", Uuid, primary_key=True), Column("account_id", Uuid))
    Table(
        "b",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("account_id", Uuid),
        Column("a_id", ForeignKey("a.id")),
    )
    Table("c", metadata, Column("id", Integer, primary_key=True), Column("account_id", Uuid), Column("b_id", Integer))
    assert list(loose_keys(metadata, {"a", "b", "c"})) == ["b.a_id"]
    assert list(unlinked(metadata, {"a", "b", "c"})) == ["a.account_id", "b.account_id", "c.account_id", "c.b_id"]
