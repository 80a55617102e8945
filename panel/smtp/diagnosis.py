"""What a server's refusal means: a table, read from the top, of which the first row that fits decides.

Reply codes alone say little: 550 may be about the recipient, the sender, a daily limit or the way of signing in. So
rows look at the phase, the reply code, the enhanced status code (RFC 3463) and, for what providers are known to say,
their words. `explain.py` puts the result into words for people; `docs/failures.md` shows the table.
"""

import datetime as dt
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from panel.smtp.codes import GENERAL
from panel.smtp.dialects import DIALECTS
from panel.smtp.outcome import About, FailureCode, Phase, Renewal, Verdict
from panel.smtp.reply import Reply
from panel.smtp.rows import Row

TABLE: Final[tuple[Row, ...]] = (*DIALECTS, *GENERAL)

_READ: Final = 2000
"""Octets of a reply that are read for what they mean. No server that means something says more, while the time that
some of the patterns take grows with the square of what there is to read."""
_LONGEST: Final = 86_400.0  # seconds; a server that wants more is asked again after a day
_AGAIN: Final = r"(?:again|retry|resend|come back|wait|renews?|resets?)"
_AFTER: Final = re.compile(
    rf"{_AGAIN}\b[^0-9.;]{{0,30}}?(\d{{1,5}}(?:\.\d{{1,3}})?)\s*(seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b",
    re.IGNORECASE,
)
_AT: Final = re.compile(
    rf"{_AGAIN}\b[^0-9.;]{{0,30}}?((?:mon|tue|wed|thu|fri|sat|sun), \d{{1,2}} [a-z]{{3}} \d{{4}} [0-9:]{{5,8}} \S+)",
    re.IGNORECASE,
)
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a refusal means; `come_back` is in how many seconds the server wants us back, where it said so."""

    verdict: Verdict
    about: About
    failure: FailureCode
    renews: Renewal | None = None
    come_back: float | None = None


def diagnose(*, phase: Phase, reply: Reply) -> Diagnosis:
    """Say what a refusal (4yz or 5yz) in this phase means."""
    reply = reply.beginning(_READ)
    row = next(row for row in TABLE if row.fits(phase, reply))
    verdict = row.verdict or (Verdict.TEMPORARY if reply.temporary else Verdict.PERMANENT)
    come_back = _come_back(reply.text) if verdict is Verdict.TEMPORARY else None
    return Diagnosis(verdict, row.about, row.failure, row.renews, come_back)


def _come_back(text: str) -> float | None:
    if found := _AFTER.search(text):
        return min(_LONGEST, float(found[1]) * _UNITS[found[2][0].lower()])
    if found := _AT.search(text):
        try:
            at = parsedate_to_datetime(found[1])
        except ValueError:
            return None
        left = at.replace(tzinfo=at.tzinfo or dt.UTC) - dt.datetime.now(dt.UTC)
        return min(_LONGEST, max(1.0, left.total_seconds()))
    return None


_PERMANENT_BREAKS = frozenset(
    {
        FailureCode.DESTINATION_NOT_ALLOWED,
        FailureCode.NOT_SMTP,
        FailureCode.WRONG_SECURITY,
        FailureCode.TLS_UNAVAILABLE,
        FailureCode.CERTIFICATE_UNTRUSTED,
        FailureCode.CERTIFICATE_EXPIRED,
        FailureCode.CERTIFICATE_WRONG_HOST,
        FailureCode.TLS_TOO_OLD,
        FailureCode.AUTH_UNAVAILABLE,
        FailureCode.AUTH_NEEDS_TLS,
    }
)


def verdict_of_break(*, phase: Phase, failure: FailureCode) -> Verdict:
    """Say what is known of the letter when the conversation broke in this phase, without a valid reply.

    While a server is being opened there is no letter: then it says whether opening it again later may help.
    """
    if phase is Phase.FINAL_DOT:
        return Verdict.UNKNOWN
    if phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.READY) or failure is FailureCode.CANCELED:
        return Verdict.NOT_SENT
    return Verdict.PERMANENT if failure in _PERMANENT_BREAKS else Verdict.TEMPORARY
