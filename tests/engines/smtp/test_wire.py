"""Letters and addresses as octets on the wire."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panel.smtp.outcome import About
from panel.smtp.trouble import Unsendable
from panel.smtp.wire import mailbox, terminated

bodies = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"..", b"\0", b"\x80"]), max_size=20).map(
    b"".join
)


def as_a_server_reads_it(octets: bytes) -> bytes:
    """RFC 5321 section 4.5.2 from the other side: up to the first line that is a lone dot; leading dots taken off."""
    lines = octets.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""], "something follows the final dot"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


@given(bodies)
@example(b"")
@example(b".")
@example(b"\r\n.\r\nMAIL FROM:<x>\r\n")
@example(b"a\n.\nb")
@example(b"a\r.\rb")
@example(b"a\r\n.\rb\n.\r\n")
def test_it_ends_at_the_final_dot_and_nowhere_before(body: bytes) -> None:
    octets = terminated(body)
    assert octets.endswith(b".\r\n")
    assert re.sub(rb"\r\n", b"", octets).count(b"\r") == re.sub(rb"\r\n", b"", octets).count(b"\n") == 0
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", body)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert as_a_server_reads_it(octets) == expected


def test_it_leaves_a_letter_in_order_as_it_is() -> None:
    assert terminated(b"Subject: x\r\n\r\nbody\r\n") == b"Subject: x\r\n\r\nbody\r\n.\r\n"


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("a@example.com", "a@example.com"),
        ("first.last+tag@sub.example.com", "first.last+tag@sub.example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("jürgen@example.com", "jürgen@example.com"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@localhost", "a@localhost"),
    ],
)
def test_it_writes_mailboxes(address: str, path: str) -> None:
    assert mailbox(address, about=About.RECIPIENT) == path


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "a", "a@", "@b", "a b@c.d", "a@b c", "a@b>", "<a@b", "a@b\r\n", "a\u2028@b.c", "a\x85@b.c", "a@b..\n",
        ".a@b.c", "a.@b.c", "a..b@c.d", '"a"b"@c.d', '"a\\"@c.d', "x" * 65 + "@b.c", "a@" + "b" * 254, "a@\u2025.c",
        "a@-ü.c", "a@b..c", "a@b.c.", "a@.b.c", "a@" + "b" * 64 + ".c", "ü@" + "b" * 64 + ".c",
        "\ud800@b.c", "ü\u202e@b.c", "ü@\ud800.c", "ü@b..c",
    ],
)  # fmt: skip
def test_it_refuses_what_is_no_mailbox(address: str) -> None:
    with pytest.raises(Unsendable) as caught:
        mailbox(address, about=About.SENDER)
    assert caught.value.about is About.SENDER


@given(st.text(max_size=30))
def test_it_never_writes_what_could_end_the_command(address: str) -> None:
    try:
        path = mailbox(address, about=About.RECIPIENT)
    except Unsendable:
        return
    assert not re.search(r"[\r\n\0<>]", path) or path.startswith('"')
    assert not re.search(r"[\r\n\0]", path)
