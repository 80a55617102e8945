"""Files of people: read when they are chosen, kept for an hour to be looked at, imported at a word.

What waits is a row of the account's own, as the participants are that it is about to become; nothing of it is in Redis.
Nobody is mailed: a notification goes out for an event, and an import reports none.

An import is not one transaction: on SQLite nobody else could write while a large one goes on. It goes from the end of
the file to its beginning, some pieces at a time, and each transaction counts in the row whom it dealt with: that is
the mark from which whoever presses the button again goes on, whatever broke it off.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO, Final, TypeVar

from sqlalchemy import Select, func, insert, or_, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import undefer

from panel import db, spreadsheet
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.message.addresses import one_line
from panel.participants import keeping
from panel.participants.crowd import new_code
from panel.participants.keeping import PIECE, Kept, Person
from panel.participants.models import Import, Participant
from panel.participants.reading import Bad, read

KEPT: Final = 3600.0  # seconds
SHOWN: Final = 10  # people of a file, and lines that are wrong
_GRACE: Final = 300.0  # seconds in which an import that began in time comes to its end, and then is told of
_TOGETHER: Final = 0.25  # seconds after which a transaction takes no further piece
_TRIES: Final = 5  # of two who add the same person at once, one finds at the second try what the other wrote

# The driver prepares what it executes again and again, and PostgreSQL then plans it for any list: it compares each
# person with each of the list, instead of looking them up. What a cursor reads is not prepared.
_PLANNED_ANEW: Final = {"stream_results": True}

ResultT = TypeVar("ResultT")
_STEP: Final = dt.timedelta(microseconds=1)

# A file of the largest size takes 60 MB to read, 150 where each line is wrong: one at a time in each process, so that
# many at once take no more. What was read is unpacked in pieces, and needs no lock.
_reading = threading.Lock()


class Gone(db.NotFound):
    """A campaign has no such file, or none any more."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an import would do with those of the file whom it has not dealt with yet.

    How many people there are and how many of them are new; the first of them, and the first lines that are wrong.
    """

    count: int
    new: int
    people: list[Person]
    bad: list[Bad]
    ignored: list[str]

    @property
    def known(self) -> int:
        """How many people are in the campaign already."""
        return self.count - self.new


def take(campaign_id: uuid.UUID, file: BinaryIO, file_name: str) -> uuid.UUID:
    """Reads a file and keeps what it says, to be looked at; the id by which to find it. Raises Unreadable."""
    db.release()
    with _reading:
        sheet = read(file)
        row = Import(
            id=uuid.uuid4(),
            campaign_id=campaign_id,
            file_name=one_line(file_name).strip()[:200] or "file",
            upload=keeping.pack(sheet),
            found=len(sheet.people),
            repeated=sheet.repeated,
            bad=len(sheet.bad),
        )
    with db.transaction() as session:
        session.add(row)
    return row.id


def get(campaign_id: uuid.UUID, import_id: uuid.UUID) -> Import:
    """A file that waits, or was imported a while ago. Raises NotFound, which is Gone in a campaign that is there."""
    campaigns.get(campaign_id)
    found = _there(select(Import).where(Import.id == import_id))
    if found.campaign_id != campaign_id or _is_over(found):
        raise Gone("no such Import")
    return found


def _is_over(row: Import) -> bool:
    """Whether a file is kept no longer; one whose import came to its end late is told of for a while."""
    over = row.made_at + dt.timedelta(seconds=KEPT)
    if row.ended_at is not None:
        over = max(over, row.ended_at + dt.timedelta(seconds=_GRACE))
    return db.now() > over


def get_whole(campaign_id: uuid.UUID, import_id: uuid.UUID) -> Import:
    """The same with what was read of the file, both of one moment: when an import ends, it keeps nobody of the file.
    Raises NotFound."""
    return _there(select(Import).where(Import.id == get(campaign_id, import_id).id).options(undefer(Import.upload)))


def _there(wanted: Select[Import]) -> Import:
    found = db.session().scalar(wanted.execution_options(populate_existing=True))
    if found is None:
        raise Gone("no such Import")
    return found


def look(waiting: Import) -> Look:
    """What it would do at this moment. Takes what `get_whole` found."""
    kept, left = keeping.unpack(waiting.upload), waiting.left
    known = 0
    for some in _pieces(kept, left):
        emails = [email for email, _, _ in some]
        there = Participant.campaign_id == waiting.campaign_id, Participant.email.in_(emails)
        known += db.session().scalar(select(func.count()).where(*there).execution_options(**_PLANNED_ANEW)) or 0
    first = next(_pieces(kept, min(left, SHOWN)), [])
    return Look(count=left, new=left - known, people=first, bad=list(islice(kept.bad(), SHOWN)), ignored=kept.ignored)


def _pieces(kept: Kept, most: int) -> Iterator[list[Person]]:
    """The first `most` people, piece by piece."""
    for at in range(0, most, PIECE):
        yield kept.some(at // PIECE)[: most - at]


def bad_lines(waiting: Import) -> bytes:
    """The lines that cannot be used, as CSV: mended, the file can be imported as it is."""
    kept = keeping.unpack(waiting.upload)
    width = len(kept.header)
    head = [*kept.header, "Line", "What is wrong"]
    # One after the other: a hundred thousand lines as wide as a first line may be are more than memory should hold.
    rows = ([*_exactly(bad.cells, width), str(bad.line), bad.reason] for bad in kept.bad())
    return spreadsheet.MARK + spreadsheet.rows(chain([head], rows))


def _exactly(cells: Sequence[str], width: int) -> list[str]:
    return [*cells[:width], *[""] * (width - len(cells))]


def discard(waiting: Import) -> None:
    """Throws the file away. Whom an import that was broken off dealt with stays."""
    with db.transaction():
        _drop(_locked(waiting.id))


def carry_out(waiting: Import, *, overwrite: bool) -> None:
    """Adds the people of the file as referrers, from where it was broken off if it was. A second time changes nothing.

    overwrite: who is in the campaign already gets the names of the file, where it has any, and is a referrer from now
    on; otherwise they stay as they are. An import that was begun goes on with the choice with which it was.

    Raises Gone when the file is thrown away meanwhile, as when somebody of the campaign is deleted: what was done by
    then stays, and the audit log tells of it.
    """
    # Read once: after a collision `waiting` would be looked up anew, and may be gone by then.
    campaign_id, import_id, kept = waiting.campaign_id, waiting.id, keeping.unpack(waiting.upload)
    while _until_won(lambda: _go_on(campaign_id, import_id, kept, overwrite=overwrite)):
        db.breathe()


def _until_won(act: Callable[[], ResultT]) -> ResultT:
    for _ in range(_TRIES - 1):
        try:
            return act()
        except DBAPIError as error:
            if not db.is_collision(error):
                raise
    return act()


def _go_on(campaign_id: uuid.UUID, import_id: uuid.UUID, kept: Kept, *, overwrite: bool) -> bool:
    """Imports some more of the people, in one short transaction; whether there are others left.

    Raises IntegrityError, and has then done nothing, when somebody else added one of them at the same time.
    """
    with db.transaction():
        # Before the file: who is deleted is taken out of the campaign first, and then wants the files that came since.
        campaigns.lock_crowd(campaign_id, shared=True)
        mine = _locked(import_id)
        if mine.ended_at is not None:
            return False
        if mine.overwrite is None:
            mine.overwrite = overwrite
        end = time.monotonic() + _TOGETHER
        while mine.left:
            piece, over = divmod(mine.left - 1, PIECE)
            _import(mine, kept.some(piece)[: over + 1], overwrite=mine.overwrite)
            if mine.left and time.monotonic() >= end:
                return True
        mine.ended_at = db.now()
        # Only what could not be used is of use from now on.
        mine.upload = kept.without_people()
        _audit(mine)
        return False


def _locked(import_id: uuid.UUID) -> Import:
    return _there(select(Import).where(Import.id == import_id).with_for_update())


def _audit(row: Import) -> None:
    accounts.audit(
        "participants.imported",
        subject=campaigns.get(row.campaign_id).name,
        added=row.added,
        changed=row.changed,
        left_as_they_were=row.kept,
        bad_lines=row.bad,
        not_reached=row.left,
    )


def _import(row: Import, people: list[Person], *, overwrite: bool) -> None:
    there = _known(row.campaign_id, [email for email, _, _ in people])
    _add(row.campaign_id, [person for person in people if person[0] not in there])
    known = [(there[person[0]], person) for person in people if person[0] in there]
    changed = sum(_overwrite(*each) for each in known) if overwrite else 0
    row.added += len(people) - len(known)
    row.changed += changed
    row.kept += len(known) - changed


def _known(campaign_id: uuid.UUID, emails: list[str]) -> dict[str, Participant]:
    """Those of the addresses whose people are in the campaign. Nobody else changes them before the transaction ends."""
    wanted = select(Participant).where(Participant.campaign_id == campaign_id, Participant.email.in_(emails))
    # In the order of their keys, so that two who want the same people do not wait for each other for ever.
    wanted = wanted.order_by(Participant.id).with_for_update(key_share=True)
    people = db.session().scalars(wanted.execution_options(populate_existing=True, **_PLANNED_ANEW))
    return {person.email: person for person in people}


def _add(campaign_id: uuid.UUID, people: list[Person]) -> None:
    if people:
        # The list shows the newest first: the last of the file goes first, so that it has them in the file's order.
        db.session().execute(insert(Participant), list(_rows(campaign_id, people[::-1])))


def _rows(campaign_id: uuid.UUID, people: list[Person]) -> Iterator[dict[str, object]]:
    at = db.now()
    same: dict[str, object] = {
        "account_id": db.account_id(),
        "campaign_id": campaign_id,
        "joined_at": at,
        "referral_count": 0,
        "qualified_count": 0,
    }
    for number, (email, first, last) in enumerate(people):
        yield {
            **same,
            "id": uuid.uuid4(),
            "email": email,
            "first_name": first,
            "last_name": last,
            "referral_code": new_code(),
            # Apart from each other, as the list is in the order of time; none is of the future.
            "made_at": at - _STEP * (len(people) - number),
        }


def _overwrite(person: Participant, named: Person) -> bool:
    """Gives somebody who is there already the names of the file; whether they had others, or no link."""
    names = (named[1] or person.first_name, named[2] or person.last_name)
    if person.joined_at is not None and names == (person.first_name, person.last_name):
        return False
    person.first_name, person.last_name = names
    person.joined_at = person.joined_at or db.now()
    return True


def forget(campaign_id: uuid.UUID) -> None:
    """Throws away the files that wait for a campaign: somebody who is deleted may be in them. In a transaction."""
    wanted = select(Import).where(Import.campaign_id == campaign_id).order_by(Import.id).with_for_update()
    for row in db.session().scalars(wanted.execution_options(populate_existing=True)).all():
        _drop(row)


def _drop(row: Import) -> None:
    if row.ended_at is None and row.left < row.found:
        _audit(row)
    db.session().delete(row)


def tick() -> None:
    """Throws away what is too old. In no scope; called by the ticker."""
    with db.system_scope("files that were not imported are thrown away") as session:
        told = or_(Import.ended_at.is_(None), Import.ended_at < db.clock(-_GRACE))
        wanted = select(Import.account_id, Import.id).where(Import.made_at < db.clock(-KEPT - _GRACE), told)
        old = session.execute(wanted).all()
    for account_id, import_id in old:
        with db.account_scope(account_id), suppress(db.NotFound), db.transaction():
            _drop(_locked(import_id))
