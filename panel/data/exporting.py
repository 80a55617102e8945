"""Everything that an account owns as a ZIP, made while it is sent: no copy of it lies anywhere, and it may be large.

One member a table, one row a line of JSON. What lets somebody in is left out: passwords, hashes, keys, second factors,
links that sign somebody in or speak for a recipient.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.data import tables

_BATCH: Final = 500
_LINKS: Final = ("unsubscribe_url", "preferences_url")

_ABOUT: Final = """\
Everything of the account {name} in Ownpost, as of {at} UTC.

account.json holds the account itself; each other file a table, one row a line (JSON Lines, UTF-8, times in UTC).
Rows point to each other by their ids.

Left out, as they would let somebody in or speak for somebody else: {left_out}; the words of letters from Ownpost
itself, which may hold links to sign in; the unsubscribe links in recipients' letters.
"""


class _Pipe:
    """A file that is only written to; what was written is taken out as it comes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def export(account_id: uuid.UUID) -> Iterator[bytes]:
    """The ZIP, piece by piece. In no scope: each piece opens one, so that no connection is held in between."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]  # it only writes
        archive.writestr("README.txt", _about(account_id))
        archive.writestr("account.json", _account(account_id))
        for model in tables.models():
            names, _ = tables.exported(model)
            if not names:
                continue
            with archive.open(f"{model.__tablename__}.jsonl", "w", force_zip64=True) as member:
                for lines in _lines(account_id, model, names):
                    member.write(lines)
                    yield pipe.take()
    yield pipe.take()


def _about(account_id: uuid.UUID) -> str:
    left_out = [f"{model.__tablename__}.{name}" for model in tables.models() for name in tables.exported(model)[1]]
    with db.account_scope(account_id):
        return _ABOUT.format(
            name=accounts.current().name, at=f"{db.now():%Y-%m-%d %H:%M:%S}", left_out=", ".join(left_out)
        )


def _account(account_id: uuid.UUID) -> str:
    with db.account_scope(account_id):
        account = accounts.current()
        return json.dumps({name: _plain(getattr(account, name)) for name in tables.exported(type(account))[0]})


def _lines(account_id: uuid.UUID, model: type[Any], names: list[str]) -> Iterator[bytes]:
    after: Any = None
    while True:
        wanted = select(model).order_by(model.id).limit(_BATCH)
        if after is not None:
            wanted = wanted.where(model.id > after)
        with db.account_scope(account_id) as session:
            rows: list[Any] = list(session.scalars(wanted))
        if not rows:
            return
        after = rows[-1].id
        yield "".join(json.dumps(_row(row, names), ensure_ascii=False) + "\n" for row in rows).encode()


def _row(row: Any, names: list[str]) -> dict[str, Any]:
    told = {name: _plain(getattr(row, name)) for name in names}
    if "values" in told:
        told["values"] = {} if row.kind == "system" else _without_links(told["values"])
    return told


def _without_links(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_links(inner) for name, inner in value.items() if name not in _LINKS}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.isoformat() if isinstance(value, dt.datetime) else value
