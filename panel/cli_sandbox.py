"""`ownpost sandbox`: a misbehaving mail server in a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import click

from panel.sandbox.certificates import Authority
from panel.sandbox.misdeeds import EVERYDAY, HOSTILE, PLAYS
from panel.sandbox.script import Script, ScriptError
from panel.sandbox.server import SandboxServer


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=2526, show_default=True, help="0: one that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--script", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What to play.")
@click.option("--play", "name", metavar="NAME", help="Play one of the scripts that come with it.")
@click.option("--play-all", is_flag=True, help="Play all that come with it, each on a port of its own, from PORT on.")
@click.option("--list", "listed", is_flag=True, help="Show what comes with it.")
@click.option("--show", "shown", metavar="NAME", help="Show one of these scripts, to begin your own with.")
@click.option("--ca-file", type=click.Path(dir_okay=False, path_type=Path), help="Where its CA certificate is kept.")
def sandbox(
    port: int,
    host: str,
    path: Path | None,
    name: str | None,
    play_all: bool,
    listed: bool,
    shown: str | None,
    ca_file: Path | None,
) -> None:
    """A misbehaving SMTP server for trying things out: accepts, defers, refuses, hangs up, stalls, as scripted."""
    if listed:
        click.echo(_list())
    elif shown:
        click.echo(_known(shown) or "# Nothing: it does the usual.")
    elif sum((path is not None, name is not None, play_all)) > 1:
        raise click.UsageError("Give one of --script, --play and --play-all.")
    else:
        texts = {one: play.script for one, play in PLAYS.items()} if play_all else _chosen(path, name)
        _serve(texts, host=host, port=port, ca_file=ca_file)


def _list() -> str:
    lines = []
    for title, plays in (("Servers as people meet them", EVERYDAY), ("Servers that misbehave", HOSTILE)):
        lines += ["", f"{title}:", *(f"  {name:20} {play.about}" for name, play in plays.items())]
    return "\n".join(lines[1:])


def _known(name: str) -> str:
    if name not in PLAYS:
        raise click.UsageError(f"There is no {name!r}; --list shows what there is.")
    return PLAYS[name].script


def _chosen(path: Path | None, name: str | None) -> dict[str, str]:
    if path is not None:
        return {path.name: path.read_text()}
    return {name: _known(name)} if name is not None else {"accepts": ""}


def _serve(texts: dict[str, str], *, host: str, port: int, ca_file: Path | None) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    authority = _authority(ca_file)
    with ExitStack() as stack:
        for place, (name, text) in enumerate(texts.items()):
            wanted = port + place if port else 0
            server = stack.enter_context(_listening(name, text, authority, host, wanted, len(texts) > 1))
            click.echo(f"{name} listens on {host} port {server.port}")
        if ca_file is not None:
            click.echo(f"Its CA certificate, to be trusted by whom you try it with, is in {ca_file}")
        click.echo("Ctrl-C stops it.")
        stop.wait()
    sys.exit(0)


def _authority(ca_file: Path | None) -> Authority:
    if ca_file is None:
        return Authority.new()
    try:
        return Authority.kept(ca_file)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"Cannot keep a CA certificate in {ca_file}: {error}") from None


def _listening(name: str, text: str, authority: Authority, host: str, port: int, several: bool) -> SandboxServer:
    prefix = f"{name} " if several else ""

    def tell(number: int, line: str) -> None:
        click.echo(f"{prefix}{number:>3} {line}")

    try:
        return SandboxServer(Script.parse(text), authority=authority, host=host, port=port, tell=tell)
    except ScriptError as problem:
        raise click.ClickException(f"{name}, {problem}") from None
    except OSError as error:
        raise click.ClickException(f"Cannot listen on {host} port {port}: {error.strerror or error}") from None
