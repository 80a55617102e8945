"""What the audit log's actions are called."""

from __future__ import annotations

from typing import Any, Final

_WORDS: Final = {
    "account.added": "Account made",
    "account.changed": "Account’s name, time zone or postal address changed",
    "account.closed": "Account closed, to be deleted",
    "account.described": "Account’s postal address changed",
    "account.exported": "All data exported",
    "account.keep_values": "Time that letters are kept changed",
    "account.kept": "Account kept after all",
    "account.limited": "Daily limit on the platform’s server changed",
    "address.confirmed": "Outbound address confirmed",
    "address.made_default": "Outbound address made the default",
    "api_key.added": "API key made",
    "api_key.revoked": "API key revoked",
    "audit.exported": "Audit log exported",
    "authenticator.added": "Authenticator app set up",
    "authenticator.removed": "Authenticator app removed",
    "blast.added": "Blast drafted",
    "blast.removed": "Blast’s draft thrown away",
    "blast.unscheduled": "Blast’s schedule taken back",
    "deliveries.canceled_after_restore": "Letters canceled after a backup was restored",
    "deliveries.marked_as_sent": "Letters marked as sent",
    "deliveries.resent": "Letters sent again",
    "delivery.marked_as_sent": "Letter marked as sent",
    "delivery.resent": "Letter sent again",
    "notification.saved": "Notification’s words saved",
    "participant.added": "Participant added by hand",
    "participant.letters_canceled": "Letters canceled to a participant who is to be deleted",
    "participants.imported": "Participants imported from a file",
    "passkey.added": "Passkey added",
    "passkey.removed": "Passkey removed",
    "password.changed": "Password changed",
    "password.link_sent": "Link for a new password asked for",
    "password.reset": "Password chosen by a link",
    "recovery_code.used": "Signed in with a recovery code",
    "recovery_codes.made": "New recovery codes made",
    "second_factor.forgotten": "Second factor taken away by the operator",
    "secrets.resealed": "Stored passwords sealed with another key",
    "server.drafted": "Mail server kept as a draft",
    "server.fallback": "Choice for a failing mail server changed",
    "server.saved": "Mail server saved and turned on",
    "sign_in": "Signed in",
    "sign_in.all_ended": "Signed out everywhere by the operator",
    "sign_in.ended": "A sign-in elsewhere ended",
    "sign_in.failed": "Sign-in failed",
    "sign_in.others_ended": "Signed out everywhere else",
    "sign_out": "Signed out",
    "test.sent": "Test email sent",
    "user.invitation_withdrawn": "Invitation withdrawn",
    "user.invited": "Person invited",
    "user.joined": "Person joined by an invitation",
    "user.removed": "Person removed",
    "user.role_changed": "Person’s role changed",
}
_ACTORS: Final = {"program": "Ownpost", "visitor": "Somebody with the link", "operator": "The operator", "user": "–"}


def action(name: str) -> str:
    """An action in words; one that has none of its own says what it is."""
    return _WORDS.get(name) or name.replace(".", " ").replace("_", " ").capitalize()


def actor(kind: str, name: str) -> str:
    """Who it was."""
    return name or _ACTORS.get(kind, "Ownpost")


def details(given: dict[str, Any]) -> list[tuple[str, str]]:
    """The details, each with its name in words; those that say nothing are left out."""
    return [(name.replace("_", " "), _value(value)) for name, value in given.items() if value not in (None, "", [], {})]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(each).replace("_", " ") for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)
