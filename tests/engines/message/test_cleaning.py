"""Owners' HTML, cleaned: read back by two parsers that are not the cleaner's, nothing is left that could act."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import lxml.html
import pytest

from panel.message import allowed
from panel.message.tags import TAGS, sample_values
from panel.message.template import TemplateProblems, compile_version, prepare
from tests.support import hostilehtml
from tests.support.hostilehtml import EVIL, SIGN

ATTRIBUTES = allowed.ATTRIBUTES
MARK = "{{ company.name }}"

Element = tuple[str, dict[str, str]]


class Reader(HTMLParser):
    """The standard library's parser."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Element] = []
        self.other: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)


def by_libxml(html: str) -> list[Element]:
    """What libxml2's HTML parser makes of it."""
    root = lxml.html.document_fromstring(f"<html><body><div>{html}</div></body></html>")
    return [
        (element.tag if isinstance(element.tag, str) else "a comment or another thing", dict(element.attrib))
        for element in root.iter()
        if element.tag not in ("html", "body")
    ]


def wrong_with(elements: list[Element]) -> Iterator[str]:
    """What these elements have that no letter may."""
    for tag, attributes in elements:
        if tag not in allowed.TAGS:
            yield f"<{tag}>"
        for name, value in attributes.items():
            if name not in ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()):
                yield f"{tag} {name}"
            # As browsers read it: without blanks around, and without tabs and line breaks in it.
            link = re.sub(r"[\t\r\n]", "", value.strip("".join(map(chr, range(33)))))
            if name in allowed.URL_ATTRIBUTES and not re.match(r"(?:https?|mailto|tel):|#", link, re.IGNORECASE):
                yield f"{tag} {name}={value}"
            if name == "style":
                yield from (f"{tag} style: {declaration}" for declaration in _bad_styles(value))


def _bad_styles(style: str) -> Iterator[str]:
    for declaration in filter(str.strip, re.split(r";(?![^(]*\))", style)):
        name, _, value = declaration.partition(":")
        if name.strip().lower() not in allowed.STYLES:
            yield declaration
        if re.search(r"\\|expression|javascript|vbscript|behavior|@import|-moz-binding|<", value, re.IGNORECASE):
            yield declaration
        if re.search(r"url\((?!\s*['\"]?\s*https?://)", value, re.IGNORECASE):
            yield declaration


def cleaned(html: str) -> str | None:
    """What is mailed of a body; None if it is refused, with words."""
    try:
        return prepare(subject="x", preheader="", html=html, text=None, allowed=frozenset(TAGS)).html
    except TemplateProblems:
        return None


@pytest.mark.parametrize("html", hostilehtml.ALL)
def test_it_leaves_nothing_that_could_act(html: str) -> None:
    for around in ("{}", "<p>before</p>{}<p>after</p>", "<table><tr><td>{}</td></tr></table>", "{} " + MARK):
        once = cleaned(around.replace("{}", html))
        if once is None:
            continue
        read = Reader(once)
        assert list(wrong_with(read.found)) == []
        assert list(wrong_with(by_libxml(once))) == []
        assert read.other == []
        assert cleaned(once) == once, "cleaning what is clean changes it"
        letter = compile_version(subject="x", preheader="", html=once, text="x").render(sample_values())
        assert list(wrong_with([one for one in Reader(letter.html).found if one[0] not in PAGE])) == []


PAGE = {"html", "head", "meta", "body"}


@pytest.mark.parametrize("html", hostilehtml.ASKING)
def test_it_leaves_no_other_host_to_be_asked(html: str) -> None:
    assert EVIL not in (cleaned(html) or "")


@pytest.mark.parametrize("html", hostilehtml.COVERING)
def test_it_keeps_a_letter_in_its_place(html: str) -> None:
    once = cleaned(html)
    assert once is not None
    assert not re.search(r"position|fixed|sticky|z-index|transform|inset|target|class|id=|dialog|download", once)


@pytest.mark.parametrize("link", hostilehtml.LINKS[: len(hostilehtml.LINKS) // 2])
def test_it_lets_no_merged_value_be_such_a_link(link: str) -> None:
    value = link.removeprefix('<a href="').removesuffix('">x</a>')
    one = prepare(
        subject="x",
        preheader="",
        html='<p><a href="{{ referrer.portal_link }}">a</a> <a href="{{ referrer.portal_link }}?x">b</a>'
        "<a href='{{ reward.code | default: referrer.portal_link }}'>c</a> <img src='{{ referrer.portal_link }}'></p>",
        text=None,
        allowed=frozenset(TAGS),
    )
    version = compile_version(subject=one.subject, preheader="", html=one.html, text=one.text)
    page = version.render({"referrer.portal_link": value}).html
    elements = [one for one in Reader(page).found if one[0] not in PAGE]
    assert [tag for tag, _ in elements] == ["p", "a", "a", "a", "img"]
    assert list(wrong_with(elements)) == []
    assert list(wrong_with(by_libxml(page.partition("<body")[2].partition(">")[2].partition("</body>")[0]))) == []


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_it_keeps_a_picture_behind_the_words(quote: str) -> None:
    url = f"url({quote}https://images.example/x.png{quote})"
    for html in (f"<p style='color:red;background-image:{url}'>x</p>", f"<style>p{{background:{url}}}</style><p>x</p>"):
        if quote != "'" or html.startswith("<style"):
            assert "https://images.example/x.png" in (cleaned(html) or "")


def test_it_would_notice() -> None:
    hostile = "".join(hostilehtml.ACTING)
    found = " ".join(wrong_with(Reader(hostile).found))
    for sign in ("<script>", "<svg>", "<iframe>", "img onerror", "body onload", "p style"):
        assert sign in found
    assert "script" in " ".join(wrong_with(by_libxml(hostile)))
    assert SIGN in hostile
    links = list(wrong_with(Reader("".join(hostilehtml.LINKS)).found))
    assert len(links) > len(hostilehtml.LINKS) * 0.9
    assert len(list(wrong_with(Reader("".join(hostilehtml.COVERING)).found))) > len(hostilehtml.COVERING)
