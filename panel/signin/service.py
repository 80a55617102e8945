"""The second factor of a sign-in: authenticator app and recovery codes; passkeys are in `passkeys.py`.

Everything here runs in the scope of the person's account, also while they are still signing in.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

import structlog
from flask import current_app, render_template
from passlib.exc import TokenError
from passlib.totp import TOTP
from sqlalchemy import CursorResult, delete, func, or_, select, update

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import User
from panel.config import Settings
from panel.crypto import SealBroken, UnknownKey
from panel.outbox import service as outbox
from panel.signin.models import SEALED_COLUMN, Passkey, RecoveryCode, TotpKey

log = structlog.get_logger(__name__)

_ISSUER = "Ownpost"
_SET_UP_WITHIN = dt.timedelta(minutes=10)
CODES = 10
# Neither 0 and o nor 1, i and l: they are copied from paper.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_CODE_LENGTH = 24  # 118 bits of chance: a fast hash keeps them well enough


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, and from where."""

    user: User
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person has set up."""

    authenticator: TotpKey | None = None
    passkeys: list[Passkey] = field(default_factory=list)
    codes_left: int = 0

    @property
    def on(self) -> bool:
        """Whether a sign-in asks for more than the password. Recovery codes alone are no second factor."""
        return self.authenticator is not None or bool(self.passkeys)


@dataclass(frozen=True, slots=True)
class Setup:
    """What an authenticator app needs to be told."""

    secret: str
    uri: str


def factors(user_id: uuid.UUID) -> Factors:
    """What the person has set up."""
    session = db.session()
    left = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return Factors(
        authenticator=_confirmed(user_id),
        passkeys=list(session.scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.made_at))),
        codes_left=session.scalar(left) or 0,
    )


def prepare_authenticator(user: User) -> uuid.UUID | None:
    """Makes a key for an app that is to be set up; one that was prepared before and never confirmed goes.

    Returns its id, to be kept by the sign-in that asked for it; None when an app is set up already.
    """
    with db.transaction() as session:
        session.execute(delete(TotpKey).where(TotpKey.user_id == user.id, TotpKey.confirmed_at.is_(None)))
        if factors(user.id).authenticator is not None:
            return None
        key = TotpKey(id=uuid.uuid4(), account_id=db.account_id(), user_id=user.id)
        key.secret_sealed = _settings().keyring.seal(
            TOTP.new().base32_key, column=SEALED_COLUMN, account_id=str(key.account_id), row_id=str(key.id)
        )
        session.add(key)
        return key.id


def prepared(user: User, key_id: uuid.UUID | None) -> Setup | None:
    """What the app is to be told, until a code has proved that it was, for ten minutes at most."""
    key = _prepared(user.id, key_id)
    secret = _secret(key) if key else None
    if secret is None:
        return None
    return Setup(secret=secret, uri=TOTP(secret).to_uri(label=user.email, issuer=_ISSUER))


def confirm_authenticator(by: By, key_id: uuid.UUID | None, code: str) -> bool:
    """Turns the prepared app on if the code is one of its own."""
    with db.transaction():
        key = _prepared(by.user.id, key_id)
        if key is None or not _take(key, code):
            return False
        key.confirmed_at = db.now()
        changed(by, "authenticator.added", "An authenticator app was added to your sign-in.")
    return True


def remove_authenticator(by: By) -> None:
    """The app's codes are no longer taken."""
    with db.transaction() as session:
        key = _confirmed(by.user.id)
        if key is None:
            return
        session.delete(key)
        session.flush()
        changed(by, "authenticator.removed", "The authenticator app was removed from your sign-in.")


def forget_everything(by: By) -> None:
    """From now on the password alone is asked for: somebody has lost all that they had besides."""
    with db.transaction() as session:
        session.execute(delete(TotpKey).where(TotpKey.user_id == by.user.id))
        session.execute(delete(Passkey).where(Passkey.user_id == by.user.id))
        changed(by, "second_factor.forgotten", "Two-factor sign-in was turned off by the person who runs this Ownpost.")


