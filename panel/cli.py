"""The `ownpost` command."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click

from panel import cli_data, cli_keys, db
from panel.accounts.service import SCOPES, User
from panel.cli_sandbox import sandbox
from panel.clikit import account_named, load_settings, with_database
from panel.web import logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ownpost")
def main() -> None:
    """Campaign mail through the account's own mail server."""
    logs.configure()


main.add_command(sandbox)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
@click.option(
    "--data-dir",
    default="var",
    show_default=True,
    envvar="OWNPOST_DATA_DIR",
    type=click.Path(path_type=Path),
    help="Where database, keys and the mailbox are kept.",
)
@click.option("--workers", default=2, show_default=True, help="Delivery workers.")
@click.option("--demo", is_flag=True, help="Add an account with a campaign, participants and past deliveries.")
def up(host: str, port: int, data_dir: Path, workers: int, demo: bool) -> None:
    """Run everything on this machine."""
    from panel import up as supervisor

    sys.exit(supervisor.run(host=host, port=port, data_dir=data_dir, workers=workers, demo=demo))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, help="The port to listen on.")
@click.option("--processes", default=1, show_default=True, help="How many serve side by side.")
def web(host: str, port: int, processes: int) -> None:
    """Serve the panel."""
    from panel import server

    server.run(load_settings(), host=host, port=port, processes=processes)


@main.command()
@click.option(
    "--queue",
    "name",
    required=True,
    type=click.Choice(["interactive", "delivery", "housekeeping"]),
    help="Tests, letters, or all the rest.",
)
@click.option("--count", default=1, show_default=True, help="How many work side by side.")
def worker(name: str, count: int) -> None:
    """Work on one queue."""
    from jobs import worker as workers

    workers.run(load_settings(), name=name, count=count)


@main.command()
def ticker() -> None:
    """Ring for what is due, every few seconds."""
    from jobs import ticker as clockwork

    clockwork.run(load_settings())


@main.group(name="db")
def database() -> None:
    """The database."""


@database.command()
def upgrade() -> None:
    """Migrate it to the newest version."""
    from panel.migrations import runner

    db.connect(load_settings().database_url)
    runner.upgrade()


@main.group()
def user() -> None:
    """People who sign in."""


@user.command(name="add")
@click.argument("email")
@click.option("--account", "account_name", required=True, help="The account's name; it is made if need be.")
@click.option(
    "--role",
    default="owner",
    show_default=True,
    type=click.Choice(["owner", "member"]),
    help="Members may not change servers, addresses, people and keys.",
)
@with_database
def add_user(email: str, account_name: str, role: str) -> None:
    """Add a person; the password comes from the prompt, or from the first line of stdin."""
    from panel.accounts import service as accounts

    hashed = _hash_of_password()
    with db.system_scope("an operator adds a user"):
        account = accounts.ensure(account_name)
        try:
            added = accounts.add_user(account_id=account.id, email=email, password_hash=hashed, role=role)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{added.email} may sign in to {account.name} as {role}.")


@user.command(name="forget-second-factor")
@click.argument("email")
@with_database
def forget_second_factor(email: str) -> None:
    """Let somebody in by password alone who has lost app, passkeys and recovery codes."""
    from panel.signin import service as signin

    found = _login(email)
    with db.account_scope(found.account_id):
        signin.forget_everything(signin.By(found))
    click.echo(f"{found.email} now signs in by password alone, and is told so by letter.")


@user.command(name="sign-out")
@click.argument("email")
@with_database
def sign_out(email: str) -> None:
    """End all sign-ins of somebody, wherever they are."""
    from panel.signin import signins

    found = _login(email)
    with db.account_scope(found.account_id):
        signins.end_all(found)
    click.echo(f"{found.email} is signed out everywhere.")


def _login(email: str) -> User:
    from panel.accounts import service as accounts

    with db.system_scope("an operator looks for a login"):
        try:
            found = accounts.find_user(email)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
    if found is None:
        raise click.ClickException(f"Nobody signs in with {email}.")
    return found


def _hash_of_password() -> str:
    from panel.web import passwords

    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    try:
        hashed = passwords.hashed(password, strict=False)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if passwords.too_easy(password, ()):
        click.echo(f"Warning: {passwords.TOO_EASY}", err=True)
    return hashed


@main.group()
def apikey() -> None:
    """Keys of the API."""


@apikey.command(name="add")
@click.option("--account", "account_name", required=True, help="The name of the account that it is for.")
@click.option("--label", default="", help="What it is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="Repeatable; without any: all.")
@with_database
def add_apikey(account_name: str, label: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it; it is never shown again."""
    from panel.accounts import service as accounts

    with db.system_scope("an operator adds an API key"):
        account_id = account_named(account_name).id
    with db.account_scope(account_id):
        click.echo(accounts.add_api_key(label, scopes=scopes or SCOPES))


@main.group()
def account() -> None:
    """What an operator may do to an account."""


@account.command()
@click.argument("name")
@with_database
def suspend(name: str) -> None:
    """Stop an account's sending; what is due is held."""
    from panel.accounts import service as accounts

    with db.system_scope("an operator suspends an account"):
        accounts.suspend(account_named(name), suspended=True)
    click.echo(f"{name} is suspended.")


@account.command()
@click.argument("name")
@with_database
def resume(name: str) -> None:
    """Free an account's sending."""
    from panel.accounts import service as accounts

    with db.system_scope("an operator resumes an account"):
        accounts.suspend(account_named(name), suspended=False)
    click.echo(f"{name} may send again.")


@account.command()
@click.argument("name")
@click.option("--platform-per-day", required=True, type=click.IntRange(min=0), help="Letters a day; 0: none.")
@with_database
def limit(name: str, platform_per_day: int) -> None:
    """Say how many letters a day it may send by the platform server."""
    from panel.accounts import service as accounts

    with db.system_scope("an operator limits an account"):
        accounts.limit_platform(account_named(name), platform_per_day)
    click.echo(f"{name} may send {platform_per_day} letters a day by the platform server.")


@main.command()
def doctor() -> None:
    """Check settings, database, Redis, keys and the platform server."""
    from panel import doctor as checks

    sys.exit(checks.run(load_settings))


@main.command(hidden=True)
@with_database
def demo() -> None:
    """Add the demo account; `ownpost up --demo` calls this."""
    from panel.stats import demo as seeds

    click.echo(seeds.add())


main.add_command(cli_keys.keys)
database.add_command(cli_data.backup)
database.add_command(cli_data.restored)
account.add_command(cli_data.export_account)
account.add_command(cli_data.delete_account)


if __name__ == "__main__":
    main()
