"""Which passwords a person may choose: long enough, and not among those that are tried first.

No rule asks for digits or capitals (NIST SP 800-63B section 3.1.1.2); what is refused is what zxcvbn finds within a
million guesses: the most used passwords, keyboard rows, repeats, and this panel's, the account's and the person's name.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Any, Final

from flask import current_app
from flask_security import PasswordUtil, hash_password

TOO_EASY: Final = (
    "This password is among the first that somebody would try. "
    "Choose another, such as four words that have nothing to do with each other."
)
_WEAK: Final = 1  # zxcvbn's score for up to a million guesses
_LOOKED_AT: Final = 72  # characters; zxcvbn takes no more, as its time grows faster than a password
_ABOUT_US: Final = ("ownpost", "referral", "campaign", "newsletter")

# zxcvbn keeps the words of one call in a place that all calls share.
_one_at_a_time: Final = threading.Lock()


def too_easy(password: str, about: Iterable[str]) -> bool:
    """Whether somebody who knows these words `about` the person would find the password soon."""
    import zxcvbn  # its lists take some megabytes, which only those pay who choose a password

    words = {*_ABOUT_US, *(word for text in about for word in (text, *re.split(r"[\W_]+", text)) if len(word) > 2)}
    with _one_at_a_time:
        return int(zxcvbn.zxcvbn(password[:_LOOKED_AT], user_inputs=sorted(words))["score"]) <= _WEAK


def check(password: str, about: Iterable[str] = (), *, strict: bool = True) -> str:
    """The password as it is hashed. Raises ValueError with what is wrong with it.

    about: words that somebody who guesses would know; strict: whether one that is tried first is refused.
    """
    rules: PasswordRules = current_app.extensions["security"].password_util
    wrong, normal = rules.basics(password)
    if not wrong and strict and too_easy(normal, about):
        wrong = [TOO_EASY]
    if wrong:
        raise ValueError(" ".join(str(problem) for problem in wrong))
    return normal


def hashed(password: str, about: Iterable[str] = (), *, strict: bool = True) -> str:
    """Its hash. Raises ValueError as `check` does."""
    return str(hash_password(check(password, about, strict=strict)))


class PasswordRules(PasswordUtil):
    """What Flask-Security asks when somebody chooses a password."""

    def basics(self, password: str) -> tuple[list[str] | None, str]:
        """Flask-Security's own rules, of which we use the length."""
        wrong, normal = super().validate(password, is_register=False)
        return wrong, str(normal)

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        """Returns what is wrong with it, if anything, and the password as it is to be hashed."""
        wrong, normal = self.basics(password)
        if not wrong and too_easy(normal, _about(kwargs)):
            wrong = [TOO_EASY]
        return wrong, normal


def _about(known: dict[str, Any]) -> list[str]:
    user = known.get("user")
    if user is not None:
        return [user.email, user.name, user.account.name]
    return [value for value in known.values() if isinstance(value, str)]
