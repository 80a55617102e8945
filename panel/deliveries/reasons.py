"""The reasons that deliveries carry, in words: whatever the engine, a worker or a person may note."""

from __future__ import annotations

from typing import Final

REASONS: Final = {
    # Why it never left.
    "notification_disabled": "This notification was switched off.",
    "suppressed_unsubscribed": "The recipient has unsubscribed.",
    "suppressed_bounced": "Mail to this address bounced before.",
    "suppressed_complained": "The recipient complained about earlier mail.",
    "suppressed_added_by_hand": "Somebody put this address on the list of suppressed ones.",
    "restored": "The database was restored from a backup. It may have been sent since the backup was made.",
    "recipient_deleted": "Its recipient was deleted.",
    "blast_canceled": "Its blast was canceled.",
    "letter_cannot_be_made": "The letter could not be made from these words and values.",
    "held_too_long": "Its server did not work for too long.",
    "too_late_to_be_of_use": "It would have come too late to be of use.",
    # What it waits for.
    "account_suspended": "Sending is stopped for this account.",
    "blast_paused": "Its blast is paused. It goes out once somebody resumes the blast.",
    "platform_limit": "What this account may send in a day by the platform server is used up.",
    "credentials": "The server refused the user name or password.",
    "sender_refused": "The server does not let this address send.",
    "quota": "The server’s sending limit is used up for now.",
    "server": "The server does not work at the moment.",
    "server_paused": "Its server is paused.",
    "password_unreadable": "The stored password can no longer be read.",
    "interrupted": "The worker was stopped; it is tried again.",
    "internal_error": "Something went wrong on our side.",
    # What went wrong at the server (panel.smtp.outcome.FailureCode and About).
    "host_not_found": "The server’s name was not found.",
    "destination_not_allowed": "The server’s name leads to an address that may not be reached.",
    "connect_failed": "The server could not be reached.",
    "connect_timeout": "The server did not answer in time.",
    "not_smtp": "What answered is not a mail server.",
    "wrong_security": "The server expects another kind of encryption on this port.",
    "tls_unavailable": "The server offers no encryption.",
    "certificate_untrusted": "The server’s certificate is not trusted.",
    "certificate_expired": "The server’s certificate has expired.",
    "certificate_wrong_host": "The server’s certificate is for another name.",
    "tls_too_old": "The server’s encryption is too old to be safe.",
    "auth_unavailable": "The server offers no way to sign in.",
    "auth_needs_tls": "The password would have travelled without encryption.",
    "auth_failed": "The server refused the user name or password.",
    "auth_temporary": "The server could not check the password for now.",
    "recipient_refused": "The server refused the recipient.",
    "message_refused": "The server refused the letter itself.",
    "server_busy": "The server is too busy for now.",
    "protocol_error": "The server said something that no mail server says.",
    "timed_out": "The server took too long.",
    "no_worker": "No worker took it up.",
    "canceled": "The conversation was broken off.",
    "sender": "The server did not like the sender.",
    "recipient": "The server did not like the recipient.",
    "message": "The server did not like the letter.",
    # How it ended.
    "no_reply": "The connection broke after the letter had left and before the server answered.",
    "worker_lost": "The worker was lost after the letter had begun to leave.",
    "gave_up": "The server said “not now” for three days.",
    "marked_as_sent": "Somebody marked it as sent.",
    "resent": "Somebody sent it again.",
}


def words(reason: str | None) -> str:
    """The reason in a sentence; empty when there is none."""
    return REASONS.get(reason, "") if reason else ""
