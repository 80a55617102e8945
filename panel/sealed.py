"""Every column that hangs on an encryption key, so that all of them are made anew when the keys are rotated.

A feature registers its own beside its models: a plain sealed text by `register_secret`, anything else by `register`.
What is written is written on the condition that the row still holds what was read, so a person who saves at the same
time wins, and workers go on: all keys open, whichever sealed.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, and_, func, or_, select, update

from panel import db
from panel.crypto import Keyring, SealBroken, UnknownKey, key_id_of
from panel.db import AccountOwned

Renew = Callable[[Any, Keyring], Mapping[str, str | None]]
"""Gives a row's columns anew, by name. Raises UnknownKey or SealBroken."""

BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Keeper:
    """Some columns of a table that hold what was made with a key, and how they are made anew."""

    model: type[Any]  # of AccountOwned; which columns it has is not its type's to say
    columns: tuple[str, ...]
    renew: Renew


@dataclass(slots=True)
class Rotation:
    """What came of it: rows made anew, rows that no key opens, and rows that somebody changed meanwhile."""

    renewed: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    accounts: Counter[uuid.UUID] = field(default_factory=Counter)


_keepers: Final[list[Keeper]] = []


def register(model: type[AccountOwned], *columns: str, renew: Renew) -> None:
    """Columns of a table that hang on a key, and how all of them are made anew together."""
    _keepers.append(Keeper(model, columns, renew))


def register_secret(model: type[AccountOwned], column: str, *, place: str) -> None:
    """A column with a sealed text; `place` is what it is bound to, beside its account and its row."""

    def renew(row: Any, keyring: Keyring) -> Mapping[str, str]:
        words = {"column": place, "account_id": str(row.account_id), "row_id": str(row.id)}
        return {column: keyring.seal(keyring.unseal(getattr(row, column), **words), **words)}

    register(model, column, renew=renew)


def keepers() -> tuple[Keeper, ...]:
    """All that are registered."""
    return tuple(_keepers)


def rotate(keyring: Keyring, *, note: Callable[[uuid.UUID, int], object]) -> Rotation:
    """Makes everything anew with the first key, row by row. In a system scope.

    `note` is called for each account with the number of its rows, in the transaction that ends a batch.
    """
    done = Rotation()
    for keeper in _keepers:
        after: Any = None
        while rows := _batch(keeper, keyring, after):
            after = rows[-1].id
            _renew(keeper, keyring, rows, done, note)
            db.breathe()
    return done


def _batch(keeper: Keeper, keyring: Keyring, after: Any) -> list[Any]:
    key: Any = keeper.model
    wanted = select(keeper.model).where(_stale(keeper, keyring)).order_by(key.id).limit(BATCH)
    if after is not None:
        wanted = wanted.where(key.id > after)
    rows = list(db.session().scalars(wanted.execution_options(populate_existing=True)))
    db.release()
    return rows


def _stale(keeper: Keeper, keyring: Keyring) -> ColumnElement[bool]:
    columns = [getattr(keeper.model, name) for name in keeper.columns]
    # Both forms begin with a version of two characters, a dot and the id. Not by LIKE: SQLite's knows no case.
    mine = f".{keyring.first_id}."
    return or_(*(and_(column.is_not(None), func.substr(column, 3, len(mine)) != mine) for column in columns))


def _renew(
    keeper: Keeper, keyring: Keyring, rows: list[Any], done: Rotation, note: Callable[[uuid.UUID, int], object]
) -> None:
    table, by_account = keeper.model.__tablename__, Counter[uuid.UUID]()
    with db.transaction():
        for row in rows:
            try:
                made = keeper.renew(row, keyring)
            except (UnknownKey, SealBroken):
                done.unreadable[table] += 1
                continue
            if _write(keeper, row, made):
                by_account[row.account_id] += 1
        for account_id, count in by_account.items():
            note(account_id, count)
    done.renewed[table] += by_account.total()
    done.accounts.update(by_account)


def _write(keeper: Keeper, row: Any, made: Mapping[str, str | None]) -> bool:
    model: Any = keeper.model
    as_read = [getattr(model, name).is_not_distinct_from(getattr(row, name)) for name in keeper.columns]
    # Not a change of anybody's: the row's own time of its last change stays.
    kept = {"changed_at": model.changed_at} if hasattr(model, "changed_at") else {}
    result = db.session().execute(
        update(keeper.model)
        .where(model.id == row.id, *as_read)
        .values(**made, **kept)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def by_key() -> Counter[str]:
    """How many stored values were made with which key, by its id. In a system scope."""
    found = Counter[str]()
    for keeper in _keepers:
        for name in keeper.columns:
            column = getattr(keeper.model, name)
            found.update(map(key_id_of, db.session().scalars(select(column).where(column.is_not(None)))))
    return found
