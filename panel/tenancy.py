"""What holds every statement of an account scope to that account. Sessions are opened in `panel.db`.

Three things work together: each statement is given criteria on the account, wherever in it one of its tables stands;
a statement that the criteria would not reach is refused; and no row of another account is flushed or taken into the
session. Below all of them, foreign keys between an account's tables carry the account.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NoReturn

from sqlalchemy import Column, ForeignKey, Insert, Table, TextClause, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, UserDefinedOption, mapped_column, with_loader_criteria
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.sql.expression import (
    Alias,
    ColumnClause,
    CompoundSelect,
    Delete,
    FromClause,
    Join,
    Select,
    TableClause,
    Update,
)
from sqlalchemy.sql.visitors import ExternallyTraversible, iterate

SELECTED = "ownpost_selected"
_ACCOUNTS = "accounts"
_TABLES = (Table, Alias)
# Where text may stand in a statement beside its elements.
_AROUND = ("_prefixes", "_suffixes", "_hints", "_statement_hints")


class CrossAccount(RuntimeError):
    """A row of one account was about to be read or written in the scope of another, or a statement could do that."""


class AccountOwned:
    """A row that belongs to exactly one account."""

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(f"{_ACCOUNTS}.id", ondelete="CASCADE"))


class AccountItself:
    """The row of an account, of which a scope sees its own."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)


class ScopedSession(Session):
    """A session without the older bulk methods: no event tells of what they write."""

    def bulk_save_objects(self, *_: Any, **__: Any) -> NoReturn:
        """Not here."""
        raise CrossAccount("bulk_save_objects() goes around the account scope")

    def bulk_insert_mappings(self, *_: Any, **__: Any) -> NoReturn:
        """Not here."""
        raise CrossAccount("bulk_insert_mappings() goes around the account scope")

    def bulk_update_mappings(self, *_: Any, **__: Any) -> NoReturn:
        """Not here."""
        raise CrossAccount("bulk_update_mappings() goes around the account scope")


class _Checked(UserDefinedOption):
    """On a statement that was checked, and so on those that SQLAlchemy makes of it, whose criteria it keeps."""


def _account_of(row: object) -> uuid.UUID | None:
    """Whose row it is; None if that is not said, or if rows of its kind are nobody's."""
    if isinstance(row, AccountOwned):
        return row.account_id
    return row.id if isinstance(row, AccountItself) else None


# -- statements ------------------------------------------------------------------------------------------------------


def criteria(account: uuid.UUID) -> tuple[ExecutableOption, ...]:
    """Options of a statement that let it see this account's rows only, in whatever it selects from as well."""
    return (
        with_loader_criteria(AccountOwned, lambda cls: cls.account_id == account, include_aliases=True),
        with_loader_criteria(AccountItself, lambda cls: cls.id == account, include_aliases=True),
    )


_CHECKED = _Checked()


@event.listens_for(Session, "do_orm_execute")
def _restrict(state: ORMExecuteState) -> None:
    account = state.session.info.get("account_id")
    if account is None:
        return
    if state.is_insert:
        _check_insert(state, account)
    elif not state.is_column_load and not any(isinstance(option, _Checked) for option in state.user_defined_options):
        _check_reach(state)
        state.statement = state.statement.options(*criteria(account), _CHECKED)


def _check_insert(state: ORMExecuteState, account: uuid.UUID) -> None:
    if state.execution_options.get(SELECTED) == account:
        return
    statement = state.statement
    name = statement.table.name if isinstance(statement, Insert) and isinstance(statement.table, Table) else "a table"
    if isinstance(statement, postgresql.Insert | sqlite.Insert):  # these have ON CONFLICT DO UPDATE
        raise CrossAccount(f"an insert into {name} that may change the row of another account instead")
    given: Any = state.parameters
    rows: list[dict[str, Any]] = given if isinstance(given, list) else [given or {}]
    if not all(row.get("account_id") == account for row in rows):
        raise CrossAccount(f"an insert into {name} names no account or another one")


