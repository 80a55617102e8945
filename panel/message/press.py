"""Letters of one version at speed: what all of them have in common is encoded once, the values are put in between.

Whatever makes octets of a body looks at one line at a time: line ends, control characters, quoted-printable, stuffed
dots, the length of lines, and the search for a boundary or a link in it. So a body is divided into blocks, whole lines
without a merge tag, which are encoded beforehand, and seams, the whole lines between them, which are filled in and
encoded for every letter by the functions that `template` and `letter` use on whole bodies. A value is at home in its
seam and can do nothing to a block: the octets are those of `CompiledVersion.render`, `build`, `Letter.wire` and the
stuffing of the SMTP session, whatever the template and the values. The tests hold it to that.

Only what trims a text looks further: blank lines are collapsed, and stripped at both ends. Therefore a block of a text
begins and ends with a line that is not blank; the blank lines around it are its neighbours', where they are trimmed
together with what a condition leaves.

Most letters need less. Where no value could change where lines begin and end or which of them are blank, the seams are
trimmed and encoded beforehand as well, once for each way in which the version's conditions come out.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any, Final

from panel.message import wayout
from panel.message.addresses import body_text
from panel.message.blocks import Seam, Slots, divided, is_solid, is_whole, picker
from panel.message.language import MAX_OUTPUT, Program, Values, check_length, holds
from panel.message.letter import (
    MAX_LINE,
    LetterHeaders,
    body_lines,
    boundary_of,
    encoding_of,
    header_of,
    lines_fit,
    part_start,
    parts_end,
    quoted_printable,
)
from panel.message.template import (
    PAGE_END,
    CompiledVersion,
    Footer,
    collapsed,
    footer_html,
    footer_text,
    subject_line,
)
from panel.smtp.wire import WireLetter

# What a boundary's digest could be a part of.
_LIKE_A_DIGEST = re.compile(rb"[0-9a-f]{40}")
# Where an unsubscribe link that somebody wrote out would begin.
_LINK: Final = b"://"
# Stands between the seams of a body where they are joined. `body_lines` leaves none in them.
_BETWEEN: Final = b"\0"
# How many octets, for the conditions of one version.
_MOST_HELD: Final = 200_000
_LONGEST_PLAIN: Final = 500
_LONGEST_ESCAPED: Final = 6 * _LONGEST_PLAIN


class Press:
    """Makes the letters of one version. Safe to share between threads.

    Make one for a version and keep it: it costs as much as some letters, and holds the body once more, or twice where a
    server needs quoted-printable. For each way in which its conditions come out it holds another, up to a bound.
    """

    def __init__(self, version: CompiledVersion) -> None:
        self._version = version
        self._any = _Form(version)
        self._names = version.tags_used
        programs = version.subject, version.html, version.text
        asks = {asked for program in programs for asked in program.asks()}
        self._asks = [asked for asked in asks if asked is not None] if None not in asks else []
        self._forms: dict[tuple[bool, ...], _Form] = {}
        self._held = 0

    def letter(
        self, *, headers: LetterHeaders, values: Mapping[str, str | None], footer: Footer | None = None
    ) -> "PressedLetter":
        """The letter that `CompiledVersion.render` with these values and this footer, and then `build`, would make.

        The footer's link must be the header's. Raises TooLarge, and ValueError as `build` does; once it is made,
        nothing can go wrong with a letter any more.
        """
        is_clean = True
        for name in self._names:
            if (value := values.get(name)) and not value.isprintable():
                is_clean = False
        # What cleaning changes could make a condition come out otherwise.
        form = self._form(values) if is_clean and self._asks else self._any
        return form.letter(headers=headers, values=values, footer=footer, is_clean=is_clean)

    def _form(self, values: Mapping[str, str | None]) -> "_Form":
        """The version as it is where its conditions come out as with these values."""
        key = tuple([holds(asked, values) for asked in self._asks])
        form = self._forms.get(key)
        if form is None:
            if self._held > _MOST_HELD:
                return self._any
            version, given = self._version, Values({name: value for name, value in values.items() if value})
            form = self._forms[key] = _Form(
                CompiledVersion(
                    subject=version.subject.decided(given),
                    html=version.html.decided(given),
                    text=version.text.decided(given),
                )
            )
            self._held += form.size
        return form


class _Form:
    """A version, divided."""

    def __init__(self, version: CompiledVersion) -> None:
        slots = Slots()
        self._subject = Seam(version.subject, version.subject.parts, slots)
        self._html = _Html(version.html, slots)
        self._text = _Text(version.text, slots)
        self._slots = tuple(slots.found)
        self._is_simple = slots.are_all and self._html.prepare() and self._text.prepare()
        self.size = self._html.size + self._text.size

    def letter(
        self, *, headers: LetterHeaders, values: Mapping[str, str | None], footer: Footer | None, is_clean: bool
    ) -> "PressedLetter":
        """As `Press.letter`. `is_clean` says that no value holds anything invisible."""
        if footer and footer.unsubscribe_url != (headers.unsubscribe_url or ""):
            raise ValueError("the footer and the header of a letter must hold the same unsubscribe link")
        plain = self._plain(values) if self._is_simple and is_clean else None
        if plain is None:
            known = Values({name: body_text(value) for name, value in values.items() if value})
            fillings = [slot.named(known.flat) for slot in self._slots]
            subject = self._subject.fill(fillings, known)
            check_length(len(subject))
            html = self._html.filled(fillings, known, footer)
            text = self._text.filled(fillings, known, footer)
        else:
            subject = self._subject.fill(plain, _NOTHING)
            html = self._html.filled_plainly([escape(value).encode() for value in plain], footer)
            text = self._text.filled_plainly([value.encode() for value in plain], footer)
        boundary = boundary_of(headers.message_id, text.octets, html.octets, *self._text.risky, *self._html.risky)
        return PressedLetter(header_of(headers, subject_line(subject), boundary), boundary, text, html)

    def _plain(self, values: Mapping[str, str | None]) -> list[str] | None:
        """The fillings, if each is some visible characters that trimming would not touch."""
        fillings = [slot.named(values) for slot in self._slots]
        return fillings if all(map(_is_plain, fillings)) else None


class PressedLetter:
    """A letter ready for sending; only the transfer encoding is still open."""

    __slots__ = ("_boundary", "_header", "_html", "_text")

    def __init__(self, header: bytes, boundary: bytes, text: "_Filled", html: "_Filled") -> None:
        self._header = header
        self._boundary = boundary
        self._text = text
        self._html = html

    def wire(self, eightbit: bool) -> WireLetter:
        """The letter's octets for DATA. `eightbit` says whether the server takes BODY=8BITMIME (RFC 6152).

        This method itself may be given to a session as what makes the letter.
        """
        text = self._text.encoding(eightbit=eightbit)
        html = self._html.encoding(eightbit=eightbit)
        octets = b"".join(
            (
                self._header,
                b"\r\n",
                part_start(self._boundary, b"plain", text),
                *self._text.pieces(text),
                part_start(self._boundary, b"html", html),
                *self._html.pieces(html),
                parts_end(self._boundary),
                b".\r\n",
            )
        )
        return WireLetter(octets, b"8bit" not in (text, html))


# -- bodies ----------------------------------------------------------------------------------------------------------


class _Body:
    """A body: a seam, and for each block that block and another seam."""

    def __init__(
        self,
        program: Program,
        slots: Slots,
        *,
        divided: tuple[Sequence[str], Sequence[Sequence[Any]]],
        tidy: Callable[[str], str],
    ) -> None:
        blocks, seams = divided
        self.seams = [Seam(program, parts, slots) for parts in seams]
        self.blocks = [body_lines(tidy(block)) for block in blocks]
        self.is_ascii = all(block.isascii() for block in self.blocks)
        self.fits = all(map(lines_fit, self.blocks))
        self.risky = [block for block in self.blocks if _LIKE_A_DIGEST.search(block)]
        self._links = b"\n".join(line for block in self.blocks for line in block.split(b"\r\n") if _LINK in line)
        self._unchanging = sum(map(len, blocks))
        self.size = sum(map(len, self.blocks)) + sum(len(seam.format) for seam in self.seams)
        self._frame = _frame(map(_stuffed, self.blocks))
        self._quoted: list[bytes] | None = None
        self._format = b""
        self._pick = picker(())

    def frame(self, encoding: bytes) -> list[bytes]:
        """The blocks in that encoding, dots stuffed, with an empty place before and after each of them."""
        if encoding != b"quoted-printable":
            return self._frame.copy()
        if self._quoted is None:  # two threads that come here at once make the same
            self._quoted = _frame(_stuffed(quoted_printable(block)) for block in self.blocks)
        return self._quoted.copy()

    def _filled(self, fillings: Sequence[str], known: Values, escape: Callable[[str], str] | None = None) -> list[str]:
        """The seams with the fillings put in. Raises TooLarge."""
        filled = [seam.fill(fillings, known, escape) for seam in self.seams]
        check_length(self._unchanging + sum(map(len, filled)))
        return filled

    def _prepared(self, seams: Iterable[bytes]) -> bool:
        """Take these, the seams' formats trimmed and encoded, for letters of plain values, if those cannot exceed."""
        numbers = [number for seam in self.seams for number in seam.numbers]
        self._format = _BETWEEN.join(seams)
        self._pick = picker(numbers)
        most = self._unchanging + sum(len(seam.format) for seam in self.seams) + len(numbers) * _LONGEST_ESCAPED
        return most <= MAX_OUTPUT


