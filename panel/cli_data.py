"""`ownpost db backup`, `ownpost db restored`, `ownpost account export` and `ownpost account delete`."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from panel import db, mark
from panel.clikit import account_named, load_settings, with_database


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_database
def backup(file: Path) -> None:
    """Write a copy of the SQLite database, while everything runs. Restored, it sends nothing until you say so."""
    url = load_settings().database_url
    if not url.startswith("sqlite"):
        raise click.ClickException("This database is PostgreSQL: use pg_dump (see docs/deploy.md).")
    if file.exists():
        raise click.ClickException(f"{file} is there already.")
    with db.system_scope("an operator makes a backup"):
        mark.ensure()
    # Made with these rights from its first byte on: it holds all that the database does.
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)) as source:
        source.execute("VACUUM INTO ?", (str(file),))
    mark.mark_as_backup(file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes.")


@click.command()
@click.option("--release", is_flag=True, help="Nothing was sent since the backup: send what waits.")
@click.option("--cancel-due", is_flag=True, help="It may have been sent: cancel what waited, and go on with the rest.")
@click.option("--stop", is_flag=True, help="The whole machine was set back: send nothing until you have looked.")
@with_database
def restored(release: bool, cancel_due: bool, stop: bool) -> None:
    """Say what becomes of a database that was restored, which sends nothing until then."""
    from panel.blasts import service as blasts
    from panel.deliveries import restored as after_restore

    if release + cancel_due + stop > 1:
        raise click.ClickException("Choose one: --release, --cancel-due or --stop.")
    with db.system_scope("an operator says what becomes of a restored database"):
        if stop:
            mark.stop_now(newest=after_restore.newest())
        stopped = mark.stop()
        if stopped is None:
            click.echo("Sending is not stopped.")
            return
        if not release and not cancel_due:
            _explain(stopped, after_restore.doubtful(stopped))
            sys.exit(0 if stop else 1)
        if cancel_due:
            click.echo(f"{after_restore.cancel_due(stopped):,} letters that waited in the backup are canceled.")
            click.echo(f"{blasts.ask_about_due():,} blasts whose time has come ask their owners first.")
        after_restore.go_on()
    click.echo("Sending goes on.")


def _explain(stopped: mark.Stop, doubtful: int) -> None:
    click.echo(f"Nothing is sent: {mark.WORDS[stopped.because]}.")
    click.echo(f"The database is as of {stopped.as_of:%Y-%m-%d %H:%M:%S} UTC.")
    click.echo(f"{doubtful:,} letters waited in it then. Whether they were sent since, it cannot know. Choose:")
    click.echo("  ownpost db restored --cancel-due   cancel these; their owners can resend them. What is new goes out.")
    click.echo("  ownpost db restored --release      send them: nothing was sent after the backup was made.")


@contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that has its name once it is whole, readable by its owner only: half of an export looks like one."""
    if file.exists():
        raise click.ClickException(f"{file} is there already.")
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # with mode 0600
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        Path(name).rename(file)
    except BaseException:
        Path(name).unlink()
        raise


@click.command(name="export")
@click.argument("name")
@click.option("--to", "file", required=True, type=click.Path(path_type=Path), help="The ZIP to write.")
@with_database
def export_account(name: str, file: Path) -> None:
    """Write everything of an account into a ZIP, but for what lets somebody in."""
    from panel.data import service as data

    with db.system_scope("an operator exports an account"):
        account_id = account_named(name).id
    with _new_file(file) as out:
        with db.account_scope(account_id):
            pieces = data.export()
        for piece in pieces:
            out.write(piece)
    click.echo(f"{file}: {file.stat().st_size:,} bytes.")


@click.command(name="delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do it.")
@with_database
def delete_account(name: str, yes: bool) -> None:
    """Delete an account with everything in it, at once and for good."""
    from panel.data import service as data

    with db.system_scope("an operator deletes an account"):
        account_id = account_named(name).id
    if not yes:
        raise click.ClickException(f"This deletes {name} for good: add --yes to do it.")
    try:
        data.delete_now(account_id)
    except data.Collided:
        raise click.ClickException(
            f"{name} is closed, but not all of it could be deleted: rows were added meanwhile, or point to some that "
            "were to go. The ticker goes on with it, and the log says each time what stood in the way."
        ) from None
    click.echo(f"{name} is deleted.")
