"""All tables that hold an account's rows, as the metadata knows them: a new one is neither left out of an export nor
left behind by a deletion."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Table

from panel.db import AccountOwned, Base

# Columns that let somebody in, or that only this program has a use for.
_SECRET: Final = re.compile(
    r"password|secret|hash|sealed|token|uniquifier|totp|recovery|fingerprint|credential|public_key|^(fs|tf|mf|us)_"
    r"|^lease_|^fence$|^sign_count$|^upload$"
)
_SECRET_TABLES: Final = re.compile(r"web_?authn|passkey")


def models() -> list[type[Any]]:
    """The models whose rows belong to accounts, those first that others point to."""
    order = {table.name: place for place, table in enumerate(Base.metadata.sorted_tables)}
    mapped: list[type[Any]] = [
        mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, AccountOwned)
    ]
    return sorted(mapped, key=lambda model: order[model.__tablename__])


def exported(model: type[Any]) -> tuple[list[str], list[str]]:
    """The attributes of a model that an export holds, and those that it leaves out."""
    names = [attribute.key for attribute in model.__mapper__.column_attrs]
    if _SECRET_TABLES.search(model.__tablename__):
        return [], names
    return [name for name in names if not _SECRET.search(name)], [name for name in names if _SECRET.search(name)]


def tables() -> list[Table]:
    """The tables with an account's rows, those first that point to others: the order in which rows can be deleted."""
    return [table for table in reversed(Base.metadata.sorted_tables) if "account_id" in table.columns]


def own_references(table: Table) -> list[str]:
    """Columns by which rows of a table point to others of it."""
    keys = [key for key in table.foreign_key_constraints if key.referred_table is table]
    return [column.name for key in keys for column in key.columns if column.name != "account_id"]
