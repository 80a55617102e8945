"""`ownpost key`: the encryption keys."""

from __future__ import annotations

import sys
import uuid

import click

from panel import db, sealed
from panel.clikit import load_settings, with_database


@click.group(name="key")
def keys() -> None:
    """The encryption keys."""


@keys.command()
@with_database
def rotate() -> None:
    """Seal every stored secret anew with the first of OWNPOST_ENCRYPTION_KEYS, while everything runs."""
    from panel.accounts import service as accounts

    def note(account_id: uuid.UUID, count: int) -> None:
        accounts.audit("secrets.resealed", account_id=account_id, count=count, key=keyring.first_id)

    keyring = load_settings().keyring
    with db.system_scope("an operator rotates the keys"):
        done = sealed.rotate(keyring, note=note)
        left = sealed.by_key()
    for keeper in sealed.keepers():
        table = keeper.model.__tablename__
        words = f"{table}: {done.renewed[table]} sealed with {keyring.first_id}"
        unreadable = done.unreadable[table]
        click.echo(words + (f", {unreadable} that none of the keys opens" if unreadable else ""))
    unused = [key for key in keyring.ids[1:] if not left[key]]
    if unused:
        click.echo(f"Nothing needs {', '.join(unused)} any more: take it out of OWNPOST_ENCRYPTION_KEYS and restart.")
    unknown = {key: count for key, count in left.items() if key not in keyring.ids}
    if unknown:
        click.echo(f"Missing keys: {', '.join(sorted(unknown))}. Add them, or have the passwords entered again.")
    # What somebody saved meanwhile by a process that does not have the new key first yet.
    sys.exit(1 if unknown or any(left[key] for key in keyring.ids[1:]) else 0)