class _Html(_Body):
    """The body of HTML. The footer, and what follows the body, begin with a line break: it is made of whole lines."""

    def __init__(self, program: Program, slots: Slots) -> None:
        super().__init__(program, slots, divided=divided((*program.parts, "\n"), is_whole), tidy=str)

    def filled(self, fillings: Sequence[str], known: Values, footer: Footer | None) -> "_Filled":
        """The body with the fillings put in, with its footer if it lacks the link. Raises TooLarge."""
        filled = self._filled([escape(filling) for filling in fillings], known, escape)
        if footer:
            opening = wayout.opening(footer.unsubscribe_url)
            if opening not in "".join(filled) and opening.encode() not in self._links:
                filled[-1] += f"{footer_html(footer)[1:]}\n"
        filled[-1] += PAGE_END[1:]
        return _Filled(self, _BETWEEN.join(map(body_lines, filled)))

    def prepare(self) -> bool:
        """Encode the seams beforehand; tells whether that could be done."""
        return self._prepared(body_lines(seam.format) for seam in self.seams)

    def filled_plainly(self, fillings: Sequence[bytes], footer: Footer | None) -> "_Filled":
        """The same of plain values, escaped."""
        octets: bytes = self._format % self._pick(fillings)
        if footer:
            opening = wayout.opening(footer.unsubscribe_url).encode()
            if opening not in octets and opening not in self._links:
                before, after, _ = _footers(footer.company_name, footer.postal_address)
                return _Filled(self, b"%b%b%b%b" % (octets, before, escape(footer.unsubscribe_url).encode(), after))
        return _Filled(self, octets + _PAGE_END)


