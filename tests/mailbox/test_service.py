"""Reading what was captured, whatever it is."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from panel.mailbox import service
from panel.mailbox.capture import Folder


def keep(directory: Path, content: bytes) -> str:
    return Folder(directory).add(mail_from="a@example.test", rcpt_tos=["b@example.test"], content=content)


def test_it_lists_the_newest_first(tmp_path: Path):
    ids = [keep(tmp_path, b"Subject: %d\r\n\r\n" % number) for number in range(4)]
    assert [letter.subject for letter in service.newest(tmp_path, offset=0, limit=10)] == ["3", "2", "1", "0"]
    assert [letter.id for letter in service.newest(tmp_path, offset=1, limit=2)] == [ids[2], ids[1]]


def test_it_reads_both_parts_and_the_header(tmp_path: Path):
    message = EmailMessage()
    message["From"] = "Zoë <a@example.test>"
    message["Subject"] = "Grüße"
    message.set_content("Plain ☕")
    message.add_alternative("<p>Rich ☕</p>", subtype="html")
    letter = service.read(tmp_path, keep(tmp_path, message.as_bytes()))
    assert letter is not None
    assert letter.summary.from_text == "Zoë <a@example.test>"
    assert letter.summary.subject == "Grüße"
    assert letter.summary.recipients == ("b@example.test",)
    assert letter.text == (service.Piece(text="Plain ☕\n", is_link=False),)
    assert letter.html == "<p>Rich ☕</p>\n"
    assert ("Subject", "Grüße") in letter.headers


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"no header at all",
        b"Subject: =?nowhere?q?=ff?=\r\nFrom: <<<>>,\r\n\r\nbody",
        b"Content-Type: text/plain; charset=nowhere\r\n\r\n\xff\xfe",
        b"Content-Type: multipart/alternative; boundary=x\r\n\r\nnever closed --x",
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!",
        b"To: \r\n bad\r\n  @@\r\nDate: never\r\nContent-Disposition: =\r\n\r\nbody",
    ],
)
def test_it_shows_broken_letters_as_well_as_they_can_be_shown(tmp_path: Path, content: bytes):
    letter_id = keep(tmp_path, content)
    assert service.read(tmp_path, letter_id) is not None
    assert service.raw(tmp_path, letter_id) == content
    assert [letter.id for letter in service.newest(tmp_path, offset=0, limit=9)] == [letter_id]


@pytest.mark.parametrize("name", ["..%2f..%2fetc%2fpasswd", "../secret", "", "1-1", "0" * 19 + "-000001"])
def test_it_knows_no_letter_by_another_name(tmp_path: Path, name: str):
    (tmp_path / "mailbox").mkdir()
    (tmp_path / "secret.eml").write_bytes(b"secret")
    assert service.read(tmp_path / "mailbox", name) is None
    assert service.raw(tmp_path / "mailbox", name) is None


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See https://a.test/x?y=1&z=2.", ["https://a.test/x?y=1&z=2"]),
        ("(http://a.test/) and <http://b.test/b>", ["http://a.test/", "http://b.test/b"]),
        ("javascript:alert(1) mailto:a@b.test ftp://a.test", []),
        ("no link", []),
    ],
)
def test_it_finds_the_links_of_plain_text(text: str, links: list[str]):
    found = list(service.pieces(text))
    assert [piece.text for piece in found if piece.is_link] == links
    assert "".join(piece.text for piece in found) == text
