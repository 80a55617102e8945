"""Replies, read strictly and shown safely."""

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.smtp.reply import (
    BLOT,
    MAX_LINE,
    MAX_LINES,
    MAX_SHOWN,
    MAX_TOTAL,
    MalformedReply,
    Reply,
    ReplyReader,
    clean,
)
from tests.support.examples import examples

codes = st.integers(min_value=200, max_value=599)
texts = st.binary(max_size=60).filter(lambda text: b"\n" not in text and not text.endswith(b"\r"))


def whole(reply: tuple[int, list[bytes]], end: bytes = b"\r\n") -> bytes:
    code, lines = reply
    marks = [b"-"] * (len(lines) - 1) + [b" "]
    return b"".join(b"%d%s%s%s" % (code, mark, line, end) for mark, line in zip(marks, lines, strict=True))


def read_all(pieces: list[bytes]) -> list[Reply]:
    reader, replies = ReplyReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next()) is not None:
            replies.append(reply)
    return replies


@given(st.lists(st.tuples(codes, st.lists(texts, min_size=1, max_size=5)), max_size=5), st.data())
def test_it_reads_replies_however_they_are_cut_into_pieces(replies: list[tuple[int, list[bytes]]], data) -> None:
    stream = b"".join(whole(reply, data.draw(st.sampled_from([b"\r\n", b"\n"]))) for reply in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_all(pieces) == [Reply(code, tuple(lines)) for code, lines in replies]


@given(st.binary(max_size=300))
def test_it_takes_any_octets_for_replies_or_refuses_them(octets: bytes) -> None:
    try:
        replies = read_all([octets])
    except MalformedReply:
        return
    assert all(200 <= reply.code <= 599 for reply in replies)


# What replies are made of, and what they must not be.
TELLING = [
    *(b"250 ok\r\n", b"250-more\r\n", b"250\r\n", b"250 \n", b"354 go\r\n", b"550-5.1.1 no\r\n", b"550 5.1.1 no\r\n"),
    *(b"2", b"25", b"250", b"250-", b"250 ", b"\r", b"\n", b"\r\n", b"-", b" ", b"\0", b"\x1b[2J", b"\xff\xfe", b"ok"),
    *(b"2500", b"199 x\r\n", b"600 x\r\n", b"+OK\r\n", b"HTTP/1.1 400\r\n", b"\x16\x03\x01", b"250-a\r\n251 b\r\n"),
    *(
        b"x" * 4000,
        b"x" * (MAX_LINE - 4),
        b"x" * 97,
        b"250-a\r\n" * (MAX_LINES - 1),
        (b"250-" + b"x" * 4000 + b"\r\n") * 16,
    ),
]
OCTETS = st.lists(st.sampled_from(TELLING) | st.binary(max_size=8), max_size=8).map(b"".join)


def heard(pieces: list[bytes]) -> tuple[list[Reply], str]:
    """The replies in these pieces, and how it ends: with an error, or waiting for more."""
    reader, replies = ReplyReader(), []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (reply := reader.next()) is not None:
                replies.append(reply)
        except MalformedReply as error:
            return replies, f"{error}{error.foreign}"
        assert reader.held <= MAX_LINE + 1
        assert sum(map(len, reader._lines)) <= MAX_TOTAL
    return replies, f"waiting{reader.pending}{len(reader._lines)}"


@examples(300)
@given(OCTETS, st.integers(1, 5000), st.lists(st.integers(0, 20_000), max_size=6))
def test_it_hears_the_same_in_any_octets_however_they_are_cut(octets: bytes, size: int, cuts: list[int]) -> None:
    places = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
    cut = [octets[start:end] for start, end in pairwise(places)]
    even = [octets[start : start + size] for start in range(0, len(octets), size)] or [b""]
    assert heard([octets]) == heard(cut) == heard(even)
    for reply in heard(cut)[0]:
        assert 200 <= reply.code <= 599
        assert len(reply.lines) <= MAX_LINES
        shown = clean(reply.text)
        assert shown.isprintable()
        assert len(shown) <= MAX_SHOWN


@pytest.mark.parametrize(
    "line", [b"2500 ok", b"199 ok", b"600 ok", b"abc", b"25", b"", b" 250 ok", b"250:ok", b"25x ok"]
)
def test_it_refuses_what_is_no_reply_code(line: bytes) -> None:
    with pytest.raises(MalformedReply) as caught:
        read_all([line + b"\r\n"])
    assert caught.value.foreign


@pytest.mark.parametrize("octets", [b"H", b"-ERR", b"2x", b"\x16\x03", b"2500"])
def test_it_refuses_at_the_first_octet_that_does_not_fit(octets: bytes) -> None:
    with pytest.raises(MalformedReply):
        read_all([octets])


def test_it_waits_for_the_rest_of_what_may_become_a_reply() -> None:
    assert read_all([b"2"]) == read_all([b"25"]) == read_all([b"250"]) == read_all([b"250-a\r\n250"]) == []
    assert read_all([b"250\r\n"]) == [Reply(250, (b"",))]


def test_it_refuses_a_code_that_changes_and_a_second_line_that_is_none() -> None:
    for octets in (b"250-a\r\n550 b\r\n", b"250-a\r\nhello\r\n"):
        with pytest.raises(MalformedReply) as caught:
            read_all([octets])
        assert not caught.value.foreign


def test_it_bounds_lines_and_replies() -> None:
    assert len(read_all([b"250 " + b"x" * (MAX_LINE - 5) + b"\r\n"])) == 1
    for octets in (
        b"250 " + b"x" * MAX_LINE + b"\r\n",
        b"250 " + b"x" * (MAX_LINE + 1),
        b"250-x\r\n" * (MAX_LINES + 1),
        (b"250-" + b"x" * 4000 + b"\r\n") * 20,
    ):
        with pytest.raises(MalformedReply):
            read_all([octets])


@pytest.mark.parametrize(
    ("line", "enhanced"),
    [
        (b"250 2.1.0 ok", "2.1.0"),
        (b"535 5.7.139 no", "5.7.139"),
        (b"550 4.1.1 says otherwise", None),
        (b"550 5.1.1.1 no", None),
        (b"550 5.1 no", None),
        (b"550 5.7.1", "5.7.1"),
        (b"250 ok 2.0.0", None),
        (b"250", None),
    ],
)
def test_it_finds_the_enhanced_status_code(line: bytes, enhanced: str | None) -> None:
    (reply,) = read_all([line + b"\r\n"])
    assert reply.enhanced == enhanced


def test_it_joins_the_lines_and_says_the_enhanced_code_once() -> None:
    (reply,) = read_all([b"535-5.7.8 Username and Password not accepted.\r\n535 5.7.8  Learn more\r\n"])
    assert reply.text == "5.7.8 Username and Password not accepted. Learn more"


# ---- showing


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  a \t b\r\nc ", "a b c"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07x \x1b(B y", "red x y"),
        ("bell\x07 nul\x00 del\x7f c1\x85x", "bell nul del c1 x"),
        ("turn\u202earound zero\u200bwidth bom\ufeff", "turnaround zerowidth bom"),
        ("two\u2028lines", "two lines"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Grüße 🎉", "Grüße 🎉"),
        ("bad \ud800 surrogate", "bad surrogate"),
    ],
)
def test_it_shows_one_line_of_printable_characters(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_it_shows_a_bounded_piece() -> None:
    assert len(clean("x " * 10_000)) == MAX_SHOWN


@given(st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_it_never_shows_a_control_character_or_more_than_a_piece(text: str, secrets: list[str]) -> None:
    shown = clean(text, secrets)
    assert shown.isprintable() or "…" in shown
    assert len(shown) <= MAX_SHOWN


@given(
    st.text(max_size=50),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=30),
    st.text(max_size=50),
)
def test_it_blots_a_secret_out_wherever_and_however_it_stands(before: str, secret: str, after: str) -> None:
    for form in (secret, secret.upper(), base64.b64encode(secret.encode()).decode()):
        shown = clean(f"{before} {form} {after}", [secret])
        assert form.lower() not in shown.replace(BLOT, "").lower()


def test_it_blots_out_before_it_cuts_off() -> None:
    secret = "correct-horse-battery"
    assert secret[:6] not in clean("x" * (MAX_SHOWN - 10) + secret, [secret])
