"""Email addresses and the texts that end up in header fields.

What passes here can stand in a header field or an SMTP command: one line, no control characters, nothing that changes
the order in which a reader sees it.
"""

import re
from typing import Final

from email_validator import EmailNotValidError, validate_email

MAX_HEADER_TEXT: Final = 300
# RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.2: 64 octets, the at sign, and 255 octets. What is mailed is shorter still,
# but with a domain in letters beyond ASCII nobody can tell before it is encoded.
MAX_ADDRESS: Final = 320

_LINE_BREAKS = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_LINE_BREAK = re.compile(f"[{_LINE_BREAKS}]")
# Control characters, lone surrogates (which no encoding can carry) and the noncharacters at the end of the BMP.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# The embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9): with them a name can
# be made to read as something else.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")

# A dot-atom (RFC 5322 section 3.2.3) of letters, digits and what usually stands between them, and a domain in ASCII.
_PLAIN = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)")
_SHORT: Final = 64  # characters: neither the local part nor the whole can be too long


class InvalidAddress(ValueError):
    """An address that cannot be mailed; the text says why, in plain words."""


class InvalidHeaderText(ValueError):
    """A name or subject that cannot stand in a header field; the text says why, in plain words."""


def normalise(address: str) -> str:
    """The form in which participants' and suppressed addresses are stored and compared: all lower-case ASCII.

    RFC 5321 §2.4 lets a mail server tell `Bob@` from `bob@`; none that people use does, while people do type their
    own address both ways. Lower-casing makes one person one participant, and makes an unsubscription hold.
    Raises InvalidAddress.
    """
    return canonical(address).lower()


def canonical(address: str) -> str:
    """The address with its local part as typed and its domain in lower-case A-labels (RFC 5890).

    For the account's own outbound addresses and for what a server is logged in with. Raises InvalidAddress.
    """
    address = address.strip(" ")
    if len(address) > MAX_ADDRESS:
        raise InvalidAddress(f"The address is {len(address):,} characters long; at most {MAX_ADDRESS} fit.")
    if _CONTROL.search(address) or _LINE_BREAK.search(address) or _BIDI.search(address):
        raise InvalidAddress("The address contains an invisible character, such as a line break. Please type it again.")
    try:
        # Names under .test are for trying things out (RFC 6761); whether a domain exists is the mail server's affair.
        found = validate_email(
            address, check_deliverability=False, allow_smtputf8=False, strict=True, test_environment=True
        )
    except EmailNotValidError as error:
        raise InvalidAddress(str(error)) from error
    return f"{found.ascii_local_part}@{found.ascii_domain.lower()}"


def for_strangers(address: str) -> str | None:
    """The address, to be named in a letter to somebody who does not know whose it is; None for one that misleads.

    A local part may hold a slash (RFC 5322 section 3.2.3): mail programs make a web link of `beans.example/pay@…`.
    """
    return address if _PLAIN.fullmatch(address) and not address.lower().startswith("www.") else None


class Normaliser:
    """`normalise` for many addresses, most of which share their domains: says the same, in a twentieth of the time.

    Of a plain address the local part can be judged by itself; its domain is looked at once.
    """

    def __init__(self) -> None:
        self._domains: dict[str, str | None] = {}

    def __call__(self, address: str) -> str:
        """Raises InvalidAddress."""
        plain = _PLAIN.fullmatch(address)
        if plain is None or len(address) > _SHORT:
            return normalise(address)
        local, domain = plain.groups()
        if domain not in self._domains:
            self._domains[domain] = _domain(domain)
        known = self._domains[domain]
        return normalise(address) if known is None else f"{local.lower()}@{known}"


def _domain(given: str) -> str | None:
    try:
        return normalise(f"a@{given}").partition("@")[2]
    except InvalidAddress:
        return None


def check_header_text(text: str, *, what: str, most: int = MAX_HEADER_TEXT) -> str:
    """Return a name or subject without the blanks around it, or raise InvalidHeaderText.

    `what` names the text in the error, for example "The display name"; `most` is how many characters it may have.
    """
    text = text.strip(" ")
    if _LINE_BREAK.search(text):
        raise InvalidHeaderText(f"{what} must be a single line.")
    if _CONTROL.search(text):
        raise InvalidHeaderText(f"{what} contains an invisible control character. Please type it again.")
    if _BIDI.search(text):
        raise InvalidHeaderText(f"{what} contains a character that changes the reading direction. Please retype it.")
    if len(text) > most:
        raise InvalidHeaderText(f"{what} is {len(text)} characters long; at most {most} fit.")
    return text


def one_line(text: str) -> str:
    """Make any text fit for a header field: breaks and runs of blanks become one blank, invisible characters go.

    The last line of defence, for texts that were merged from values; what a person types is refused by
    `check_header_text` instead.
    """
    if not text.isprintable():
        text = _LINE_BREAK.sub(" ", text.replace("\t", " "))
        text = _BIDI.sub("", _CONTROL.sub("", text))
    elif "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text  # of all blanks only the space is printable
    return " ".join(text.split())


def body_text(text: str) -> str:
    """Make any text fit for a body: every kind of line break becomes a newline, other control characters go."""
    if not text.isprintable():
        text = _LINE_BREAK.sub("\n", text.replace("\r\n", "\n"))
        text = _BIDI.sub("", "\n".join(_CONTROL.sub("", line) for line in text.replace("\t", " ").split("\n")))
    return text
