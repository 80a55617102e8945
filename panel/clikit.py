"""What the commands of `ownpost` have in common."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from panel import actor, embedded
from panel.actor import Actor
from panel.config import ConfigError, Settings

F = TypeVar("F", bound=Callable[..., Any])


def load_settings() -> Settings:
    """The environment's settings; beside a running `ownpost up` (or after one), what its data directory holds too."""
    data_dir = Path(os.environ.get("OWNPOST_DATA_DIR") or "var").absolute()
    try:
        return Settings.from_env({**embedded.saved_environment(data_dir), **os.environ})
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


def with_database(command: F) -> F:
    """Connects the database and Redis first; a database without the newest migration stops the command."""

    @wraps(command)
    def connected(*args: Any, **kwargs: Any) -> Any:
        from panel import create_app
        from panel.migrations import runner

        app = create_app(load_settings())
        if not runner.is_current():
            raise click.ClickException("The database is not up to date: run `ownpost db upgrade` first.")
        with app.app_context(), actor.acting(Actor(kind=actor.OPERATOR, name=_login())):
            return command(*args, **kwargs)

    return connected  # type: ignore[return-value]  # same parameters, which the type of `wraps` does not carry


def _login() -> str:
    """Who types the command, as the machine knows them."""
    try:
        return f"operator ({pwd.getpwuid(os.getuid()).pw_name})"
    except KeyError:
        return f"operator ({os.getuid()})"


def account_named(name: str) -> Any:
    """The account with that name, in a system scope; ends the command where there is none."""
    from panel.accounts import service as accounts

    found = accounts.find_by_name(name)
    if found is None:
        raise click.ClickException(f"There is no account {name!r}.")
    return found
