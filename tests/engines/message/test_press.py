"""The press makes the letters that rendering and building make, to the octet, whatever the template and the values."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.message import blocks
from panel.message.letter import LetterHeaders, build
from panel.message.press import Press
from panel.message.tags import TAGS, sample_values
from panel.message.template import CompiledVersion, Footer, TooLarge, compile_version, prepare
from panel.smtp.wire import terminated

Values = Mapping[str, str | None]

LINK = "https://post.example/u/1?a=b&c='d'"
HEADERS = LetterHeaders(
    from_name="Acme Coffee",
    from_address="hello@acme.example",
    to_name="Robin Meyer",
    to_address="robin@example.com",
    message_id="<abc@acme.example>",
    date=datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC),
    reply_to="owner@acme.example",
    unsubscribe_url=LINK,
)
FOOTER = Footer(company_name="Acme & Co", postal_address="1 Main Street\n12345 Town", unsubscribe_url=LINK)
WORDS = "Some words that are the same in all letters of this version.\n"

# What has a meaning somewhere on the way: for lines, dots, formats, encodings, boundaries, links, trimming, HTML.
TELLING = [
    *("\n", "\n\n", "\r", "\r\n", ".", "..", " ", "  ", "\t", "\0", "\x7f", "\x0b", "\x85", "\u2028", "\xa0", "\u202e"),
    *("%", "%s", "%%", "{", "}", "<b>", "&", "&amp;", '"', "'", "=", "=\n", " \n", "\n.\n", "\n..\n", "\r.\r", "From "),
    *("é", "日本", "🎉", "\ud800", "a", "word", "x" * 70, "é" * 40, "y" * 499, "0123456789abcdef" * 2),
    *("https://", "http://a/", LINK, "https://post.example/u/1", "javascript:x", "robin@example.com", "-- \n", "--=_"),
]
NASTY = st.lists(st.sampled_from(TELLING), max_size=5).map("".join) | st.text(max_size=20)
PLAIN = st.sampled_from(["Robin", "Åsa Lindström", "Acme & Co.", "100 %", "%s%d", ".dot", "a.", "=", LINK, "日本"])
NAMES = ["referrer.first_name", "friend.first_name", "referrer.portal_link", "company.name", "unsubscribe_url"]
NAMED = [
    "{{ referrer.first_name }}",
    '{{ friend.first_name | default: "." }}',
    '{{ friend.first_name | default: " \r\n.%s\0" }}',
    "{{ referrer.portal_link | link }}",
    "{{- company.name -}}",
    "{{ unsubscribe_url }}",
    "{{ friend.first_name | default: company.name | url_encode }}",
    "{{ friend.first_name | default: 'a\nb' }}",
    "{{ denial.reason }}",
]
FILTERED = ["{{ company.name | upcase }}", "{{ friend.first_name | truncate: 3 }}", "{{ referrer }}"]
OPENINGS = [
    "{% if friend.first_name %}",
    "{% unless company.name == blank %}\n",
    "{%- if referrer.first_name contains 'R' %}",
]


def _source(pieces: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # Braces by themselves could open what is never closed.
    safe = pieces.map(lambda piece: piece if piece.startswith("{{") else re.sub(r"[{}]", "", piece))
    return st.lists(safe | st.just(WORDS) | st.just(WORDS * 6), max_size=9).map("".join)


SIMPLE = _source(st.sampled_from(NAMED) | st.sampled_from(TELLING))


def _choice(opening: str, then: str, otherwise: str) -> str:
    return f"{opening}{then}{{% else %}}{otherwise}{{% {'endunless' if 'unless' in opening else 'endif'} %}}"


CONDITIONS = st.builds(_choice, st.sampled_from(OPENINGS), SIMPLE, SIMPLE)
ANY = st.lists(SIMPLE | CONDITIONS | st.sampled_from(FILTERED), max_size=4).map("".join)
VERSIONS = st.one_of(
    *(
        st.builds(compile_version, subject=source, preheader=st.just(""), html=source, text=source)
        for source in (SIMPLE, ANY)
    )
)
VALUES = st.one_of(
    *(st.dictionaries(st.sampled_from(NAMES), value | st.none(), max_size=5) for value in (PLAIN, NASTY | PLAIN))
)
FOOTERS = st.none() | st.builds(
    Footer,
    company_name=NASTY,
    postal_address=NASTY,
    unsubscribe_url=st.sampled_from(
        [LINK, f"https://post.example/{'u' * 900}", "https://post.example/u/1", "http://a/"]
    ),
)


@pytest.fixture(autouse=True, scope="module", params=[1, blocks.SHORTEST_BLOCK], ids=["any block", "long blocks"])
def _shortest_block(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SHORTEST_BLOCK", request.param)
        yield


def version(*, subject: str = "Hello", html: str = "<p>Hello</p>\n", text: str = "Hello\n") -> CompiledVersion:
    return compile_version(subject=subject, preheader="", html=html, text=text)


def both(
    one: CompiledVersion, values: Values, *, footer: Footer | None = None, headers: LetterHeaders = HEADERS
) -> list[list[bytes | str]]:
    """The letter for servers without and with 8BITMIME, by the press and without it; or the name of the error."""
    headers = replace(headers, unsubscribe_url=footer.unsubscribe_url if footer else None)
    press = Press(one)

    def pressed(eightbit: bool) -> bytes:
        letter = press.letter(headers=headers, values=values, footer=footer).wire(eightbit)
        assert letter.ascii == letter.octets.isascii()
        assert eightbit or letter.ascii
        return letter.octets

    def built(eightbit: bool) -> bytes:
        return terminated(build(headers=headers, rendered=one.render(values, footer=footer)).wire(eightbit=eightbit))

    made: list[list[bytes | str]] = []
    for make in (pressed, built):
        try:
            made.append([make(False), make(True)])
        except (TooLarge, ValueError) as error:
            made.append([type(error).__name__])
    return made


def assert_same(one: CompiledVersion, values: Values, **others: object) -> bytes:
    """The same by both ways; returns what goes to servers with 8BITMIME."""
    pressed, built = both(one, values, **others)  # type: ignore[arg-type]
    assert pressed == built
    octets = pressed[-1]
    assert isinstance(octets, bytes)
    return octets


def read(octets: bytes) -> tuple[EmailMessage, str, str]:
    """What a server stores of it (RFC 5321 §4.5.2), as the standard library reads it: message, text and HTML."""
    assert octets.endswith(b"\r\n.\r\n")
    lines = octets.removesuffix(b".\r\n").split(b"\r\n")
    assert b"." not in lines
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(len(line.removeprefix(b".")) for line in lines) <= 998
    message = message_from_bytes(b"\r\n".join(line.removeprefix(b".") for line in lines), policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    text, html = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
    return message, text, html


# -- the same, to the octet ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=400)
@given(VERSIONS, VALUES, FOOTERS)
def test_it_makes_the_letter_that_rendering_and_building_make(
    one: CompiledVersion, values: Values, footer: Footer | None
):
    octets = assert_same(one, values, footer=footer)
    _, text, html = read(octets)
    rendered = one.render(values, footer=footer)
    for came, sent in ((text, rendered.text), (html, rendered.html)):
        kept = re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", "", re.sub(r"\r\n?", "\n", sent)).rstrip("\n")
        assert came == kept.encode(errors="replace").decode()


@settings(deadline=None, max_examples=100)
@given(st.lists(VALUES, min_size=2, max_size=4), VERSIONS, FOOTERS)
def test_it_makes_each_letter_anew(several: list[Values], one: CompiledVersion, footer: Footer | None):
    headers = replace(HEADERS, unsubscribe_url=footer.unsubscribe_url if footer else None)
    press = Press(one)
    made = [press.letter(headers=headers, values=values, footer=footer).wire(True) for values in several]
    again = [press.letter(headers=headers, values=values, footer=footer) for values in several]
    assert [letter.wire(False) for letter in again] == [
        Press(one).letter(headers=headers, values=values, footer=footer).wire(False) for values in several
    ]
    assert [letter.wire(True) for letter in again] == made


@pytest.mark.parametrize("value", ["https://a/\x1fb", "\x01", "a\nb", "\u202e", "\ud800x"])
def test_it_cleans_a_value_before_anything_asks_for_it(value: str):
    shown = "{{ company.name | link }} {{ company.name | url_encode }} {{ company.name | default: 'x' }}"
    for source in (shown, f"{{% if company.name %}}yes{{% else %}}no{{% endif %}} {shown}"):
        assert_same(version(subject=source, html=source, text=source), {"company.name": value})


def test_it_makes_the_same_letter_however_many_conditions_come_out_differently():
    names = [name for name in TAGS if not TAGS[name].numeric][:7]
    source = "".join(f"{{% if {name} %}}{name}\n\n{{{{ {name} }}}}{{% endif %}}\n" for name in names) + WORDS * 60
    one = version(subject=source, html=source, text=source)
    press = Press(one)
    for number in range(2 ** len(names)):
        values = {name: "A b" for bit, name in enumerate(names) if number >> bit & 1}
        letter = press.letter(headers=HEADERS, values=values, footer=FOOTER).wire(True)
        rendered = build(headers=HEADERS, rendered=one.render(values, footer=FOOTER))
        assert letter.octets == terminated(rendered.wire(eightbit=True))


@settings(deadline=None, max_examples=100)
@given(VALUES, FOOTERS, st.sampled_from(["", "Robin", "Åsa", "=?x?=", ".", "a\r\n.\r\nb"]), st.datetimes())
def test_it_writes_the_same_header(values: Values, footer: Footer | None, name: str, date: datetime):
    one = version(subject="{{ referrer.first_name }}é{{ company.name }}")
    zones = UTC, timezone(timedelta(0)), timezone(timedelta(hours=-5, minutes=-30))
    for zone in zones:
        headers = replace(HEADERS, to_name=name, from_name=name, reply_to=None, date=date.replace(tzinfo=zone))
        octets = assert_same(one, values, footer=footer, headers=headers)
        assert f"\r\nDate: {format_datetime(headers.date)}\r\n".encode() in octets


@pytest.mark.parametrize(
    "source",
    [
        "{{ company.name }}",
        "{{ company.name }}\n",
        "{{ company.name }}.\n",
        ".{{ company.name }}\n",
        f"{WORDS}{{{{ company.name }}}}\n.\n{WORDS}",
        f"{WORDS}.{{{{ company.name }}}}.{{{{ company.name }}}}\n{WORDS * 6}",
        f".\n{WORDS * 6}.{WORDS * 6}.\n{{{{ company.name }}}}{WORDS * 6}\n.{WORDS}..\n.",
        f"{WORDS * 6}{{{{ company.name }}}}",
    ],
)
def test_it_stuffs_dots_wherever_values_and_fixed_lines_meet(source: str):
    one = version(html=source, text=source)
    for value in (".", "..", ".x", "x\n.", "\n.\n", "\r\n.\r\n", "x\r.\ry", "é\n.é", "", "\0.", "\u2028."):
        for footer in (None, FOOTER):
            _, text, html = read(assert_same(one, {"company.name": value}, footer=footer))
            rendered = one.render({"company.name": value}, footer=footer)
            assert text == rendered.text.rstrip("\n")
            assert html == rendered.html.rstrip("\n")


@pytest.mark.parametrize("length", [*range(900, 1001, 7), *range(960, 1003)])
def test_it_measures_lines_that_values_make_longer(length: int):
    source = f"{WORDS * 6}{'x' * 400}{{{{ company.name }}}}{{{{ campaign.name }}}}\n{WORDS * 6}"
    long = {"company.name": "y" * 100, "campaign.name": "z" * (length - 500)}
    octets = assert_same(version(html=source, text=source), long)
    assert octets.count(b"quoted-printable") == (2 if length > 998 else 0)
    read(octets)


@pytest.mark.parametrize("length", [997, 998, 999])
@pytest.mark.parametrize("value", ["", "Robin", "é"])
def test_it_measures_lines_that_never_change(length: int, value: str):
    source = f"{{{{ company.name }}}}\n{'x' * length}\n{{{{ company.name }}}}"
    octets = assert_same(version(html=source, text=source), {"company.name": value}, footer=FOOTER)
    assert (b"quoted-printable" in octets) == (length > 998)


@pytest.mark.parametrize("before", ["", "\n", "\n\n\n", " \n \n", f"{WORDS}", f"{WORDS * 6}\n", f"{WORDS * 6}\n \n\n"])
@pytest.mark.parametrize(
    "after", ["", " ", "\n", "\n\n\n", "\n \n\t\n", f"\n\n\n{WORDS * 6}", f"\n \n{WORDS}\n\n\n", "\xa0\n"]
)
def test_it_trims_blank_lines_across_its_seams(before: str, after: str):
    for tag in ("{{ company.name }}", "{% if company.name %}\n\nx\n\n{% endif %}"):
        one = version(text=f"{before}{tag}{after}")
        for value in (None, "Acme", " ", " \n\nAcme "):
            for footer in (None, FOOTER):
                octets = assert_same(one, {"company.name": value}, footer=footer)
                assert "\n\n\n" not in read(octets)[1]


# -- what a value cannot do ------------------------------------------------------------------------------------------


def test_it_escapes_every_value_in_html():
    hostile = dict.fromkeys(TAGS, "<script>alert('x')</script>\"&{{ company.name }}%s")
    tags = "\n".join(f'<p title="{{{{ {name} }}}}">{{{{ {name} }}}}</p>' for name in TAGS)
    one = prepare(subject="x", preheader="{{ company.name }}", html=tags, text=None, allowed=frozenset(TAGS))
    made = compile_version(subject=one.subject, preheader=one.preheader, html=one.html, text=one.text)
    _, _, html = read(assert_same(made, hostile, footer=FOOTER))
    assert "<script" not in html
    assert (
        html.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;{{ company.name }}%s")
        == 2 * len(TAGS) + 1
    )


@pytest.mark.parametrize(
    "value", ["Robin\r\nBcc: eve@evil.example", "Robin\nSubject: x", "é\r\n\r\nbody", "\u2028Bcc: x"]
)
def test_it_keeps_a_value_in_the_subject(value: str):
    one = version(subject="{{ company.name }} writes")
    message, *_ = read(assert_same(one, {"company.name": value}))
    assert message["Bcc"] is None
    assert len(message.get_all("Subject", [])) == 1


def _digest(message_id: str) -> str:
    return hashlib.sha256(message_id.encode()).hexdigest()[:40]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (f"{{{{ company.name }}}}\n{WORDS * 6}", _digest(HEADERS.message_id)),
        (f"--=_{_digest(HEADERS.message_id)}\n{WORDS * 6}{{{{ company.name }}}}", ""),
        (f"{WORDS * 6}{_digest(HEADERS.message_id)[:13]}{{{{ company.name }}}}", _digest(HEADERS.message_id)[13:]),
        (f"{WORDS}{{{{ company.name }}}}{_digest(HEADERS.message_id)[13:]}", _digest(HEADERS.message_id)[:13]),
        (
            "{{ company.name }}{% if company.name %}" + _digest(_digest(HEADERS.message_id)) + "{% endif %}",
            _digest(HEADERS.message_id),
        ),
    ],
    ids=["in a value", "in a block", "begun by a block", "ended by a block", "and the next one"],
)
@pytest.mark.parametrize("part", ["html", "text"])
def test_it_avoids_a_boundary_that_occurs_in_a_body(source: str, value: str, part: str):
    one = version(**{part: source})
    octets = assert_same(one, {"company.name": value})
    message, *_ = read(octets)
    assert message.get_boundary() != f"=_{_digest(HEADERS.message_id)}"
    assert octets.count((message.get_boundary() or "").encode()) == 4


@pytest.mark.parametrize(
    "source",
    [f"{LINK}\n{WORDS * 6}{{{{ company.name }}}}", "{{ unsubscribe_url }}", f"{WORDS * 6}Stop <{LINK}>.\n{WORDS}"],
)
def test_it_leaves_the_footer_out_where_the_link_is(source: str):
    one = version(text=source)
    _, text, html = read(assert_same(one, {"unsubscribe_url": LINK, "company.name": "Acme"}, footer=FOOTER))
    assert text.count(LINK) == 1
    assert "1 Main Street" not in text
    assert "1 Main Street, 12345 Town" in html


@pytest.mark.parametrize("around", ["", "{% if company.name %}a{% endif %}\n", f"{WORDS * 6}<p></p>\n"])
@pytest.mark.parametrize(
    ("html", "is_seen"),
    [
        ('<p><a href="{{ unsubscribe_url | link }}">Stop</a></p>', True),
        ('<p style="display:none"><a href="{{ unsubscribe_url | link }}">Stop</a></p>', False),
        ('<img alt="{{ unsubscribe_url }}">', False),
        (f'<a href="{escape(LINK)}">Stop</a>', True),
        (f"<p>{escape(LINK)}</p>", False),
    ],
)
def test_it_puts_the_footer_where_the_link_is_not_seen(html: str, around: str, is_seen: bool):
    one = version(html=f"{around}{html}{around}\n")
    _, _, made = read(assert_same(one, {"unsubscribe_url": LINK, "company.name": "Acme"}, footer=FOOTER))
    assert ("1 Main Street" in made) != (is_seen)


@pytest.mark.parametrize(
    "source",
    [
        f"{LINK[:-2]}\n{WORDS * 6}{{{{ company.name }}}}",
        f"{LINK.upper()}\n{WORDS * 6}",
        f"{LINK[:9]}\n{LINK[9:]}",
        f"{WORDS * 6}x{LINK}y\n{WORDS * 6}",
        f"{LINK}{{{{ company.name }}}}",
    ],
)
def test_it_puts_the_footer_where_only_a_part_of_the_link_is(source: str):
    _, text, _ = read(assert_same(version(text=source), {"company.name": "Acme"}, footer=FOOTER))
    assert text.endswith(f"\n\n--\nAcme & Co\n1 Main Street, 12345 Town\nUnsubscribe: {LINK}")


# -- what cannot be made ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["subject", "html", "text"])
@pytest.mark.parametrize("source", ["{{ company.name }}" * 200, f"{WORDS * 6}{'{{ company.name }}' * 200}"])
def test_it_refuses_what_values_make_too_large(part: str, source: str):
    one = version(**{part: source})
    room = 1_000_000 - len(source.replace("{{ company.name }}", ""))
    assert both(one, {"company.name": "x" * (room // 200 + 1)}) == [["TooLarge"], ["TooLarge"]]
    assert_same(one, {"company.name": "x" * 400})
    if part == "text":
        assert_same(one, {"company.name": "x" * (room // 200)})
        assert both(one, {"company.name": "x" * (room // 200), "friend.email": "y"})[0] != ["TooLarge"]


def test_it_refuses_short_values_that_make_a_large_letter():
    # Many slots in a long body: each value is short, and escaped they exceed the limit all the same.
    one = version(html=f"{WORDS * 6}" + "{{ company.name }}" * 299 + "x" * 390_000)
    assert both(one, {"company.name": "'" * 400}) == [["TooLarge"], ["TooLarge"]]
    assert_same(one, {"company.name": "'" * 200})


@pytest.mark.parametrize(
    "headers",
    [
        {"to_address": "robin@example.com\r\nBcc: eve@evil.example"},
        {"from_address": "hello"},
        {"reply_to": "a@b.example\n"},
        {"message_id": "abc"},
    ],
)
def test_it_refuses_what_cannot_stand_in_a_header(headers: dict[str, str]):
    with pytest.raises(ValueError, match="cannot stand"):
        Press(version()).letter(headers=replace(HEADERS, **headers), values={}, footer=FOOTER)


@pytest.mark.parametrize(
    "link", ["javascript:x", "https://post.example/ü", "https://post.example/\r\n.\r\n", "x", "\ud800"]
)
def test_it_refuses_a_link_that_cannot_stand_in_a_header(link: str):
    headers, footer = replace(HEADERS, unsubscribe_url=link), replace(FOOTER, unsubscribe_url=link)
    with pytest.raises(ValueError):
        Press(version()).letter(headers=headers, values={}, footer=footer)


def test_it_refuses_a_footer_with_another_link_than_the_header():
    with pytest.raises(ValueError, match="same unsubscribe link"):
        Press(version()).letter(headers=replace(HEADERS, unsubscribe_url=None), values={}, footer=FOOTER)


# -- threads ---------------------------------------------------------------------------------------------------------


def test_it_serves_many_threads_at_once():
    source = f"<p>{{{{ referrer.first_name }}}}é</p>\n{WORDS * 20}<p>{{{{ company.name }}}}</p>\n{WORDS * 20}"
    one = version(subject="Hello {{ referrer.first_name }}", html=source, text=source)
    press = Press(one)
    people = [sample_values({"referrer.first_name": f"Åsa{number}"}) for number in range(400)]

    def letters(values: dict[str, str]) -> list[bytes]:
        made = press.letter(headers=HEADERS, values=values, footer=FOOTER)
        return [made.wire(eightbit).octets for eightbit in (False, True)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(letters, people))
    for values, octets in zip(people, made, strict=True):
        rendered = build(headers=HEADERS, rendered=one.render(values, footer=FOOTER))
        assert octets == [terminated(rendered.wire(eightbit=eightbit)) for eightbit in (False, True)]
