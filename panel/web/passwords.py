"""Which passwords a person may choose: long enough, and not among those that are tried first.

No rule asks for digits or capitals (NIST SP 800-63B section 3.1.1.2); what is refused is what zxcvbn finds within a
million guesses: the most used passwords, keyboard rows, repeats, and this panel's, the account's and the person's name.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Any, Final

from flask_security import PasswordUtil

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


class PasswordRules(PasswordUtil):  # type: ignore[misc]  # Flask-Security has no types
    """What Flask-Security asks when somebody chooses a password."""

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        """Returns what is wrong with it, if anything, and the password as it is to be hashed."""
        wrong, normal = super().validate(password, is_register, **kwargs)
        if not wrong and too_easy(normal, _about(kwargs)):
            wrong = [TOO_EASY]
        return wrong, normal


def _about(known: dict[str, Any]) -> list[str]:
    user = known.get("user")
    if user is not None:
        return [user.email, user.name, user.account.name]
    return [value for value in known.values() if isinstance(value, str)]
