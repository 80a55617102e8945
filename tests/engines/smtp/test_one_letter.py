"""Whatever people type and values hold: it is refused, or exactly one letter arrives, with what was meant and no more.

Over a real socket, whose octets are kept as they came, to servers with and without each extension; read back by the
standard library's parser and by a strict one of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panel.message.addresses import InvalidAddress, body_text, canonical, normalise, one_line
from panel.message.letter import LetterHeaders, build
from panel.message.press import Press
from panel.message.template import CompiledVersion, Footer, Rendered, compile_version
from panel.smtp.outcome import About, Verdict
from panel.smtp.submission import MakeLetter, Submission
from tests.engines.smtp.kit import session
from tests.engines.smtp.pipelining import Book
from tests.support import strict
from tests.support.examples import examples
from tests.support.mailserver import Peer, ScriptedServer

BREAKS = ("\r", "\n", "\r\n", "\n\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
# What could begin a field, a command, a second letter or another part.
TELLING = [
    *BREAKS,
    *("\0", "\t", " ", "\x08", "\x1b[2J", "\x7f", "\u202e", "\u2066", "\ufeff", "\u200b", "\ud800", "\udfff", "\uffff"),
    *(".", "..", "\r\n.\r\n", "\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r\n.", ".\r\n", "\r\n\r\n"),
    *("Bcc: eve@evil.example", "\r\nBcc: eve@evil.example\r\n", "MAIL FROM:<eve@evil.example>", "\r\nQUIT\r\n", "DATA"),
    *("=?utf-8?q?x?=", "=?utf-8?b?DQpCY2M6IGV2ZUBldmlsLmV4YW1wbGU=?=", "=?", "?=", "=0D=0A", "=", "--=_", "From "),
    *('"', "\\", "<", ">", "<eve@evil.example>", ",", ";", ":", "@", "(", ")", "é", "日本", "🎉", "a", "x" * 80),
    *("é" * 50, "w" * 320, "{{ company.name }}", "%s", "&", "<b>"),
]
ANY = st.lists(st.sampled_from(TELLING), max_size=6).map("".join) | st.text(st.characters(), max_size=40)
EXTENSIONS = [(), ("PIPELINING",), ("8BITMIME", "SMTPUTF8"), ("PIPELINING", "8BITMIME", "SMTPUTF8")]
ADDRESS = rb'(?:"(?:[^"\\]|\\.)*"|[^<>\s"]+)@[^<>\s@]+'
LINK = "https://post.example/u/1?a=b&c=d"
FOOTER = Footer(company_name="Acme & Co", postal_address="1 Main Street\n12345 Town", unsubscribe_url=LINK)
HEADERS = LetterHeaders(
    from_name="Acme Coffee",
    from_address="hello@acme.example",
    to_name="Robin Meyer",
    to_address="robin@example.com",
    message_id="<abc@acme.example>",
    date=datetime(2026, 11, 23, 10, 0, 5, tzinfo=UTC),
)
NAMES = ["From", "To", "Subject", "Date", "Message-ID"]
AFTER = ["Auto-Submitted", "MIME-Version", "Content-Type"]
UNSUBSCRIBE = ["List-Unsubscribe", "List-Unsubscribe-Post"]


@dataclass
class Taken:
    """What a server was given: envelope, and octets as they came, dots stuffed, without the final one."""

    mail: bytes
    rcpt: bytes
    octets: bytes

    @property
    def letter(self) -> bytes:
        """As a server stores it (RFC 5321 section 4.5.2)."""
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", self.octets)
        lines = self.octets.split(b"\r\n")
        assert b"." not in lines
        assert max(map(len, lines)) <= 999
        return b"\r\n".join(line.removeprefix(b".") for line in lines)


@dataclass
class Strict:
    """A server that takes everything and hangs up on what it does not know."""

    offered: tuple[str, ...]
    taken: list[Taken] = field(default_factory=list)
    surprises: list[bytes] = field(default_factory=list)

    def __call__(self, peer: Peer) -> None:
        peer.greet(*self.offered)
        mail = rcpt = b""
        while True:
            line = peer.hear()
            if re.fullmatch(rb"MAIL FROM:<%b>(?: SMTPUTF8)?(?: BODY=8BITMIME)?" % ADDRESS, line):
                mail = line
            elif re.fullmatch(rb"RCPT TO:<%b>" % ADDRESS, line):
                rcpt = line
            elif line == b"DATA":
                peer.say("354 go")
                self.taken.append(Taken(mail, rcpt, peer.hear_letter()))
            elif line == b"QUIT":
                peer.say("221 bye")
                return
            elif line != b"RSET":
                self.surprises.append(line)
                return
            peer.say("250 ok")


@pytest.fixture(scope="module", params=EXTENSIONS, ids=lambda some: " ".join(some).lower() or "nothing")
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Strict, int]]:
    """A server for each set of extensions, and its port."""
    script = Strict(request.param)
    with ScriptedServer(script) as listening:
        yield script, listening.port


def sent(server: tuple[Strict, int], *submissions: Submission) -> tuple[list[bool], list[Taken]]:
    """Sends them over one connection; which of them went, and what came."""
    script, port = server
    script.taken.clear()
    with session(port) as client:
        client.open()
        outcomes = list(client.send_all(Book().submissions(submissions), Book()))
        client.quit()
    assert script.surprises == []
    assert len(outcomes) == len(submissions)
    assert all(outcome.accepted or outcome.verdict is Verdict.PERMANENT for outcome in outcomes)
    assert len(script.taken) == sum(outcome.accepted for outcome in outcomes)
    return [outcome.accepted for outcome in outcomes], list(script.taken)


def submission(number: int, letter: MakeLetter, recipient: str = "robin@example.com") -> Submission:
    return Submission(sender=f"n{number}@acme.example", recipient=recipient, letter=letter)


def assert_meant(
    taken: Taken, *, headers: LetterHeaders, subject: str, text: str, html: str, offered: tuple[str, ...]
) -> None:
    """Both readers find exactly these headers and bodies."""
    octets = taken.letter
    is_7bit = "8BITMIME" not in offered
    ours = strict.read(octets, is_7bit=is_7bit)
    theirs = message_from_bytes(octets, policy=policy.default)
    assert not theirs.defects
    expected = [*NAMES, *(UNSUBSCRIBE if headers.unsubscribe_url else []), *AFTER]
    assert [name for name, _ in ours.fields] == theirs.keys() == expected
    assert ours.field("Subject") == theirs["Subject"] == subject
    older = message_from_bytes(octets, policy=policy.compat32)
    for name, display, address in (
        ("From", headers.from_name, headers.from_address),
        ("To", headers.to_name or "", headers.to_address),
    ):
        assert ours.mailbox(name) == (one_line(display), address)
        [(words, mailed)] = getaddresses([older[name]])
        assert (str(make_header(decode_header(words))), mailed) == (one_line(display), address)
    came = [part.get_content().replace("\r\n", "\n") for part in theirs.iter_parts()]
    assert [ours.text, ours.html] == came == [text, html]
    assert (b"BODY=8BITMIME" in taken.mail) is not octets.isascii()
    assert taken.rcpt == f"RCPT TO:<{headers.to_address}>".encode()


def as_body(text: str) -> str:
    """What arrives of a body: no control characters, whole lines, nothing that cannot be encoded."""
    whole = re.sub(r"\r\n?", "\n", text.encode(errors="replace").decode())
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f]", "", whole).rstrip("\n")


over_sockets = examples(25)


@over_sockets
@given(st.lists(st.tuples(ANY, ANY, ANY, ANY, ANY), min_size=1, max_size=3))
@example([("a\r\nBcc: x", "b\r\n\r\nc", "d\n.\r\ne", "\r\n.\r\nMAIL FROM:<x@y.z>\r\n", ".")])
def test_one_letter_arrives_whatever_its_names_subject_and_bodies(
    server: tuple[Strict, int], several: list[tuple[str, str, str, str, str]]
) -> None:
    letters, headers = [], []
    for number, (from_name, to_name, subject, text, html) in enumerate(several):
        headers.append(replace(HEADERS, from_name=from_name, to_name=to_name, to_address=f"robin{number}@example.com"))
        made = build(headers=headers[-1], rendered=Rendered(subject=subject, text=text, html=html))
        letters.append(
            submission(number, lambda eightbit, made=made: made.wire(eightbit=eightbit), headers[-1].to_address)
        )
    accepted, taken = sent(server, *letters)
    assert all(accepted)
    for came, these, (_, _, subject, text, html) in zip(taken, headers, several, strict=True):
        assert_meant(
            came,
            headers=these,
            subject=one_line(subject),
            text=as_body(text),
            html=as_body(html),
            offered=server[0].offered,
        )


SAME = "<p>Always the same.</p>\n" * 20
NAME, COMPANY, PORTAL = "{{ referrer.first_name }}", "{{ company.name }}", "{{ referrer.portal_link }}"
VERSIONS: list[CompiledVersion] = [
    compile_version(
        subject=f"Hello {NAME}, from {COMPANY}",
        preheader=COMPANY,
        html=f'<p title="{COMPANY}">{NAME}</p>\n{SAME}<a href="{{{{ referrer.portal_link | link }}}}">Look</a>\n',
        text=f"{NAME}\n{SAME}{PORTAL}\n",
    ),
    compile_version(
        subject=NAME,
        preheader="",
        html=f"{{% if company.name %}}{COMPANY}{{% else %}}.{{% endif %}}\n.{NAME}",
        text=f".{COMPANY}{{{{ referrer.first_name | default: '.' }}}}\n{{{{ referrer.portal_link | upcase }}}}",
    ),
]
VALUES = st.fixed_dictionaries(dict.fromkeys(["referrer.first_name", "company.name", "referrer.portal_link"], ANY))


@over_sockets
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(VERSIONS), st.sampled_from([FOOTER, None]))
def test_one_letter_arrives_whatever_the_values_are_that_it_is_pressed_with(
    server: tuple[Strict, int], several: list[dict[str, str]], version: CompiledVersion, footer: Footer | None
) -> None:
    press, letters, headers = Press(version), [], []
    for number, values in enumerate(several):
        address = f"robin{number}@example.com"
        headers.append(replace(HEADERS, to_address=address, unsubscribe_url=LINK if footer else None))
        made = press.letter(headers=headers[-1], values=values, footer=footer)
        letters.append(submission(number, made.wire, address))
    _, taken = sent(server, *letters)
    for came, these, values in zip(taken, headers, several, strict=True):
        plain = version.render(values, footer=footer)
        assert_meant(
            came,
            headers=these,
            subject=plain.subject,
            text=as_body(plain.text),
            html=as_body(plain.html),
            offered=server[0].offered,
        )
        assert "<script" not in plain.html


LOCAL_PARTS = ["robin", "r.o'b+in", '"robin"', '"a b"', '"a\\"b"', "røbin", "a..b", ".a", "a.", "x" * 64, "x" * 65]
LOCAL_PARTS += ["robin%elsewhere.example", "elsewhere.example!robin", "@relay.example:robin", "a(comment)", "a\\b", ""]
DOMAINS = ["example.com", "bücher.example", "xn--bcher-kva.example", "example.com.", "[192.0.2.1]", "[IPv6:::1]", ""]
DOMAINS += ["-a.example", "a_b.example", "a..example", "localhost", f"{'a' * 64}.example", f"{'a.' * 122}example"]
ADDRESSES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "Robin <", "<", " ", "mailto:"]) | ANY,
    st.sampled_from(LOCAL_PARTS) | ANY,
    st.just("@") | ANY,
    st.sampled_from(DOMAINS) | ANY,
)


@over_sockets
@given(st.lists(ADDRESSES, min_size=1, max_size=4))
def test_one_recipient_is_named_or_none_whatever_the_address(server: tuple[Strict, int], several: list[str]) -> None:
    made = build(headers=HEADERS, rendered=Rendered(subject="x", text="x", html="x"))
    given = [submission(number, lambda _: made.wire(eightbit=False), one) for number, one in enumerate(several)]
    accepted, taken = sent(server, *given)
    went = [one for one, yes in zip(several, accepted, strict=True) if yes]
    for one, came in zip(went, taken, strict=True):
        local, _, domain = one.rpartition("@")
        assert came.rcpt.startswith(f"RCPT TO:<{local}@".encode())
        assert came.rcpt.count(b"@") == one.count("@")
        assert came.rcpt.isascii() or (b" SMTPUTF8" in came.mail and "SMTPUTF8" in server[0].offered)
        assert not domain.isascii() or came.rcpt.endswith(f"@{domain}>".encode())
        assert came.letter == made.wire(eightbit=False)


@examples(300)
@given(ADDRESSES)
def test_an_address_that_is_taken_in_can_be_mailed(typed: str) -> None:
    """Participants', suppressed and outbound addresses: what passes is one plain mailbox, in a header and in RCPT."""
    for take in (normalise, canonical):
        try:
            address = take(typed)
        except InvalidAddress:
            continue
        assert re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z0-9.-]{1,255}", address)
        assert len(address) <= 254
        assert ".." not in address
        letter = build(
            headers=replace(HEADERS, to_address=address, from_address=address),
            rendered=Rendered(subject="x", text="x", html="x"),
        ).wire(eightbit=False)
        read = strict.read(letter)
        assert read.mailbox("To")[1] == read.mailbox("From")[1] == address


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(server: tuple[Strict, int]) -> None:
    script, port = server
    script.taken.clear()
    with session(port) as client:
        client.open()
        made = build(headers=HEADERS, rendered=Rendered(subject="x", text="x", html="x"))
        outcome = client.send(
            sender="hello@acme.example",
            recipient="røbin@bücher.example",
            letter=lambda _eightbit: made.wire(eightbit=False),
            before_body=lambda: None,
        )
        client.quit()
    if "SMTPUTF8" in script.offered:
        assert outcome.accepted
        assert script.taken[0].rcpt == "RCPT TO:<røbin@xn--bcher-kva.example>".encode()
        assert b" SMTPUTF8" in script.taken[0].mail
    else:
        assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, About.RECIPIENT)
        assert "beyond ASCII" in outcome.detail
        assert script.taken == []


def test_what_a_body_arrives_as_is_what_it_is_shown_as() -> None:
    """The texts above are compared after what `body_text` takes out; that must be invisible, and no more."""
    for char in map(chr, range(0x3000)):
        shown = body_text(f"a{char}b")
        assert shown in (f"a{char}b", "a\nb", "ab", "a b")
