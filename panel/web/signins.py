"""Signing in and out, new passwords and second factors in the audit log, by Flask-Security's signals.

They are written once Flask-Security's own transaction is over: on SQLite one transaction writes at a time. What failed
is written when the answer has left, so that its time does not tell whether somebody signs in with that address.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from blinker import NamedSignal
from flask import Flask, Response, g, has_request_context, request
from flask_login import user_logged_out
from flask_security import signals
from sqlalchemy.exc import SQLAlchemyError

from panel import actor, db
from panel.accounts import service as accounts
from panel.actor import Actor
from panel.web import identity

log = structlog.get_logger(__name__)

_NAME: Final = "sign_ins"
_LATE: Final = ("sign_in.failed", "password.link_sent")


@dataclass(frozen=True, slots=True)
class _Note:
    account_id: uuid.UUID
    who: Actor
    action: str
    details: dict[str, Any]


def install(app: Flask) -> None:
    """Listens, and writes after each request what was heard in it."""
    for signal, action in _ACTIONS:
        signal.connect(_listener(action), app, weak=False)
    app.after_request(_write_after)


def _listener(action: str) -> Callable[..., None]:
    def heard(_sender: object, user: Any = None, **details: Any) -> None:
        if user is None or not has_request_context() or not getattr(user, "account_id", None):
            return
        who = Actor(kind=actor.USER, name=user.email, user_id=user.id, ip=request.remote_addr or "")
        waiting = g.setdefault(_NAME, [])
        waiting.append(_Note(user.account_id, who, action, _plain(action, details)))

    return heard


def _plain(action: str, details: dict[str, Any]) -> dict[str, Any]:
    """Of what a signal carries, which may be codes and tokens, only how somebody signed in."""
    if action == "sign_in":
        return {"by": [str(way) for way in details.get("authn_via") or ()]}
    if action == "sign_in.failed":
        return {"by": str(details.get("auth_type") or "password"), "second_factor": bool(details.get("tfa"))}
    return {}


def _write_after(answer: Response) -> Response:
    waiting: list[_Note] = g.pop(_NAME, [])
    if not waiting:
        return answer
    identity.release()
    if all(note.action in _LATE for note in waiting):
        answer.call_on_close(lambda: _write(waiting))
    else:
        _write(waiting)
    return answer


def _write(waiting: list[_Note]) -> None:
    for note in waiting:
        try:
            with db.account_scope(note.account_id), actor.acting(note.who), db.transaction():
                accounts.audit(note.action, subject=note.who.name, **note.details)
        except SQLAlchemyError as error:
            # Nobody is kept from signing in because the log of it cannot be written.
            log.warning("the audit log could not be written", action=note.action, error=type(error).__name__)


_ACTIONS: Final[tuple[tuple[NamedSignal, str], ...]] = (
    (signals.user_authenticated, "sign_in"),
    (signals.user_failed_authn, "sign_in.failed"),
    (user_logged_out, "sign_out"),
    (signals.password_reset, "password.reset"),
    (signals.password_changed, "password.changed"),
    (signals.reset_password_instructions_sent, "password.link_sent"),
    (signals.change_email_confirmed, "user.address_changed"),
    (signals.tf_profile_changed, "two_factor.changed"),
    (signals.tf_disabled, "two_factor.turned_off"),
    (signals.wan_registered, "passkey.added"),
    (signals.wan_deleted, "passkey.removed"),
)
