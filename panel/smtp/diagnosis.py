"""What a server's refusal means: a table, read from the top, of which the first row that fits decides.

Reply codes alone say little: 550 may be about the recipient, the sender, a daily limit or the way of signing in. So
rows look at the phase, the reply code, the enhanced status code (RFC 3463) and, for what providers are known to say,
their words. `explain.py` puts the result into words for people.
"""

import re
from dataclasses import dataclass

from panel.smtp.outcome import About, FailureCode, Phase, Verdict
from panel.smtp.reply import Reply

_HELLO = (Phase.HELLO,)
_TLS = (Phase.TLS,)
_AUTH = (Phase.AUTH,)
_MAIL = (Phase.MAIL,)
_RCPT = (Phase.RCPT,)
_LETTER = (Phase.DATA, Phase.FINAL_DOT)
_TRANSACTION = (*_MAIL, *_RCPT, *_LETTER)
_ANY = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where all of its conditions hold, the refusal is `about` this, with this failure code.

    `code` and `enhanced` are patterns of the whole, in which x stands for any digit and any number; `words` is
    looked for anywhere in the text, in any case. Without a `verdict`, 4yz is temporary and 5yz permanent.
    """

    phases: tuple[Phase, ...]
    about: About
    failure: FailureCode
    code: str = "xxx"
    enhanced: str = ""
    words: str = ""
    verdict: Verdict | None = None

    def fits(self, phase: Phase, reply: Reply) -> bool:
        """Whether this row speaks about a reply in this phase."""
        return (
            phase in self.phases
            and re.fullmatch(self.code.replace("x", r"\d"), str(reply.code)) is not None
            and (not self.enhanced or _enhanced(self.enhanced).fullmatch(reply.enhanced or "") is not None)
            and (not self.words or re.search(self.words, reply.text, re.IGNORECASE) is not None)
        )


def _enhanced(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(".", r"\.").replace("x", r"\d+"))


# What providers are known to say. Sources: Google, "Gmail SMTP errors and codes" (support.google.com/a/answer/3726730);
# Microsoft, "Email non-delivery reports and SMTP errors in Exchange Online" and the Exchange team's "Changes coming to
# the SMTP Authenticated Submission client protocol"; Amazon, "Errors related to the sending quotas for your Amazon SES
# account"; Yahoo, "SMTP error codes"; Postfix, postconf(5).
_DIALECTS = (
    # Gmail: "550 5.4.5 Daily user sending limit exceeded", also as "Daily sending quota exceeded". Passes after a day.
    Row(_TRANSACTION, About.QUOTA, FailureCode.SERVER_BUSY, "5xx", "5.4.5", verdict=Verdict.TEMPORARY),
    # Google's relay: "550 5.7.1 Daily SMTP relay limit exceeded", "450 4.2.1 Peak SMTP relay limit exceeded".
    Row(
        _TRANSACTION,
        About.QUOTA,
        FailureCode.SERVER_BUSY,
        words=r"relay (sending )?limit exceeded",
        verdict=Verdict.TEMPORARY,
    ),
    # Amazon SES: "454 Throttling failure: Daily message quota exceeded", "... Maximum sending rate exceeded".
    Row(_TRANSACTION, About.QUOTA, FailureCode.SERVER_BUSY, "454", words=r"throttling"),
    # Exchange Online: "550 5.1.90 Your message can't be sent because you've reached your daily limit for message
    # recipients", "554 5.2.0 ... SubmissionQuotaExceededException".
    Row(_TRANSACTION, About.QUOTA, FailureCode.SERVER_BUSY, "5xx", "5.1.90", verdict=Verdict.TEMPORARY),
    # In many servers' own words: "you have exceeded your daily sending limit", "hourly quota exceeded".
    Row(
        _TRANSACTION,
        About.QUOTA,
        FailureCode.SERVER_BUSY,
        words=r"SubmissionQuotaExceeded|(daily|hourly|sending|outgoing|message) (message |email |sending )?"
        r"(limit|quota) (has been )?(exceeded|reached)|exceeded (your|the) (\w+ )?(daily|hourly|sending) ",
        verdict=Verdict.TEMPORARY,
    ),
    # Exchange Online: "432 4.3.2 concurrent connections limit exceeded", "4.3.2 STOREDRV.ClientSubmit; sender thread
    # limit exceeded": three connections at a time for one mailbox. It comes at AUTH, too, and says nothing about the
    # password.
    Row(_ANY, About.SERVER, FailureCode.SERVER_BUSY, "4xx", "4.3.2"),
    # Gmail: "454 4.7.0 Too many login attempts"; Yahoo: "535 5.7.0 (#AUTH005) Too many bad auth attempts".
    Row(
        _AUTH,
        About.CREDENTIALS,
        FailureCode.AUTH_TEMPORARY,
        words=r"too many (\w+ ){0,2}(attempts|logins|failures)",
        verdict=Verdict.TEMPORARY,
    ),
    # Exchange Online: "550 5.7.30 Basic authentication is not supported for Client Submission".
    Row((*_AUTH, *_TRANSACTION), About.CREDENTIALS, FailureCode.AUTH_UNAVAILABLE, "5xx", "5.7.30"),
    # Exchange Online: "530 5.7.57 Client not authenticated to send mail".
    Row(_TRANSACTION, About.CREDENTIALS, FailureCode.AUTH_FAILED, "5xx", "5.7.57"),
    # Exchange Online: "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "554 5.2.252
    # SendAsDenied".
    Row(_TRANSACTION, About.SENDER, FailureCode.SENDER_REFUSED, "5xx", "5.7.60"),
    # Exchange: "SendAsDenied". Postfix: "553 5.7.1 Sender address rejected: not owned by user x", said at RCPT by
    # default. Amazon SES: "554 Message rejected: Email address is not verified". Others in words like these.
    Row(
        _TRANSACTION,
        About.SENDER,
        FailureCode.SENDER_REFUSED,
        "5xx",
        words=r"SendAsDenied|sender address rejected|sender (is )?(not allowed|denied|rejected|verify failed)"
        r"|not owned by user|not (allowed|permitted|authori[sz]ed) to (send|use)\b.{0,40}\b(as|from|sender|address)"
        r"|email address is not verified|from address .{0,60}not (verified|allowed)",
    ),
)

_GENERAL = (
    # Without TLS, "530 5.7.0 Must issue a STARTTLS command first" (RFC 3207 section 4) is about the form's security.
    Row(_AUTH, About.SERVER, FailureCode.AUTH_NEEDS_TLS, "530|538"),
    Row(_TRANSACTION, About.SERVER, FailureCode.WRONG_SECURITY, "5xx", words=r"\bSTARTTLS\b|TLS (is )?required"),
    # 421: the server is closing the connection, whatever was asked (RFC 5321 section 3.8).
    Row(_ANY, About.SERVER, FailureCode.SERVER_BUSY, "421"),
    # Until the letter.
    Row((Phase.GREETING,), About.SERVER, FailureCode.SERVER_BUSY),
    Row(_TLS, About.SERVER, FailureCode.TLS_UNAVAILABLE),
    Row(_HELLO, About.SERVER, FailureCode.SERVER_BUSY, "4xx"),
    Row(_HELLO, About.SERVER, FailureCode.PROTOCOL_ERROR),
    Row(_AUTH, About.SERVER, FailureCode.AUTH_TEMPORARY, "4xx"),
    Row(_AUTH, About.SERVER, FailureCode.AUTH_UNAVAILABLE, "50x"),
    Row(_AUTH, About.CREDENTIALS, FailureCode.AUTH_FAILED),
    # The letter: first what says clearly what it is about.
    Row(_TRANSACTION, About.CREDENTIALS, FailureCode.AUTH_FAILED, "530"),
    Row(
        _TRANSACTION,
        About.CREDENTIALS,
        FailureCode.AUTH_FAILED,
        "5xx",
        words=r"auth(entication)? (is )?required|not authenticated|(must|please) (first )?(authenticate|log ?in)",
    ),
    # "554 5.7.1 Relay access denied": the server does not send for us at all, so it is not about this recipient.
    Row(
        _RCPT,
        About.SERVER,
        FailureCode.RECIPIENT_REFUSED,
        "5xx",
        words=r"relay(ing)? (access |is |not )?(denied|permitted|allowed|prohibited)|(unable|not allowed) to relay",
    ),
    Row(_TRANSACTION, About.MESSAGE, FailureCode.MESSAGE_REFUSED, enhanced="x.3.4"),
    Row((*_MAIL, *_LETTER), About.MESSAGE, FailureCode.MESSAGE_REFUSED, "552"),
    Row(_TRANSACTION, About.SENDER, FailureCode.SENDER_REFUSED, "5xx", "x.1.(7|8)"),
    Row(_TRANSACTION, About.MESSAGE, FailureCode.MESSAGE_REFUSED, enhanced="x.6.x"),
    Row((*_RCPT, *_LETTER), About.RECIPIENT, FailureCode.RECIPIENT_REFUSED, enhanced="x.(1|2).x"),
    Row(_RCPT, About.RECIPIENT, FailureCode.RECIPIENT_REFUSED, enhanced="x.4.x"),
    Row(_TRANSACTION, About.SERVER, FailureCode.SERVER_BUSY, enhanced="4.(3|4).x"),
    Row(_TRANSACTION, About.SERVER, FailureCode.PROTOCOL_ERROR, "50x"),
    # Then what the command alone tells.
    Row(_MAIL, About.SERVER, FailureCode.SERVER_BUSY, "4xx"),
    Row(_MAIL, About.SENDER, FailureCode.SENDER_REFUSED),
    Row(_RCPT, About.SERVER, FailureCode.SERVER_BUSY, "452"),
    Row(_RCPT, About.RECIPIENT, FailureCode.RECIPIENT_REFUSED),
    Row((Phase.DATA,), About.SERVER, FailureCode.SERVER_BUSY, "4xx"),
    Row(_LETTER, About.MESSAGE, FailureCode.MESSAGE_REFUSED, enhanced="4.7.x"),
    Row(_LETTER, About.SERVER, FailureCode.SERVER_BUSY, "45(1|2)"),
    Row(_ANY, About.MESSAGE, FailureCode.MESSAGE_REFUSED),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a refusal means."""

    verdict: Verdict
    about: About
    failure: FailureCode


def diagnose(*, phase: Phase, reply: Reply) -> Diagnosis:
    """Say what a refusal (4yz or 5yz) in this phase means."""
    row = next(row for row in (*_DIALECTS, *_GENERAL) if row.fits(phase, reply))
    by_code = Verdict.TEMPORARY if reply.temporary else Verdict.PERMANENT
    return Diagnosis(row.verdict or by_code, row.about, row.failure)


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
