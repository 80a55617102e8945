"""Passkeys (WebAuthn) as a second factor. What is signed names the site, so a passkey serves nobody who imitates it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.exc import IntegrityError
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from panel import db
from panel.accounts.service import User
from panel.signin.models import Passkey
from panel.signin.service import By, changed

# What is wrong with an answer that was tampered with, in the words of the library and of what it stands on.
_WRONG = (WebAuthnException, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Site:
    """The panel as browsers know it: by the name that passkeys are bound to, and the origin of its pages."""

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the browser is asked, and the challenge that its answer must hold."""

    options: str
    challenge: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """What was asked, base64url, and when."""

    text: str
    asked_at: dt.datetime


def site(public_url: str) -> Site | None:
    """The site of OWNPOST_PUBLIC_URL; None where browsers take no passkeys: at a bare address, or without TLS."""
    parts = urlsplit(public_url)
    name = parts.hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        secure = parts.scheme == "https" or name == "localhost" or name.endswith(".localhost")
        return Site(name=name, origin=_origin(parts)) if secure else None
    return None


def _origin(parts: SplitResult) -> str:
    # As browsers write it: without the port that goes without saying (RFC 6454 section 6.1).
    usual = {"https": 443, "http": 80}[parts.scheme]
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"


def ask_for_new(user: User, where: Site) -> Asked:
    """For navigator.credentials.create()."""
    options = generate_registration_options(
        rp_id=where.name,
        rp_name="Ownpost",
        user_id=user.id.bytes,
        user_name=user.email,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=key.credential_id) for key in _of(user.id)],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    return Asked(options_to_json(options), bytes_to_base64url(options.challenge))


def add(by: By, where: Site, *, challenge: str, answer: str, name: str) -> bool:
    """Keeps a new passkey, if the answer is one to the challenge."""
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=where.name,
            expected_origin=where.origin,
        )
    except _WRONG:
        return False
    key = Passkey(
        account_id=db.account_id(),
        user_id=by.user.id,
        name=name[:100],
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
    )
    try:
        with db.transaction() as session:
            session.add(key)
            session.flush()
            changed(by, "passkey.added", f"A passkey was added to your sign-in: {key.name}.")
    except IntegrityError:
        return False  # it is somebody's already
    return True


def remove(by: By, passkey_id: uuid.UUID) -> None:
    """Takes a passkey of the person's away. Raises NotFound for one of somebody else's."""
    with db.transaction() as session:
        key = db.owned(Passkey, passkey_id)
        if key.user_id != by.user.id:
            raise db.NotFound("a passkey of somebody else's")
        session.delete(key)
        session.flush()
        changed(by, "passkey.removed", f"A passkey was removed from your sign-in: {key.name}.")


def ask_for_one(user_id: uuid.UUID, where: Site) -> Asked:
    """For navigator.credentials.get()."""
    options = generate_authentication_options(
        rp_id=where.name,
        allow_credentials=[PublicKeyCredentialDescriptor(id=key.credential_id) for key in _of(user_id)],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return Asked(options_to_json(options), bytes_to_base64url(options.challenge))


def takes(user_id: uuid.UUID, where: Site, *, challenge: Challenge, answer: str) -> bool:
    """Whether the answer was signed by a passkey of the person's, for this site and this challenge, and is the first
    that it was used for since the challenge was made."""
    try:
        given = parse_authentication_credential_json(answer)
        key = next((key for key in _of(user_id) if key.credential_id == given.raw_id), None)
        if key is None:
            return False
        proof = verify_authentication_response(
            credential=given,
            expected_challenge=base64url_to_bytes(challenge.text),
            expected_rp_id=where.name,
            expected_origin=where.origin,
            credential_public_key=key.public_key,
            credential_current_sign_count=key.sign_count,
        )
    except _WRONG:
        return False
    return _use(key.id, challenge.asked_at, proof.new_sign_count)


def _use(passkey_id: uuid.UUID, asked_at: dt.datetime, sign_count: int) -> bool:
    # Passkeys that are on several devices count nothing: what tells an answer that is sent again is the time. Of
    # several who send it at once one finds the row as it was. No use is earlier than its challenge, also where two
    # machines' clocks differ.
    unused = or_(Passkey.last_used_at.is_(None), Passkey.last_used_at < asked_at)
    used = update(Passkey).where(Passkey.id == passkey_id, unused)
    with db.transaction() as session:
        done = session.execute(used.values(sign_count=sign_count, last_used_at=max(db.now(), asked_at)))
    assert isinstance(done, CursorResult)
    return done.rowcount == 1


def _of(user_id: uuid.UUID) -> list[Passkey]:
    return list(db.session().scalars(select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.made_at)))
