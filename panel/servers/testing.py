"""Connection tests: asked for by a page, done by a worker, watched live."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis
from flask import current_app

from panel import db, live, livesteps, queue
from panel.addresses import service as addresses
from panel.config import Settings
from panel.livesteps import StepBoard
from panel.servers import service, tries
from panel.servers.entry import Entry
from panel.servers.signin import refused, unanswered
from panel.smtp.outcome import FailureCode, Outcome, SmtpFailure
from panel.smtp.session import Session
from panel.smtp.settings import Security
from panel.smtp.timeouts import Timeouts

_SEALED_COLUMN = "connection_tests.password"
_LOOK_FOR_CANCEL = 0.15  # seconds
_LATE = 0.5  # seconds after a session's last deadline, when it is ended whatever it does
_COMES_BACK_WITHIN = 3.0  # seconds that a page has to come back after it was left: a reload does
_JOB_EXPIRES = 30  # seconds; by then the page has given up long ago


class CannotTest(Exception):
    """Redis is away, so no worker can be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """What a worker is to test, and what then."""

    address_id: uuid.UUID
    entry: Entry
    recipient: str  # the signed-in user's confirmed address
    save: bool  # whether to save and turn on what passed
    by: service.By


def start(test: Test) -> str:
    """Asks a worker for a test and returns the live task's id. Raises CannotTest."""
    task = live.new_id()
    entry = test.entry
    board = StepBoard(
        db.account_id(),
        task,
        security=Security(entry.security),
        sending=False,
        context={key: value for key, value in asdict(entry).items() if key != "password"},
    )
    try:
        live.put_input(db.account_id(), task, _sealed(test, task))
        board.state("queued", address_id=str(test.address_id), save=test.save)
        rung = queue.ring(
            queue.INTERACTIVE, "jobs.connection_test.run", str(db.account_id()), task, expires=_JOB_EXPIRES
        )
    except redis.RedisError:
        rung = False
    if not rung:
        raise CannotTest
    return task


def run(task: str) -> None:
    """Does a test, in a worker. A task that was given up, canceled or done already is left alone."""
    account_id = db.account_id()
    if not live.claim(account_id, task):
        return
    board, given = StepBoard.again(account_id, task), live.take_input(account_id, task)
    if board is None:
        return
    if given is None:
        board.fail(FailureCode.TIMED_OUT, "What was typed is not kept for so long.")
        board.finish("failed")
        return
    try:
        _test(board, _unsealed(given, task), task)
    except BaseException:
        board.finish("failed", "Something went wrong on our side. Test again.")
        raise


def _test(board: StepBoard, test: Test, task: str) -> None:
    if tries.must_rest(test.entry):
        board.finish("failed", "The server has not taken this password again and again. Check it, or wait for an hour.")
        return
    sender = addresses.get(test.address_id).email
    # Nothing of the database is held while a mail server takes its time.
    db.release()
    board.state("running")
    arguments = _session_arguments(test.entry, board)
    end = time.monotonic() + arguments["timeouts"].session + _LATE
    with Session(**arguments) as session, _watching(db.account_id(), task, session, end):
        failure = _talk(session, sender=sender, recipient=test.recipient)
        _conclude(board, test, failure)
        # The result is out; a server that refused something is still owed a goodbye (RFC 5321 section 4.1.1.10).
        session.quit()


def _session_arguments(entry: Entry, board: StepBoard) -> dict[str, Any]:
    settings: Settings = current_app.extensions["ownpost"]
    left = max(1.0, board.started_at + settings.tuning.test_deadline - time.time())
    usual = Timeouts.for_test()
    return {
        "settings": service.session_settings(entry),
        "policy": settings.smtp_policy,
        "ehlo_name": settings.ehlo_name,
        "timeouts": replace(usual, session=min(left, usual.session or left)),
        "observer": board.observe,
    }


def _talk(session: Session, *, sender: str, recipient: str) -> Outcome | None:
    try:
        session.open()
        session.probe(sender=sender, recipient=recipient)
    except SmtpFailure as failure:
        return failure.outcome
    session.quit()
    return None


def _conclude(board: StepBoard, test: Test, failure: Outcome | None) -> None:
    if failure is not None and (refused(failure) or unanswered(failure)):
        tries.note_refused(test.entry)
    if failure is None:
        service.note_passed(test.address_id, test.entry)
        if test.save:
            service.save(test.address_id, test.entry, test.by)
        board.finish("ok", "Saved and on." if test.save else "Everything works.", saved=test.save)
    elif failure.failure is FailureCode.CANCELED:
        board.finish("canceled", "Canceled. Nothing was saved." if test.save else None)
    else:
        board.finish("failed", "Not saved, because it does not work yet." if test.save else None)


@contextmanager
def _watching(account_id: uuid.UUID, task: str, session: Session, end: float) -> Iterator[None]:
    """Ends the session as soon as somebody cancels the task, and at the `end` of `time.monotonic` at the latest."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_FOR_CANCEL):
            if time.monotonic() > end:
                session.abort(late=True)
                return
            try:
                if live.is_canceled(account_id, task) or _is_left(account_id, task):
                    session.abort()
                    return
            except redis.RedisError:
                continue  # it ends by its deadline at the latest

    watcher = threading.Thread(target=watch, name="test-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _sealed(test: Test, task: str) -> dict[str, Any]:
    settings: Settings = current_app.extensions["ownpost"]
    password = settings.keyring.seal(
        test.entry.password, column=_SEALED_COLUMN, account_id=str(db.account_id()), row_id=task
    )
    return {
        "address_id": str(test.address_id),
        "entry": {**asdict(test.entry), "password": password},
        "recipient": test.recipient,
        "save": test.save,
        "user_id": str(test.by.user_id) if test.by.user_id else None,
        "ip": test.by.ip,
    }


def _unsealed(given: dict[str, Any], task: str) -> Test:
    settings: Settings = current_app.extensions["ownpost"]
    password = settings.keyring.unseal(
        given["entry"]["password"], column=_SEALED_COLUMN, account_id=str(db.account_id()), row_id=task
    )
    return Test(
        address_id=uuid.UUID(given["address_id"]),
        entry=Entry(**{**given["entry"], "password": password}),
        recipient=given["recipient"],
        save=given["save"],
        by=service.By(user_id=uuid.UUID(given["user_id"]) if given["user_id"] else None, ip=given["ip"]),
    )


def look(address_id: uuid.UUID, task: str) -> live.Snapshot | None:
    """How far a test of this address is; ended first if nobody does it. None when there is none, or no more.

    Raises NotFound for an address of another account.
    """
    addresses.get(address_id)
    account_id = db.account_id()
    livesteps.give_up(account_id, task)
    livesteps.end_if_silent(account_id, task)
    snapshot = live.latest(account_id, task)
    if snapshot is None or snapshot.data["extra"].get("address_id") != str(address_id):
        return None
    return snapshot


def cancel(task: str) -> None:
    """Stops a test."""
    livesteps.cancel(db.account_id(), task)


def leave(task: str) -> None:
    """The page was left: the test stops unless the page comes back within a moment."""
    queue.connection().set(_left_key(db.account_id(), task), time.time(), ex=60)


def come_back(task: str) -> None:
    """The page is there."""
    queue.connection().delete(_left_key(db.account_id(), task))


def _is_left(account_id: uuid.UUID, task: str) -> bool:
    left = queue.connection().get(_left_key(account_id, task))
    return isinstance(left, bytes) and time.time() - float(left) > _COMES_BACK_WITHIN


def _left_key(account_id: uuid.UUID, task: str) -> str:
    return f"ownpost:left:{account_id}:{task}"
