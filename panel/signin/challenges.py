"""What a browser's passkey was last asked. It waits in the session cookie, which is signed, and is taken once."""

from __future__ import annotations

import time

from flask import session

_KEEP = 300  # seconds


def put(purpose: str, challenge: str) -> None:
    """Keeps the challenge; an earlier one for the same purpose goes."""
    session[f"passkey_{purpose}"] = {"challenge": challenge, "until": time.time() + _KEEP}


def take(purpose: str) -> str | None:
    """The challenge that was put last, if it is still good."""
    found = session.pop(f"passkey_{purpose}", None)
    return str(found["challenge"]) if found and time.time() < found["until"] else None
