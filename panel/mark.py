"""The mark of an installation: it tells a database that was restored from a backup from one that has gone on.

A generation grows with every round of the ticker, in the database first and then outside of it: in Redis, and in a file
of the data directory. So what is outside is never ahead of the database, unless an older database has taken its place.
Such a one may hold letters as waiting that were sent long ago: nothing is sent from it until a person says so.

Who sends asks `may_send` with every claim. Who has no mark to compare with, as after a start with an empty Redis on a
machine without the file, waits for the ticker's word; and the ticker asks a person if there is none for a database that
has sent before or in which something waits. What a process has seen itself is a mark, too.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
import structlog
from sqlalchemy import BigInteger, String, create_engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from panel import db, queue
from panel.config import Settings
from panel.db import Base, now

log = structlog.get_logger(__name__)

KEY: Final = "ownpost:mark"
FILE: Final = "mark.json"

OLDER: Final = "older"
"""The database is older than what is known of it outside."""
UNKNOWN: Final = "unknown"
"""It has sent before, or letters wait in it, and nothing outside knows it."""
BACKUP: Final = "backup"
"""It is a copy that was made as a backup."""

ASKED: Final = "asked"
"""A person stopped it, who knows more than can be seen here."""

WORDS: Final = {
    OLDER: "the database is older than it was, so it was restored from a backup",
    UNKNOWN: "nothing here knows this database, which holds letters: is it a copy, or a backup on a new machine?",
    BACKUP: "the database is a copy that was made as a backup",
    ASKED: "you asked for it",
}

_ONE: Final = 1
_LOOK_AGAIN: Final = 2.0  # seconds for which what was read outside is good enough


class Installation(Base):
    """The one row that says which installation this database is of, how far it has got, and whether it may send."""

    __tablename__ = "installation"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    uid: Mapped[uuid.UUID]
    generation: Mapped[int] = mapped_column(BigInteger)
    bumped_at: Mapped[dt.datetime] = mapped_column(default=now)
    stopped_at: Mapped[dt.datetime | None]
    stopped_because: Mapped[str | None] = mapped_column(String(20))
    stopped_through: Mapped[int | None] = mapped_column(BigInteger)  # the newest delivery by then


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is sent: since when, why, how old the database was, and the newest delivery that it had.

    `through` is None until the ticker, or whoever looks first, has seen the restored database.
    """

    at: dt.datetime
    because: str
    as_of: dt.datetime
    through: int | None


class _Outside:
    """The marks that this process can see, and the newest one that it has seen in the database itself."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._seen: dict[uuid.UUID, int] = {}
        self._looked_at = -_LOOK_AGAIN

    def of(self, uid: uuid.UUID | None, *, fresh: bool = False) -> int | None:
        """The newest generation known of that installation outside of its database; None if it is not known.

        uid None: of a database that does not say which it is, that of any installation that was here.
        """
        with self._lock:
            missing = uid is not None and uid not in self._seen
            if fresh or missing or time.monotonic() > self._looked_at + _LOOK_AGAIN:
                for found in (_in_redis(), _in_file(self.settings.data_dir)):
                    if found is not None:
                        self._note(*found)
                self._looked_at = time.monotonic()
            return self._seen.get(uid) if uid is not None else max(self._seen.values(), default=None)

    def note(self, uid: uuid.UUID, generation: int) -> None:
        """It was seen in the database."""
        with self._lock:
            self._note(uid, generation)

    def _note(self, uid: uuid.UUID, generation: int) -> None:
        self._seen[uid] = max(generation, self._seen.get(uid, 0))


_process: Final[dict[str, _Outside]] = {}


def may_send() -> bool:
    """Whether this database may send: asked within each claim's transaction. In any scope."""
    row = _row()
    if row is None:
        return _outside().of(None) is None  # else the ticker says whether it is the one that was here before
    if row.stopped_at is not None:
        return False
    outside = _outside().of(row.uid)
    if outside is None:
        return False  # the ticker will say
    if row.generation < outside:
        # Either it is older, or what was read outside is newer than this transaction: the ticker tells them apart.
        return False
    _outside().note(row.uid, row.generation)
    return True


def stop() -> Stop | None:
    """Why nothing is sent, if that is so. In any scope."""
    row = _row()
    if row is None or row.stopped_at is None:
        return None
    because = row.stopped_because or OLDER
    return Stop(at=row.stopped_at, because=because, as_of=row.bumped_at, through=row.stopped_through)


