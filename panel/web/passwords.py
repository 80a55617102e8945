"""Passwords of logins, by the rules of every page where one is chosen."""

from __future__ import annotations

from flask import current_app
from flask_security import hash_password


def check(password: str) -> str:
    """The password as it is hashed. Raises ValueError with what is wrong with it."""
    problems, normal = current_app.extensions["security"].password_util.validate(password, is_register=False)
    if problems:
        raise ValueError(" ".join(str(problem) for problem in problems))
    return str(normal)


def hashed(password: str) -> str:
    """Its hash. Raises ValueError as `check` does."""
    return str(hash_password(check(password)))
