"""Letters, read back with the standard library's parser: exactly one message, to whom and about what was meant."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.message.addresses import one_line
from panel.message.letter import Letter, LetterHeaders, build, new_message_id
from panel.message.template import Rendered

WHEN = datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC)
ANY = st.text(max_size=400)
NASTY = st.text(st.sampled_from('ab ."\\<>,;:@=?_-\r\n\0\t\x0b\x85\u2028\u202eé日🎉\ud800{}%'), max_size=120)
HEADERS = {
    "from_name": "Acme Coffee",
    "from_address": "hello@acme.example",
    "to_name": "Robin Meyer",
    "to_address": "robin@example.com",
    "message_id": "<abc@acme.example>",
    "date": WHEN,
}


def letter(*, subject: str = "Hello", html: str = "<p>Hello</p>", text: str = "Hello", **headers: object) -> Letter:
    fields = LetterHeaders(**{**HEADERS, **headers})  # type: ignore[arg-type]
    return build(headers=fields, rendered=Rendered(subject=subject, html=html, text=text))


def read(octets: bytes) -> EmailMessage:
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def mailboxes(octets: bytes, field: str) -> list[tuple[str, str]]:
    """Names and addresses of a field, by the older of the library's readers: the newer one, in Python 3.11, puts blanks
    between the encoded words of a display name (RFC 2047 §6.2 says to ignore those)."""
    raw = message_from_bytes(octets, policy=policy.compat32)
    return [(str(make_header(decode_header(name))), address) for name, address in getaddresses(raw.get_all(field, []))]


def bodies(octets: bytes) -> list[str]:
    parts = list(read(octets).iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    return [part.get_content().replace("\r\n", "\n") for part in parts]  # type: ignore[attr-defined]


def assert_travels(octets: bytes) -> None:
    """What RFC 5322 asks of every line: ended by CRLF, no bare CR or LF, no NUL, at most 998 octets."""
    assert octets.endswith(b"\r\n")
    assert b"\0" not in octets
    lines = octets.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998


def test_it_builds_a_letter_with_all_its_headers():
    octets = letter(reply_to="owner@acme.example", unsubscribe_url="https://acme.example/u/abc?x=1&y=2").wire(
        eightbit=False
    )
    message = read(octets)
    assert {name: value for name, value in message.items() if name not in {"From", "To", "Content-Type"}} == {
        "Subject": "Hello",
        "Date": "Mon, 23 Nov 2026 10:00:05 +0000",
        "Message-ID": "<abc@acme.example>",
        "Reply-To": "owner@acme.example",
        "List-Unsubscribe": "<https://acme.example/u/abc?x=1&y=2>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
    }
    assert mailboxes(octets, "From") == [("Acme Coffee", "hello@acme.example")]
    assert mailboxes(octets, "To") == [("Robin Meyer", "robin@example.com")]
    assert message.get_content_type() == "multipart/alternative"
    assert bodies(octets) == ["Hello", "<p>Hello</p>"]


def test_it_leaves_out_what_was_not_given():
    message = read(letter(to_name=None).wire(eightbit=False))
    assert message["To"] == "robin@example.com"
    assert "Reply-To" not in message
    assert "List-Unsubscribe" not in message
    assert "List-Unsubscribe-Post" not in message


def test_it_keeps_a_long_unsubscribe_link_on_one_unencoded_line():
    url = f"https://acme.example/u/{'a' * 700}"
    octets = letter(unsubscribe_url=url).wire(eightbit=True)
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in octets
    assert_travels(octets)


def test_it_makes_the_same_letter_to_the_byte_again():
    same = [letter(subject="Grüße", text="ä").wire(eightbit=eightbit) for eightbit in (True, False, True, False)]
    assert same[0] == same[2]
    assert same[1] == same[3]


def test_it_chooses_a_boundary_that_occurs_in_no_body():
    boundary = letter().boundary.decode()
    octets = letter(text=f"--{boundary}\n\nContent-Type: text/html\n\n<b>x</b>\n--{boundary}--").wire(eightbit=True)
    assert read(octets).get_boundary() != boundary
    assert f"--{boundary}--" in bodies(octets)[0]


@pytest.mark.parametrize(
    ("text", "eightbit", "encoding"),
    [
        ("plain", False, "7bit"),
        ("plain", True, "7bit"),
        ("ä", True, "8bit"),
        ("ä", False, "quoted-printable"),
        ("a" * 999, True, "quoted-printable"),
        ("ä" * 500, True, "quoted-printable"),
        ("a" * 998, False, "7bit"),
    ],
)
def test_it_encodes_a_body_only_as_far_as_the_server_needs(text: str, eightbit: bool, encoding: str):
    octets = letter(text=text).wire(eightbit=eightbit)
    assert next(read(octets).iter_parts())["Content-Transfer-Encoding"] == encoding
    assert bodies(octets)[0] == text
    assert_travels(octets)


@pytest.mark.parametrize("before", ["\r", "\n", "\r\n", "\r\r\n", "\n\r"])
@pytest.mark.parametrize("after", ["\r", "\n", "\r\n", "\n\r", ""])
@pytest.mark.parametrize("eightbit", [True, False])
def test_it_turns_any_mix_of_breaks_around_a_dot_into_whole_lines(before: str, after: str, eightbit: bool):
    octets = letter(text=f"é{before}.{after}end").wire(eightbit=eightbit)
    assert_travels(octets)
    assert re.sub(r"\n+", "\n", bodies(octets)[0]) == re.sub(r"[\r\n]+", "\n", f"é{before}.{after}end")


@pytest.mark.parametrize(
    "subject",
    [
        "Short",
        "Grüße aus Köln",
        "🎉" * 60,
        "word " * 50,
        "w" * 300,
        "=?utf-8?q?fake?=",
        "a =?utf-8?b?ZmFrZQ==?= b",
        "日本語の件名" * 20,
        "",
        "tab\tand  two blanks",
        f"{'x' * 70} {'y' * 70}",
    ],
)
def test_it_carries_any_subject_unchanged_in_lines_of_76_characters(subject: str):
    octets = letter(subject=subject).wire(eightbit=False)
    header = octets.partition(b"\r\n\r\n")[0]
    assert max(map(len, header.split(b"\r\n"))) <= 76
    assert not re.search(rb"\r\n[ \t]*\r\n", header)
    assert read(octets)["Subject"] == one_line(subject)


@pytest.mark.parametrize(
    "name",
    [
        "O'Neil, Bob",
        'Bob "The Builder"',
        "Back\\slash",
        "Zoë",
        "日本語",
        "a" * 300,
        "é" * 300,
        "=?x?=",
        "<eve@evil.example>",
    ],
)
def test_it_carries_any_display_name_unchanged(name: str):
    octets = letter(from_name=name, to_name=name).wire(eightbit=False)
    assert_travels(octets)
    assert mailboxes(octets, "From") == [(name, "hello@acme.example")]
    assert mailboxes(octets, "To") == [(name, "robin@example.com")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to_address", "robin@example.com\r\nBcc: eve@evil.example"),
        ("to_address", "robin@example.com, eve@evil.example"),
        ("to_address", "robin@example.com> <eve@evil.example"),
        ("to_address", "røbin@example.com"),
        ("to_address", ""),
        ("from_address", "hello@acme.example\n"),
        ("reply_to", "a@b.example (x)"),
        ("message_id", "<abc@acme.example>\r\nBcc: eve@evil.example"),
        ("message_id", "abc"),
        ("unsubscribe_url", "https://acme.example/>\r\nBcc: eve@evil.example"),
        ("unsubscribe_url", "https://acme.example/ü"),
        ("unsubscribe_url", "https://acme.example/a b"),
        ("unsubscribe_url", "javascript:alert(1)"),
        ("unsubscribe_url", f"https://acme.example/{'a' * 1000}"),
    ],
)
def test_it_refuses_to_build_with_what_cannot_stand_in_a_header(field: str, value: str):
    with pytest.raises(ValueError, match="cannot stand"):
        letter(**{field: value})


def test_it_writes_the_date_with_its_own_offset():
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
    assert b"\r\nDate: Fri, 02 Jan 2026 03:04:05 -0530\r\n" in letter(date=date).wire(eightbit=True)


def test_it_makes_message_ids_that_never_repeat():
    ids = {new_message_id(domain="acme.example") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"<[0-9a-f]+@acme\.example>", one) for one in ids)
    letter(message_id=ids.pop())


@settings(deadline=None)
@given(ANY | NASTY, ANY | NASTY, ANY | NASTY, ANY | NASTY, ANY | NASTY, st.booleans())
def test_it_is_exactly_one_message_whatever_the_values(
    from_name: str, to_name: str, subject: str, html: str, text: str, eightbit: bool
):
    octets = letter(from_name=from_name, to_name=to_name, subject=subject, html=html, text=text).wire(eightbit=eightbit)
    assert_travels(octets)
    if not eightbit:
        assert octets.isascii()
    message = read(octets)
    assert [name for name, _ in message.items()] == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    ]  # fmt: skip
    assert message["Subject"] == one_line(subject)
    assert mailboxes(octets, "From") == [(one_line(from_name), "hello@acme.example")]
    assert mailboxes(octets, "To") == [(one_line(to_name), "robin@example.com")]
    assert len(message["To"].addresses) == len(message["From"].addresses) == 1
    read_text, read_html = bodies(octets)
    for sent, came in ((text, read_text), (html, read_html)):
        normal = re.sub(r"\r\n?", "\n", sent.encode(errors="replace").decode())
        kept = "".join(c for c in normal if c == "\n" or (c >= " " and c != "\x7f"))
        assert came == kept.rstrip("\n")