def turn(*, may_repeat: Callable[[], bool], newest: Callable[[], int]) -> bool:
    """One round of the ticker; whether this database may send. In a system scope.

    may_repeat: whether, if it is an old copy, anything could be sent twice: it knows of letters that were sent, or some
    wait in it; newest: its newest delivery's number.
    """
    known = _row()
    # Before the database is read again: what is outside is never ahead of what is read after it.
    outside = _outside().of(known.uid if known is not None else None, fresh=True)
    with db.transaction() as session:
        row = session.scalar(select(Installation).with_for_update().execution_options(populate_existing=True))
        if row is None:
            row = Installation(id=_ONE, uid=uuid.uuid4(), generation=0)
            session.add(row)
            because = UNKNOWN if outside is not None and may_repeat() else None
        else:
            because = row.stopped_because if row.stopped_at is not None else _doubt(row, outside, may_repeat)
            if because == UNKNOWN and row.stopped_at is None:
                # A person may have said since that it is the one, and so made it known.
                because = _doubt(row, _outside().of(row.uid, fresh=True), may_repeat)
        if because is not None:
            _begin_stop(row, because, newest())
            return False
        row.generation += 1
        row.bumped_at = db.now()
        uid, generation = row.uid, row.generation
    _tell(uid, generation)
    return True


def _doubt(row: Installation, outside: int | None, may_repeat: Callable[[], bool]) -> str | None:
    if outside is None:
        return UNKNOWN if row.generation > 0 and may_repeat() else None
    return OLDER if row.generation < outside else None


def _begin_stop(row: Installation, because: str, newest: int) -> None:
    if row.stopped_through is None:
        log.error("nothing is sent: this is not the database that was here; see `ownpost db restored`", because=because)
        row.stopped_through = newest
    row.stopped_because = because
    row.stopped_at = row.stopped_at or db.now()


def release() -> None:
    """A person says that this database is the one to go on with. In a system scope."""
    known = _row()
    outside = (_outside().of(known.uid, fresh=True) if known is not None else None) or 0
    with db.transaction() as session:
        row = session.scalars(select(Installation).with_for_update()).one()
        row.generation = max(row.generation, outside) + 1
        row.stopped_at = row.stopped_because = row.stopped_through = None
        # Before the commit, and under its lock, for once: the ticker would take a database that is not stopped and that
        # nobody knows for a copy, and stop it again. If the commit fails, it is stopped still and a person asked again.
        _tell(row.uid, row.generation)


def mark_as_backup(copy: Path) -> None:
    """Has a copy of an SQLite database ask a person before it sends, wherever it is restored."""
    engine = create_engine(f"sqlite:///{copy}")
    with engine.begin() as connection:
        values = {"stopped_at": now(), "stopped_because": BACKUP, "stopped_through": None}
        connection.execute(update(Installation).values(**values))
    engine.dispose()


def stop_now(*, newest: int) -> None:
    """Stops sending by a person's word, as after a whole machine was set back. In a system scope.

    newest: the newest delivery's number.
    """
    ensure()
    with db.transaction() as session:
        row = session.scalars(select(Installation).with_for_update()).one()
        row.stopped_at, row.stopped_because, row.stopped_through = db.now(), ASKED, newest


def ensure() -> None:
    """Makes the row, if no ticker has yet: a backup needs one to be marked. In a system scope."""
    try:
        with db.transaction() as session:
            if session.scalar(select(Installation.id)) is None:
                session.add(Installation(id=_ONE, uid=uuid.uuid4(), generation=0))
    except IntegrityError:
        return  # a ticker made it at the same moment


def _row() -> Installation | None:
    return db.session().scalar(select(Installation).execution_options(populate_existing=True))


def _tell(uid: uuid.UUID, generation: int) -> None:
    """Writes the mark outside, once it is sure to be in the database whatever happens to the machine."""
    settings = _outside().settings
    _sync(settings.database_url)
    _outside().note(uid, generation)
    text = json.dumps({"uid": str(uid), "generation": generation})
    try:
        queue.prompt_connection().set(KEY, text)
    except redis.RedisError as error:
        log.warning("the mark was not left in Redis", error=type(error).__name__)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        draft = settings.data_dir / f".{FILE}.{os.getpid()}"
        draft.write_text(text)
        draft.replace(settings.data_dir / FILE)
    except OSError as error:
        # Where there is no data directory, Redis holds it alone.
        log.debug("the mark was not left in the data directory", error=type(error).__name__)


def _sync(database_url: str) -> None:
    # SQLite's commits reach the disk some time later (synchronous=NORMAL). A power failure must not make the database
    # look older than its mark.
    path = Path(database_url.removeprefix("sqlite:///") + "-wal")
    if database_url.startswith("sqlite") and path.exists():
        with path.open("rb+") as wal:
            os.fsync(wal.fileno())


def _in_redis() -> tuple[uuid.UUID, int] | None:
    try:
        found: Any = queue.prompt_connection().get(KEY)
    except redis.RedisError:
        return None
    return _read(found) if found else None


def _in_file(data_dir: Path) -> tuple[uuid.UUID, int] | None:
    try:
        return _read((data_dir / FILE).read_bytes())
    except OSError:
        return None


def _read(text: bytes) -> tuple[uuid.UUID, int] | None:
    try:
        found = json.loads(text)
        return uuid.UUID(found["uid"]), int(found["generation"])
    except (ValueError, TypeError, KeyError):
        return None


def configure(settings: Settings) -> None:
    """Says where this process finds marks. Looks at none yet."""
    _process["outside"] = _Outside(settings)


def _outside() -> _Outside:
    return _process["outside"]
