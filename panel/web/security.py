"""Flask-Security: signing in, signing out, forgotten passwords. Its letters are deliveries like any other."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from flask import Flask, Response, current_app, g, request
from flask_security import EmailValidateException, MailUtil, Security, SQLAlchemySessionUserDatastore

from panel import db
from panel.accounts.models import Role, User
from panel.config import Settings
from panel.message.addresses import InvalidAddress, normalise
from panel.outbox import service as outbox
from panel.web import access, identity, signins, throttle
from panel.web.passwords import PasswordRules

# Asking for a new password takes at least this long (seconds), so that the time of the answer does not tell whether a
# letter was queued.
FORGOT_AT_LEAST = 0.3

_WORDS = {
    "GENERIC_AUTHN_FAILED": ("This email address and password do not go together.", "error"),
    "INVALID_REDIRECT": ("That link would have led to another site. Sign in to go on here.", "error"),
    "EMAIL_NOT_PROVIDED": ("Enter your email address.", "error"),
    "INVALID_EMAIL_ADDRESS": ("That is not an email address.", "error"),
    "PASSWORD_NOT_PROVIDED": ("Enter a password.", "error"),
    "PASSWORD_INVALID_LENGTH": ("The password must have at least %(length)s characters.", "error"),
    "RETYPE_PASSWORD_MISMATCH": ("The two passwords are not the same.", "error"),
    "FORGOT_PASSWORD": ("Forgotten your password?", "info"),
    "PASSWORD_RESET_REQUEST": (
        "If somebody signs in with %(email)s, a link to choose a new password is on its way there.",
        "info",
    ),
    "PASSWORD_RESET_EXPIRED": ("That link has expired: it works for %(within)s. Have a new one sent.", "error"),
    "INVALID_RESET_PASSWORD_TOKEN": ("That link does not work, or has been used. Have a new one sent.", "error"),
    "PASSWORD_CHANGE": ("Your new password is saved. You are signed out everywhere else.", "success"),
    "INVALID_PASSWORD": ("That is not your password.", "error"),
    "PASSWORD_IS_THE_SAME": ("That is the password you have. Choose another.", "error"),
    "PASSWORD_RESET_NO_LOGIN": ("Your new password is saved. Sign in with it.", "success"),
}


class OutboxMailUtil(MailUtil):
    """Queues what Flask-Security wants to send, and reads addresses as the rest of the panel does."""

    def normalize(self, email: str) -> str:
        """The form in which logins are stored. One of another form is nobody's, and must not count as another name."""
        try:
            return normalise(email)
        except InvalidAddress:
            raise EmailValidateException(_WORDS["INVALID_EMAIL_ADDRESS"][0]) from None

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
        # On SQLite one transaction writes at a time: a new password is committed before its letter is queued.
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
        # Argon2 alone, without a key mixed in: another OWNPOST_SECRET_KEY ends all sessions and keeps all passwords.
        SECURITY_PASSWORD_SINGLE_HASH=["argon2"],
        SECURITY_PASSWORD_LENGTH_MIN=10,
        SECURITY_LOGIN_URL="/login",
        SECURITY_LOGOUT_URL="/logout",
        SECURITY_LOGOUT_METHODS=["POST"],
        SECURITY_RESET_URL="/forgot",
        SECURITY_RECOVERABLE=True,
        SECURITY_RESET_PASSWORD_WITHIN=dt.timedelta(hours=2),
        SECURITY_CHANGEABLE=True,
        SECURITY_CHANGE_URL="/settings/security/password",
        SECURITY_POST_CHANGE_VIEW="/settings/security",
        SECURITY_TRACKABLE=True,
        SECURITY_DATETIME_FACTORY=db.now,
        SECURITY_REGISTERABLE=False,
        # Ownpost's roles are a column of the user; there is no relation to join.
        SECURITY_JOIN_USER_ROLES=False,
        # Its scripts are for pages of its own, which are not used.
        SECURITY_STATIC_FOLDER=None,
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/login",
        SECURITY_POST_RESET_VIEW="/login",
        # The same answer for known and unknown people.
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_EMAIL_SENDER=settings.platform_from.address,
        SECURITY_EMAIL_SUBJECT_PASSWORD_RESET="Choose a new password for Ownpost",
        SECURITY_EMAIL_SUBJECT_PASSWORD_NOTICE="Your Ownpost password was changed",
        SECURITY_EMAIL_SUBJECT_PASSWORD_CHANGE_NOTICE="Your Ownpost password was changed",
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False, "test_environment": True},
        # By a session only: its tokens would know neither end nor second factor.
        SECURITY_API_ENABLED_METHODS=["session"],
        SECURITY_FRESHNESS=dt.timedelta(minutes=-1),
        SECURITY_FRESHNESS_GRACE_PERIOD=dt.timedelta(0),
        SECURITY_DEFAULT_REMEMBER_ME=False,
        SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS=False,
        **{f"SECURITY_MSG_{name}": words for name, words in _WORDS.items()},
    )


def install(app: Flask, settings: Settings) -> None:
    """Registers Flask-Security with its pages."""
    configure(app, settings)
    identity.install(app)
    datastore = SQLAlchemySessionUserDatastore(identity.IdentitySession(), User, Role)  # type: ignore[arg-type]
    security = Security(app, datastore, mail_util_cls=OutboxMailUtil, password_util_cls=PasswordRules)
    security.unauthn_handler(access.unauthenticated)
    security.want_json(lambda _request: False)
    app.login_manager.request_loader(lambda _request: None)  # type: ignore[attr-defined]
    throttle.install(app)
    signins.install(app)
    app.before_request(_note_begin)
    app.after_request(_even_out)


def _note_begin() -> None:
    g.began = time.monotonic()


def _even_out(answer: Response) -> Response:
    # A form without its token is refused before any clock starts.
    if request.endpoint == "security.forgot_password" and request.method == "POST" and "began" in g:
        identity.release()
        time.sleep(max(0.0, g.began + FORGOT_AT_LEAST - time.monotonic()))
    return answer
