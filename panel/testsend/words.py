"""What a test send came to, in words for the person who waits for it."""

from __future__ import annotations

from typing import Final

from panel.outbox.service import Delivery
from panel.servers import service as servers

NO_WORKER: Final = (
    "No worker has taken it up yet. The email stays queued and goes out by itself as soon as one is back: "
    "nothing is lost."
)
NO_ROOM: Final = (
    "Your server has no connection to spare for it just now. It waits, and goes out by itself as soon as there is one."
)
NOT_YET: Final = "It has not gone out yet. It will be tried again by itself."
_LATER: Final = "It goes out by itself once that is put right."
_FAULT: Final = "Something went wrong on our side. The email is kept and will be tried again."
_FAULT_MID_LETTER: Final = (
    "Something went wrong on our side while the email was on its way, so it may or may not have been accepted."
)
_HELD: Final = {
    "account_suspended": "Held: sending is stopped for this account. Ask the person who runs this Ownpost.",
    "platform_limit": "Held: today’s emails through the platform server are used up. It goes out when there is room.",
}
_ENDED: Final = {
    "internal_error": _FAULT,
    "letter_cannot_be_made": "The email could not be made from these words. Nothing was sent.",
    "too_late_to_be_of_use": "It waited too long and was not sent.",
    "held_too_long": "It waited too long and was not sent.",
}


def result_of(delivery: Delivery) -> str | None:
    """What the page shows as the result: the delivery's state, or None while it is under way."""
    return None if delivery.state in ("queued", "sending") else delivery.state


def headline_of(delivery: Delivery) -> str | None:
    """One line about it; None where the result says enough."""
    reason = delivery.reason or ""
    if delivery.state == "sent":
        return f"Accepted by {'your' if delivery.server_id else 'the platform’s'} server."
    if delivery.state == "held":
        return _HELD.get(reason) or f"Held: {servers.PAUSE_REASONS.get(reason, 'your server rests')}. {_LATER}"
    return _ENDED.get(reason)


def of_fault(delivery: Delivery) -> tuple[str, str]:
    """Result and line when our own code failed over it."""
    return ("uncertain", _FAULT_MID_LETTER) if delivery.state == "sending" else ("deferred", _FAULT)
