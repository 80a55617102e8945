"""The capture mailbox's server, as the program that `ownpost up` runs."""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import panel.mailbox
from panel.mailbox.capture import Folder
from panel.process import die_with_parent
from tests.support.ports import free_port
from tests.support.wait import wait_for

PROGRAM = Path(panel.mailbox.__file__).parent / "capture.py"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    chosen = free_port()
    (tmp_path / "mailbox").mkdir()
    command = [sys.executable, "-P", PROGRAM, tmp_path / "mailbox", str(chosen)]
    process = subprocess.Popen(command, preexec_fn=die_with_parent)
    try:
        wait_for(lambda: _greets(chosen), 60, what="the mailbox's greeting")
        yield chosen
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _greets(port: int) -> bool:
    try:
        smtplib.SMTP("127.0.0.1", port, timeout=10).close()
    except OSError:
        return False
    return True


def test_it_keeps_a_letter_to_the_byte_with_its_envelope(port: int, tmp_path: Path):
    letter = b"From: a@example.test\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n.dot first\r\n8-bit \xe2\x82\xac\r\n"
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("a@example.test", ["b@example.test", "c@example.test"], letter, ["BODY=8BITMIME"])
    [kept] = (tmp_path / "mailbox").glob("*.eml")
    assert kept.read_bytes() == letter
    envelope = json.loads(kept.with_suffix(".json").read_text())
    assert envelope["mail_from"] == "a@example.test"
    assert envelope["rcpt_tos"] == ["b@example.test", "c@example.test"]


def test_it_listens_on_loopback_only(port: int):
    sockets = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[3] for line in sockets.splitlines()] == [f"127.0.0.1:{port}"]


def test_it_keeps_only_the_newest(tmp_path: Path):
    folder = Folder(tmp_path, kept=3)
    ids = [folder.add(mail_from="", rcpt_tos=[], content=b"%d" % number) for number in range(5)]
    assert sorted(path.stem for path in tmp_path.glob("*.eml")) == ids[2:]
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ids[2:]


def test_it_counts_what_an_earlier_run_has_kept(tmp_path: Path):
    earlier = Folder(tmp_path, kept=3)
    ids = [earlier.add(mail_from="", rcpt_tos=[], content=b"") for _ in range(3)]
    ids.append(Folder(tmp_path, kept=3).add(mail_from="", rcpt_tos=[], content=b""))
    assert sorted(path.stem for path in tmp_path.glob("*.eml")) == ids[1:]
