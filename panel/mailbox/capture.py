"""An SMTP server on loopback that keeps every letter in a folder and sends nothing on.

It runs as a program of its own and imports nothing of the panel. Each letter is two files: `<id>.eml`, the bytes as
they came, and `<id>.json`, the envelope. The id is the time in nanoseconds and a running number, so that ids sort by
time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections import deque
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

KEPT = 500
LARGEST_LETTER = 40 * 1024 * 1024


class Folder:
    """The folder of letters: `add` one, and the oldest beyond `kept` go."""

    def __init__(self, directory: Path, *, kept: int = KEPT) -> None:
        self._directory = directory
        self._kept = kept
        self._ids = deque(sorted(path.stem for path in directory.glob("*.eml")))
        self._numbers = itertools.count(1)

    def add(self, *, mail_from: str, rcpt_tos: list[str], content: bytes) -> str:
        """Stores one letter, whole or not at all, and returns its id."""
        now = time.time_ns()
        letter_id = f"{now:019d}-{next(self._numbers):06d}"
        envelope = {"mail_from": mail_from, "rcpt_tos": rcpt_tos, "received_at": now / 1e9}
        # The envelope first: a letter is there as soon as its .eml is, and then has everything.
        self._write(f"{letter_id}.json", json.dumps(envelope).encode())
        self._write(f"{letter_id}.eml", content)
        self._ids.append(letter_id)
        while len(self._ids) > self._kept:
            oldest = self._ids.popleft()
            (self._directory / f"{oldest}.eml").unlink(missing_ok=True)
            (self._directory / f"{oldest}.json").unlink(missing_ok=True)
        return letter_id

    def _write(self, name: str, content: bytes) -> None:
        draft = self._directory / f"{name}.new"
        draft.write_bytes(content)
        draft.replace(self._directory / name)


class Handler:
    """What aiosmtpd calls: every sender and every recipient is welcome."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keeps the letter; the reply is the server's (RFC 5321 §4.2)."""
        content = envelope.original_content or b""
        letter_id = self._folder.add(
            mail_from=envelope.mail_from or "", rcpt_tos=list(envelope.rcpt_tos), content=content
        )
        return f"250 2.0.0 kept as {letter_id}"


async def serve(directory: Path, port: int) -> None:
    """Listens on loopback until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    handler = Handler(Folder(directory))

    def connection() -> SMTP:
        return SMTP(handler, hostname="mailbox.localhost", data_size_limit=LARGEST_LETTER, enable_SMTPUTF8=True)

    server = await loop.create_server(connection, "127.0.0.1", port)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
