"""Flask-Security: signing in, signing out, forgotten passwords. Its letters are deliveries like any other."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import Flask, current_app
from flask_security import MailUtil, Security, SQLAlchemySessionUserDatastore

from panel import db
from panel.accounts.models import Role, User
from panel.config import Settings
from panel.outbox import service as outbox
from panel.web import access, identity


class OutboxMailUtil(MailUtil):
    """Queues what Flask-Security wants to send."""

    def send_mail(
        self,
        template: str,
        subject: str,
        recipient: Any,
        sender: Any,
        body: str | None,
        html: str | None,
        **kwargs: Any,
    ) -> None:
        """Called with the letter rendered; `user` is among the rest."""
        settings: Settings = current_app.extensions["ownpost"]
        identity.release()
        with db.account_scope(kwargs["user"].account_id):
            outbox.put_system_letter(
                to_address=recipient if isinstance(recipient, str) else recipient[1],
                subject=str(subject),
                text=body or "",
                html=html,
                from_domain=settings.platform_from.address.rpartition("@")[2],
            )


def configure(app: Flask, settings: Settings) -> None:
    """Flask-Security's settings; see its documentation for each."""
    app.config.update(
        SECURITY_PASSWORD_SALT=f"{settings.secret_key}.passwords",
        SECURITY_PASSWORD_HASH="argon2",
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        SECURITY_DEPRECATED_PASSWORD_SCHEMES=[],
        SECURITY_PASSWORD_LENGTH_MIN=10,
        SECURITY_LOGIN_URL="/login",
        SECURITY_LOGOUT_URL="/logout",
        SECURITY_LOGOUT_METHODS=["POST"],
        SECURITY_RESET_URL="/forgot",
        SECURITY_RECOVERABLE=True,
        SECURITY_RESET_PASSWORD_WITHIN=dt.timedelta(hours=2),
        SECURITY_TRACKABLE=True,
        SECURITY_REGISTERABLE=False,
        # Ownpost's roles are a column of the user; there is no relation to join.
        SECURITY_JOIN_USER_ROLES=False,
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/login",
        SECURITY_POST_RESET_VIEW="/login",
        # The same answer for known and unknown people.
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_EMAIL_SENDER=settings.platform_from.address,
        SECURITY_EMAIL_SUBJECT_PASSWORD_RESET="Choose a new password for Ownpost",
        SECURITY_EMAIL_SUBJECT_PASSWORD_NOTICE="Your Ownpost password was changed",
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False, "test_environment": True},
        SECURITY_FRESHNESS=dt.timedelta(minutes=-1),
        SECURITY_FRESHNESS_GRACE_PERIOD=dt.timedelta(0),
        SECURITY_DEFAULT_REMEMBER_ME=False,
        SECURITY_REDIRECT_VALIDATE_MODE=["absolute", "regex"],
        SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS=False,
    )


def install(app: Flask, settings: Settings) -> None:
    """Registers Flask-Security with its pages."""
    configure(app, settings)
    identity.install(app)
    datastore = SQLAlchemySessionUserDatastore(identity.IdentitySession(), User, Role)  # type: ignore[arg-type]
    security = Security(app, datastore, mail_util_cls=OutboxMailUtil)
    security.unauthn_handler(access.unauthenticated)