def takes_code(user_id: uuid.UUID, code: str) -> bool:
    """Whether the person's app shows this code now. A code is taken once."""
    with db.transaction():
        key = _confirmed(user_id)
        return key is not None and _take(key, code)


def takes_recovery_code(by: By, code: str) -> bool:
    """Whether it is one of the person's codes that was not used yet. Now it is."""
    wanted = update(RecoveryCode).where(
        RecoveryCode.user_id == by.user.id, RecoveryCode.hash == _hash(code), RecoveryCode.used_at.is_(None)
    )
    with db.transaction() as session:
        taken = _count(session.execute(wanted.values(used_at=db.now()))) == 1
        if taken:
            left = factors(by.user.id).codes_left
            changed(by, "recovery_code.used", f"A recovery code was used to sign in; {left} are left.")
    return taken


def make_recovery_codes(by: By) -> list[str]:
    """New codes in place of all earlier ones; they can be read only now."""
    with db.transaction():
        codes = _new_codes(by.user)
        changed(by, "recovery_codes.made", "New recovery codes were made for your sign-in; earlier ones work no more.")
    return codes


def first_recovery_codes(by: By) -> list[str]:
    """Codes for somebody who has just set up their first factor, of which a letter tells; none for somebody who has
    some."""
    if factors(by.user.id).codes_left:
        return []
    with db.transaction():
        codes = _new_codes(by.user)
        accounts.audit("recovery_codes.made", subject=by.user.email, user_id=by.user.id, ip=by.ip)
    return codes


def _new_codes(user: User) -> list[str]:
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH)) for _ in range(CODES)]
    session = db.session()
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.add_all(RecoveryCode(account_id=db.account_id(), user_id=user.id, hash=_hash(code)) for code in codes)
    return ["-".join(re.findall(".{4}", code)) for code in codes]


def changed(by: By, action: str, words: str) -> None:
    """Notes a change, tells its owner, and forgets the recovery codes with the last factor."""
    if not factors(by.user.id).on:
        db.session().execute(delete(RecoveryCode).where(RecoveryCode.user_id == by.user.id))
    accounts.audit(action, subject=by.user.email, user_id=by.user.id, ip=by.ip)
    outbox.put_system_letter(
        to_address=by.user.email,
        subject="Your Ownpost sign-in has changed",
        text=render_template("signin/email/changed.txt", email=by.user.email, words=words),
        html=None,
        from_domain=_settings().platform_from.address.rpartition("@")[2],
    )


def _prepared(user_id: uuid.UUID, key_id: uuid.UUID | None) -> TotpKey | None:
    # Whoever sees it can show its codes for ever, so it is neither shown nor taken for longer than it takes to scan it.
    wanted = select(TotpKey).where(
        TotpKey.user_id == user_id,
        TotpKey.id == key_id,
        TotpKey.confirmed_at.is_(None),
        TotpKey.made_at > db.now() - _SET_UP_WITHIN,
    )
    return db.session().scalar(wanted)


def _confirmed(user_id: uuid.UUID) -> TotpKey | None:
    return db.session().scalar(select(TotpKey).where(TotpKey.user_id == user_id, TotpKey.confirmed_at.is_not(None)))


def _take(key: TotpKey, code: str) -> bool:
    secret = _secret(key)
    if secret is None:
        return False
    try:
        match = TOTP(secret).match(code, last_counter=key.last_counter)
    except TokenError:
        return False
    # Of two who send the same code at once, one is let in.
    newer = or_(TotpKey.last_counter.is_(None), TotpKey.last_counter < match.counter)
    moved = update(TotpKey).where(TotpKey.id == key.id, newer).values(last_counter=match.counter)
    return _count(db.session().execute(moved)) == 1


def _secret(key: TotpKey) -> str | None:
    try:
        return _settings().keyring.unseal(
            key.secret_sealed, column=SEALED_COLUMN, account_id=str(key.account_id), row_id=str(key.id)
        )
    except (UnknownKey, SealBroken) as error:
        # Recovery codes and passkeys need no key of ours.
        log.error("authenticator key unreadable", user=str(key.user_id), error=type(error).__name__)  # noqa: TRY400
        return None


def _hash(code: str) -> str:
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode()).hexdigest()


def _count(result: Any) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
