"""What a sandbox server is told to do: a few settings and rules, one a line.

    tls: starttls                                  # starttls, first or none
    certificate: good                              # good, self-signed, expired or wrong-host
    tls-version: 1.3                               # 1.0, 1.1, 1.2 or 1.3: the newest it knows
    offer: STARTTLS, 8BITMIME, AUTH PLAIN LOGIN    # what it answers to EHLO; offer-before-tls, where that differs
    RCPT bob@* -> 550 5.1.1 No such user
    first 3 DATA -> 451 4.7.1 Greylisted, come back later
    after 50 letters -> 421 4.7.0 Too many letters; hang up

Of the rules that fit, the first one holds. docs/sandbox.md explains them to people.
"""

import re
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Final

MOMENTS: Final = (
    "greeting", "EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "body", "RSET", "NOOP", "QUIT", "any",
)  # fmt: skip
CHOICES: Final = {
    "tls": ("starttls", "first", "none"),
    "certificate": ("good", "self-signed", "expired", "wrong-host"),
    "tls-version": ("1.3", "1.2", "1.1", "1.0"),
}
OFFERS: Final = ("STARTTLS", "8BITMIME", "SIZE 26214400", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN CRAM-MD5")
MOST_FLOOD: Final = 1_000_000_000

_LEFT = re.compile(
    r"(?:first\s+(?P<first>\d{1,9})\s+|after\s+(?P<after>\d{1,9})\s+letters?\b\s*)?(?P<when>\S+)?(?:\s+(?P<fits>\S+))?"
)
_ACTION = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^;"])+')
_REPLY = re.compile(r"\d{3}(?:[ -].*)?")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPES: Final = {"r": b"\r", "n": b"\n", "t": b"\t", "e": b"\x1b", "0": b"\0"}
_UNITS: Final = {"": 1, "k": 1_000, "M": 1_000_000}


class ScriptError(ValueError):
    """A line that makes no sense; the text names it and says why."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send these octets. In them `{said}` is what the client said last, `{password}` the password it gave."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Usual:
    """Do what would be done without a rule."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """Send what follows octet by octet, one each so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Flood:
    """Send the same octets over and over, this many in all."""

    total: int
    octets: bytes


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing more, and take what comes."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection; with `reset`, by a RST."""

    reset: bool = False


Action = Say | Usual | Wait | Drip | Flood | Stall | HangUp


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do at a moment: `fits` is a pattern of the command's argument, a lower-case glob.

    `first` counts how often the rule has held, over all connections; `after` the letters of this one.
    """

    when: str
    actions: tuple[Action, ...]
    fits: str = "*"
    first: int | None = None
    after: int = 0

    def holds(self, moment: str, argument: str, *, letters: int) -> bool:
        """Whether it is about this; `first` is for whoever counts."""
        return self.when in ("any", moment) and letters >= self.after and fnmatchcase(argument.lower(), self.fits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All of it."""

    rules: tuple[Rule, ...] = ()
    tls: str = "starttls"
    certificate: str = "good"
    tls_version: str = "1.3"
    offer: tuple[str, ...] = OFFERS
    offer_before_tls: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> "Script":
        """Read a script. Raises ScriptError."""
        rules: list[Rule] = []
        settings: dict[str, str | tuple[str, ...]] = {}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            left, arrow, right = line.partition("->")
            try:
                if arrow:
                    rules.append(_rule(left.strip(), right.strip()))
                else:
                    settings.update(_setting(line))
            except ScriptError as problem:
                raise ScriptError(f"line {number}: {problem}") from None
        return cls(rules=tuple(rules), **settings)  # type: ignore[arg-type]  # `_setting` knows what is what


def _setting(line: str) -> dict[str, str | tuple[str, ...]]:
    name, colon, value = (part.strip() for part in line.partition(":"))
    if not colon or name.replace("-", "_") not in {one.name for one in fields(Script)} - {"rules"}:
        raise ScriptError(f"{line!r} is neither a rule (WHEN -> WHAT) nor a setting ({', '.join(CHOICES)}, offer)")
    if name.startswith("offer"):
        return {name.replace("-", "_"): tuple(piece.strip() for piece in value.split(",") if piece.strip())}
    if value not in CHOICES[name]:
        raise ScriptError(f"{name} is one of {', '.join(CHOICES[name])}")
    return {name.replace("-", "_"): value}


def _rule(left: str, right: str) -> Rule:
    found = _LEFT.fullmatch(left)
    when = (found["when"] or "any") if found else ""
    if found is None or when not in MOMENTS:
        raise ScriptError(f"{left!r} is not a moment; those are {', '.join(MOMENTS)}")
    actions = tuple(_action(piece.strip()) for piece in _ACTION.findall(right) if piece.strip())
    if not actions:
        raise ScriptError("there is nothing to do after ->")
    return Rule(
        when=when,
        actions=actions,
        fits=(found["fits"] or "*").lower(),
        first=int(found["first"]) if found["first"] else None,
        after=int(found["after"] or 0),
    )


def _action(text: str) -> Action:
    plain: dict[str, Action] = {"usual": Usual(), "stall": Stall(), "hang up": HangUp(), "reset": HangUp(reset=True)}
    if text in plain:
        return plain[text]
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return Say(_octets(text[1:-1]))
    if _REPLY.fullmatch(text):
        return Say(_octets(text) + b"\r\n")
    word, _, rest = text.partition(" ")
    if word in ("wait", "drip") and re.fullmatch(r"\d{1,6}(\.\d{1,3})?", rest):
        return Wait(float(rest)) if word == "wait" else Drip(float(rest))
    if word == "flood" and (found := re.fullmatch(r'(\d{1,9})([kM]?) "(.+)"', rest)):
        return Flood(min(int(found[1]) * _UNITS[found[2]], MOST_FLOOD), _octets(found[3]))
    raise ScriptError(
        f'{text!r} is nothing that can be done; say a reply like 550 No, octets like "2500\\r\\n", usual, wait 3, '
        'drip 1, stall, flood 40M "220-x\\r\\n", hang up or reset'
    )


def _octets(text: str) -> bytes:
    made, end = b"", 0
    for found in _ESCAPE.finditer(text):
        made += text[end : found.start()].encode() + _escaped(found[1])
        end = found.end()
    return made + text[end:].encode()


def _escaped(letter: str) -> bytes:
    if len(letter) == 3:
        return bytes([int(letter[1:], 16)])
    return _ESCAPES.get(letter, letter.encode())
