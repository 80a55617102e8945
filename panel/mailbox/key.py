"""What opens the capture mailbox: a key in the link that `ownpost up` prints, and the cookie that the link leaves."""

from __future__ import annotations

import hashlib
import hmac


def link_key(secret_key: str) -> str:
    """The key in the link. It is the same after a restart, so that a link or a cookie at hand goes on working."""
    return _derived(secret_key, "link")


def cookie_value(secret_key: str) -> str:
    """What a browser keeps that has opened the link. It opens nothing as a link."""
    return _derived(secret_key, "cookie")


def is_right(given: str, wanted: str) -> bool:
    """Compares in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _derived(secret_key: str, what: str) -> str:
    return hmac.new(secret_key.encode(), f"mailbox {what}".encode(), hashlib.sha256).hexdigest()[:32]