class _Text(_Body):
    """The plain text."""

    def __init__(self, program: Program, slots: Slots) -> None:
        super().__init__(program, slots, divided=divided(program.parts, is_solid), tidy=collapsed)

    def filled(self, fillings: Sequence[str], known: Values, footer: Footer | None) -> "_Filled":
        """The text with the fillings put in, trimmed, with its footer if it lacks the link. Raises TooLarge."""
        filled = self._trimmed(self._filled(fillings, known))
        if footer and not self._has(body_lines("".join(filled)), footer.unsubscribe_url):
            filled[-1] = self._stripped(filled[-1]) + footer_text(footer)[1:]
        return _Filled(self, _BETWEEN.join(self._encoded(filled)))

    def prepare(self) -> bool:
        """Trim and encode the seams beforehand; tells whether that could be done."""
        trimmed = self._trimmed([seam.format for seam in self.seams])
        encoded = self._encoded(trimmed)
        return self._prepared(encoded) and encoded[-1] == body_lines(self._stripped(trimmed[-1]))

    def filled_plainly(self, fillings: Sequence[bytes], footer: Footer | None) -> "_Filled":
        """The same of plain values."""
        octets: bytes = self._format % self._pick(fillings)
        if footer:
            link = footer.unsubscribe_url
            if not self._has(octets, link):
                before = _footers(footer.company_name, footer.postal_address)[2]
                return _Filled(self, b"%b%b%b\r\n" % (octets, before, link.encode()))
        return _Filled(self, octets)

    def _has(self, seams: bytes, link: str) -> bool:
        return wayout.is_in_text(seams, link) or wayout.is_in_text(self._links, link)

    @staticmethod
    def _trimmed(filled: Sequence[str]) -> list[str]:
        # The line break before a seam ends the block before it, and begins what is to be collapsed.
        return [collapsed(filled[0]).lstrip("\n"), *(collapsed(f"\n{seam}")[1:] for seam in filled[1:])]

    def _stripped(self, last: str) -> str:
        """The last seam as it is before a footer: one line break at its end, which a block before it may bring."""
        last = last.rstrip()
        return f"{last}\n" if last or not self.blocks else ""

    def _encoded(self, filled: Sequence[str]) -> list[bytes]:
        """The seams in octets, with one line break at the end of the text."""
        seams = [body_lines(seam) for seam in filled]
        last = seams[-1].rstrip(b"\r\n")
        seams[-1] = last + b"\r\n" if last or not self.blocks else b""
        return seams


