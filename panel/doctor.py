"""`ownpost doctor`: whether everything that Ownpost needs is there. A line each, and never a secret."""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import redis
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from panel import create_app, db, mark, queue, sealed
from panel.config import Settings
from panel.migrations import runner
from panel.servers import service as servers
from panel.smtp.destination import DestinationPolicy
from panel.smtp.outcome import SmtpFailure
from panel.smtp.session import Session
from panel.smtp.timeouts import Timeouts
from panel.stats import vitals

OLDEST_REDIS = (6, 2)


class Unwell(Exception):
    """What a check found; the text says what to do."""


def run(load_settings: Callable[[], Settings]) -> int:
    """Makes every check and prints a line each. Returns the exit code: 1 if any failed."""
    try:
        settings = load_settings()
    except click.ClickException as error:
        _say("settings", error.message, well=False)
        return 1
    _say("settings", "read")
    checks = (
        ("database", _database),
        ("redis", _redis),
        ("keys", _keys),
        ("platform server", _platform),
        ("ticker", _ticker),
        ("sending", _sending),
    )
    with create_app(settings).app_context():
        return 1 if [name for name, check in checks if not _check(name, check, settings)] else 0


def _check(name: str, check: Callable[[Settings], str], settings: Settings) -> bool:
    try:
        found = check(settings)
    except Unwell as error:
        _say(name, str(error), well=False)
        return False
    _say(name, found)
    return True


def _say(name: str, words: str, *, well: bool = True) -> None:
    click.echo(f"{'ok  ' if well else 'FAIL'}  {name:<16} {words}")


def _database(_settings: Settings) -> str:
    try:
        with db.system_scope("the doctor looks") as session:
            session.execute(select(text("1")))
        current = runner.is_current()
    except SQLAlchemyError as error:
        raise Unwell(f"does not answer ({type(error).__name__}); check DATABASE_URL") from None
    if not current:
        raise Unwell("is not up to date; run `ownpost db upgrade`")
    return f"answers and is up to date ({db.engine().dialect.name})"


def _redis(_settings: Settings) -> str:
    try:
        version = str(queue.connection().info("server")["redis_version"])
        queue.connection().set("ownpost:doctor", "1", ex=5)
    except redis.RedisError as error:
        raise Unwell(f"does not answer or takes no writes ({type(error).__name__}); check REDIS_URL") from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise Unwell(f"is version {version}; Ownpost needs 6.2 or newer")
    return f"answers, version {version}"


def _keys(settings: Settings) -> str:
    words = {"column": "doctor", "account_id": "doctor", "row_id": "doctor"}
    if settings.keyring.unseal(settings.keyring.seal("well", **words), **words) != "well":
        raise Unwell("do not open what they sealed")
    try:
        with db.system_scope("the doctor counts unreadable passwords"):
            unreadable = servers.unreadable_passwords()
    except SQLAlchemyError:
        return "seal and open; stored passwords could not be looked at"
    if unreadable:
        raise Unwell(
            f"{unreadable} stored passwords were sealed with a key that is missing from OWNPOST_ENCRYPTION_KEYS"
        )
    return f"seal and open, and every stored password can be read{_old_keys(settings)}"


def _old_keys(settings: Settings) -> str:
    """Which keys may go, and what stands in the way of those that may not."""
    with db.system_scope("the doctor counts what was sealed with which key"):
        counted = sealed.by_key()
    first, *others = settings.keyring.ids
    waiting = {key: counted[key] for key in others if counted[key]}
    if waiting:
        told = ", ".join(f"{count} by {key}" for key, count in waiting.items())
        return f"; not all by the first key, {first} ({told}): run `ownpost key rotate`"
    unused = [key for key in others if not counted[key]]
    return f"; nothing needs {', '.join(unused)} any more" if unused else ""


def _platform(settings: Settings) -> str:
    server = settings.platform_server
    where = f"{server.host}:{server.port}"
    session = Session(
        settings=server,
        policy=DestinationPolicy.unguarded(),
        ehlo_name=settings.ehlo_name,
        timeouts=Timeouts.for_test(),
    )
    try:
        session.open()
    except SmtpFailure as failure:
        raise Unwell(f"{where}: {failure.outcome.failure}: {failure.outcome.detail}") from None
    summary = session.tls_summary or "without TLS"
    session.quit()
    return f"{where} takes the sign-in ({summary})"


def _ticker(settings: Settings) -> str:
    try:
        ticked = queue.connection().get(vitals.TICKER_KEY)
    except redis.RedisError:
        raise Unwell("cannot be asked after while Redis is away") from None
    if not isinstance(ticked, bytes):
        raise Unwell("has not been seen; is `ownpost ticker` running?")
    age = time.time() - float(ticked)
    if age > max(60.0, 4 * settings.tuning.ticker):
        raise Unwell(f"was last seen {age:.0f} s ago; is `ownpost ticker` running?")
    return f"was seen {age:.0f} s ago"


def _sending(_settings: Settings) -> str:
    try:
        with db.system_scope("the doctor sees whether sending is stopped"):
            stopped = mark.stop()
    except SQLAlchemyError:
        raise Unwell("cannot be asked after while the database is away or not up to date") from None
    if stopped is not None:
        raise Unwell(f"is stopped: {mark.WORDS[stopped.because]}; see `ownpost db restored`")
    return "goes on"
