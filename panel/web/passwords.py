"""Which passwords are taken: long enough, and not among those that are guessed first."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_security import PasswordUtil

# Of 0 to 4 (zxcvbn): what is found within a million guesses is refused. By what may be tried in a day
# (panel/web/throttle.py) a million takes years.
_LEAST = 2
_LOOKED_AT = 72  # characters; working through more would only cost time


class Passwords(PasswordUtil):
    """Flask-Security's rules, and one of ours."""

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        """What is wrong with it, if anything, and its normal form."""
        problems, normal = super().validate(password, is_register, **kwargs)
        if not problems and _score(normal, _known_words(kwargs)) < _LEAST:
            problems = ["This password is among those that are guessed first. A few words in a row make a better one."]
        return problems, normal


def _score(password: str, words: list[str]) -> int:
    from zxcvbn import zxcvbn  # its lists take a moment to load, and most processes never need them

    return int(zxcvbn(password[:_LOOKED_AT], user_inputs=words)["score"])


def _known_words(given: dict[str, Any]) -> list[str]:
    user = given.get("user")
    email = str(getattr(user, "email", "") or given.get("email") or request.form.get("email", ""))
    account = getattr(getattr(user, "account", None), "name", "")
    return [word for word in ("ownpost", email, *email.replace("@", ".").split("."), *str(account).split()) if word]