class _Filled:
    """A body with its seams filled in, joined in `octets`."""

    __slots__ = ("_body", "_is_ascii", "octets")

    def __init__(self, body: _Body, octets: bytes) -> None:
        self._body = body
        self._is_ascii = body.is_ascii and octets.isascii()
        self.octets = octets

    def encoding(self, *, eightbit: bool) -> bytes:
        """The transfer encoding that the body needs."""
        fits = self._body.fits and (len(self.octets) <= MAX_LINE or all(map(lines_fit, self.octets.split(_BETWEEN))))
        return encoding_of(is_ascii=self._is_ascii, fits=fits, eightbit=eightbit)

    def pieces(self, encoding: bytes) -> list[bytes]:
        """All of the body in that encoding, dots stuffed."""
        pieces = self._body.frame(encoding)
        seams = self.octets.split(_BETWEEN)
        pieces[::2] = map(_stuffed, map(quoted_printable, seams) if encoding == b"quoted-printable" else seams)
        return pieces


_NOTHING: Final = Values({})
_PAGE_END: Final = body_lines(PAGE_END[1:])


def _frame(blocks: Iterable[bytes]) -> list[bytes]:
    return [b"", *(piece for block in blocks for piece in (block, b""))]


def _is_plain(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= _LONGEST_PLAIN and text[-1] != " "


@lru_cache(maxsize=256)
def _footers(company_name: str, postal_address: str) -> tuple[bytes, bytes, bytes]:
    """The octets of the footer of HTML up to its link, from it to the end of the page, and of the text's up to it."""
    mark = "https://link.invalid/"
    footer = Footer(company_name=company_name, postal_address=postal_address, unsubscribe_url=mark)
    before, _, after = f"{footer_html(footer)[1:]}\n{PAGE_END[1:]}".rpartition(mark)
    return body_lines(before), body_lines(after), body_lines(footer_text(footer)[1:].rpartition(mark)[0])


def _stuffed(lines: bytes) -> bytes:
    """Whole lines with their dots stuffed (RFC 5321 section 4.5.2)."""
    stuffed = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