def _check_reach(state: ORMExecuteState) -> None:
    """Refuse what the criteria do not reach."""
    statement = state.statement
    if isinstance(statement, Update | Delete):
        # With a list of parameters each row is found by its key alone.
        if isinstance(state.parameters, list) or "dml_strategy" in state.execution_options:
            raise CrossAccount("a bulk update by key finds rows of any account")
        _check_second_tables(statement)
        if isinstance(statement, Update):
            _check_stays(statement, state.parameters)
    own = state.bind_mapper.local_table if state.is_orm_statement and state.bind_mapper else None
    selects, bare = 0, set[FromClause]()
    assert isinstance(statement, ExternallyTraversible)
    for element in iterate(statement):
        kind: type = type(element)
        if not _matters(kind):
            continue
        if _is_text(element):
            raise CrossAccount("a statement in text can be about any account")
        if isinstance(element, TableClause) and not isinstance(element, Table):
            raise CrossAccount(f"{element.name} by its name alone is of all accounts")
        if isinstance(element, Table) and not state.is_orm_statement:
            raise CrossAccount(f"{element.name} without its class is of all accounts")
        selects += isinstance(element, Select)
        bare.update(_bare(element))
    # A table stands for its class where that is all that is selected from, as when a row is got by its key.
    if bare and (selects > 1 or bare != {own}):
        raise CrossAccount("a table without its class is of all accounts")


@cache
def _matters(kind: type) -> bool:
    """Whether elements of this kind are looked at more closely; asked of each element of each statement."""
    return kind in (Column, ColumnClause) or issubclass(
        kind, TextClause | TableClause | Select | Update | Delete | Join
    )


def _is_text(element: ExternallyTraversible) -> bool:
    """Whether it is SQL as somebody wrote it, or has some around it; but for the asterisk of a count."""
    if type(element) is ColumnClause:
        return element.is_literal and element.name != "*"
    if isinstance(element, Select | Update | Delete):
        return any(getattr(element, name, None) for name in _AROUND)
    return isinstance(element, TextClause)


def _bare(element: ExternallyTraversible) -> Iterable[FromClause]:
    """The tables that it names as tables, not as mapped classes, whose tables are of subclasses that know the class."""
    named: Iterable[FromClause] = ()
    if type(element) is Column:
        named = (element.table,)
    elif isinstance(element, Join):
        named = element.left, element.right
    elif isinstance(element, Select):
        named = element._from_obj
    return [table for table in named if type(table) in _TABLES]


def _check_second_tables(statement: Update | Delete) -> None:
    """An UPDATE or DELETE has criteria on the table that it changes alone, and on what it selects from."""
    for element in _without_selects(statement):
        named: object = getattr(element, "table", None)
        table = named
        while isinstance(table, Alias):
            table = table.element
        if isinstance(table, Table) and (named is not table or table.key != _changed(statement)):
            raise CrossAccount(f"an update or delete reads {table.name} of all accounts; select from it")


def _check_stays(statement: Update, given: Any) -> None:
    """A row stays with its account: that this is what a value says is not to be seen, as it may be any expression."""
    owner = "id" if _changed(statement) == _ACCOUNTS else "account_id"
    if owner in {getattr(column, "key", column) for column in (*(statement._values or ()), *(given or ()))}:
        raise CrossAccount(f"an update of {_changed(statement)} could give a row to another account")


def _changed(statement: Update | Delete) -> str | None:
    return statement.table.key if isinstance(statement.table, Table) else None


def _without_selects(element: ExternallyTraversible) -> Iterator[ExternallyTraversible]:
    for child in element.get_children():
        if not isinstance(child, Select | CompoundSelect):
            yield child
            yield from _without_selects(child)


# -- rows ------------------------------------------------------------------------------------------------------------


@event.listens_for(Session, "before_attach")
def _check_attached(session: Session, row: object) -> None:
    # What is in a session is handed out by its key, without asking the database.
    account = session.info.get("account_id")
    if account is not None and _account_of(row) not in (None, account):
        raise CrossAccount(f"{type(row).__name__} of another account")


@event.listens_for(Session, "before_flush")
def _check_flush(session: Session, _context: Any, _instances: Any) -> None:
    account = session.info.get("account_id")
    if account is None:
        return
    rows: Iterable[object] = (*session.new, *session.dirty, *session.deleted)
    for row in rows:
        if isinstance(row, AccountOwned) and row in session.new and getattr(row, "account_id", None) is None:
            row.account_id = account
        if isinstance(row, AccountOwned | AccountItself) and _account_of(row) != account:
            raise CrossAccount(f"{type(row).__name__} of another account")
