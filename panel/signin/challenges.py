"""What a browser's passkey was last asked. It waits in the session cookie, which is signed.

Who keeps a copy of the cookie can come with it again, so taking a challenge out of it uses nothing up: whoever looks at
the answer goes by when it was asked.
"""

from __future__ import annotations

import datetime as dt
import time

from flask import session

from panel.signin.passkeys import Challenge

_KEEP = 300  # seconds


def put(purpose: str, challenge: str) -> None:
    """Keeps the challenge; an earlier one for the same purpose goes."""
    session[f"passkey_{purpose}"] = {"challenge": challenge, "until": time.time() + _KEEP}


def take(purpose: str) -> Challenge | None:
    """The challenge that was put last, if it is still good."""
    found = session.pop(f"passkey_{purpose}", None)
    if not found or time.time() >= found["until"]:
        return None
    return Challenge(str(found["challenge"]), dt.datetime.fromtimestamp(found["until"] - _KEEP, dt.UTC))
