"""Addresses and header texts: what passes cannot break out of a header field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.message.addresses import (
    InvalidAddress,
    InvalidHeaderText,
    Normaliser,
    body_text,
    canonical,
    check_header_text,
    normalise,
    one_line,
)

LINE_BREAKS = ["\r", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("Bob@Example.COM", "bob@example.com"),
        (" bob@example.com ", "bob@example.com"),
        ("bob@bücher.example.com", "bob@xn--bcher-kva.example.com"),
        ("o'neil+x@sub.example.org", "o'neil+x@sub.example.org"),
        ("bob@acme.test", "bob@acme.test"),
        ("bob%elsewhere.example@example.com", "bob%elsewhere.example@example.com"),
        ("elsewhere.example!bob@example.com", "elsewhere.example!bob@example.com"),
        (f"{'b' * 64}@example.com", f"{'b' * 64}@example.com"),
    ],
)
def test_it_normalises_addresses(typed: str, stored: str):
    assert normalise(typed) == stored
    assert normalise(stored) == stored


@pytest.mark.parametrize(
    "domain", ["faß.example.com", "FASS。example。com", "ｅｘａｍｐｌｅ.com", "пример.example.com"]
)
def test_it_writes_every_domain_in_ascii(domain: str):
    address = normalise(f"bob@{domain}")
    assert address.isascii()
    assert normalise(address) == address


def test_it_keeps_the_local_part_of_a_canonical_address_as_typed():
    assert canonical("Bob@BÜCHER.example.com") == "Bob@xn--bcher-kva.example.com"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bob",
        "@example.com",
        "bob@",
        "bob@localhost",
        "a b@example.com",
        "<bob@example.com>",
        "Bob <bob@example.com>",
        "bob@[127.0.0.1]",
        '"bob"@example.com',
        "bob@example.com,eve@example.com",
        "bob@example.com>\r\nRCPT TO:<eve@example.com",
        "bøb@example.com",
        "bob@exa\u202emple.com",
        "bob@example.com\0",
        f"{'b' * 65}@example.com",
        f"bob@{'a.' * 130}com",
        "bob@-example.com",
        "bob@exam_ple.com",
        "bob@example.com.",
        "bob@[IPv6:2001:db8::1]",
        "bob(comment)@example.com",
        "(comment)bob@example.com",
        "@relay.example,@other.example:bob@example.com",
        "bob@example.com@example.org",
        '"bob eve"@example.com',
        '"bob\\"eve"@example.com',
        "bob..eve@example.com",
        ".bob@example.com",
        "bob.@example.com",
        "mailto:bob@example.com",
        "bob@example.com?cc=eve@example.com",
        "bob@" + "a" * 64 + ".com",
        "bob@" + ".".join(["a" * 60] * 5),
        "bob@example。com@example.com",
        "ｂｏｂ@example.com",
        "bob@xn--a.com",
        "bob@" + "é" * 10_000_000,
    ],
)
def test_it_refuses_what_is_no_address_and_says_why(address: str):
    with pytest.raises(InvalidAddress) as error:
        normalise(address)
    assert str(error.value).endswith(".") or "character" in str(error.value)


@pytest.mark.parametrize("line_break", [*LINE_BREAKS, "\0", "\x7f", "\ud800"])
@pytest.mark.parametrize("place", ["{}bob@example.com", "b{}ob@example.com", "bob@exa{}mple.com", "bob@example.com{}"])
def test_it_refuses_breaks_and_control_characters_anywhere_in_an_address(line_break: str, place: str):
    with pytest.raises(InvalidAddress):
        normalise(place.format(line_break))


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text(st.characters(codec="utf-8"), max_size=30))
def test_it_lets_only_plain_ascii_pass_as_an_address(local: str, domain: str):
    try:
        address = normalise(f"{local}@{domain}")
    except InvalidAddress:
        return
    assert address.isascii()
    assert address.isprintable()
    assert not set(address) & set(' <>,;:"()\\[]')
    assert address.count("@") == 1


@pytest.mark.parametrize("text", ["Acme Coffee", "Café “Ünïcode” 日本語 🎉", "", "שלום", "a" * 300])
def test_it_lets_ordinary_header_texts_pass(text: str):
    assert check_header_text(f" {text} ", what="The name") == text


@pytest.mark.parametrize("character", [*LINE_BREAKS, "\0", "\x1b", "\x7f", "\t", "\u202e", "\u2066", "\ud800"])
def test_it_refuses_characters_that_change_what_a_header_says(character: str):
    with pytest.raises(InvalidHeaderText, match="The name"):
        check_header_text(f"Acme{character}Coffee", what="The name")


def test_it_refuses_a_header_text_of_more_than_300_characters():
    with pytest.raises(InvalidHeaderText, match="301"):
        check_header_text("a" * 301, what="The subject")


@pytest.mark.parametrize("line_break", LINE_BREAKS)
def test_it_makes_any_text_one_line_and_any_break_a_newline(line_break: str):
    assert one_line(f"a{line_break}b") == "a b"
    assert body_text(f"a{line_break}b") == "a\nb"


@settings(deadline=None)
@given(st.text())
def test_it_leaves_nothing_in_one_line_that_a_header_may_not_hold(text: str):
    line = one_line(text)
    assert line.encode().decode() == line
    assert check_header_text(line[:300].strip(), what="It") == line[:300].strip()


@settings(deadline=None)
@given(st.text())
def test_it_leaves_only_newlines_as_breaks_in_a_body(text: str):
    body = body_text(text)
    assert body.encode().decode() == body
    assert len(body.splitlines()) == len(body.removesuffix("\n").split("\n")) - (not body)


_LOCAL = st.text("aB9._+-", max_size=70) | st.text(max_size=4)
_DOMAIN = st.text("aB9.-", max_size=70) | st.sampled_from(
    [
        "Example.com",
        "acme.test",
        "localhost",
        "a.invalid",
        "b\u00fccher.example",
        "xn--a.example",
        "a.b",
        "a.1",
        "[127.0.0.1]",
    ]
)


@given(local=_LOCAL, domain=_DOMAIN)
@settings(max_examples=400)
def test_it_says_the_same_of_one_address_and_of_many(local: str, domain: str):
    def verdict(of: object) -> str:
        try:
            return of(f"{local}@{domain}")  # type: ignore[operator]  # either is one
        except InvalidAddress as refused:
            return f"refused: {refused}"

    many = Normaliser()
    assert verdict(many) == verdict(normalise)
    assert verdict(many) == verdict(normalise)  # now that it knows the domain
