"""Scripts that come with the sandbox: servers as people meet them, and servers as one hopes never to meet them."""

from dataclasses import dataclass
from typing import Final

from panel.smtp.outcome import FailureCode


@dataclass(frozen=True, slots=True)
class Play:
    """A script and what it is about. `code` is what Ownpost makes of it in a connection test; None: it works."""

    about: str
    script: str
    code: FailureCode | None = None


EVERYDAY: Final[dict[str, Play]] = {
    "accepts": Play("Takes everything and throws it away", ""),
    "defers": Play("Puts every letter off (451)", "body -> 451 4.3.0 Not now, try again later"),
    "greylists": Play(
        "Puts the first three recipients off, as greylisting does",
        "first 3 RCPT -> 451 4.7.1 Greylisted, come back later",
        FailureCode.RECIPIENT_REFUSED,
    ),
    "knows-no-bob": Play("Refuses every recipient whose name is bob", "RCPT bob@* -> 550 5.1.1 No such user here"),
    "refuses-letters": Play("Refuses every letter after its body (554)", "body -> 554 5.7.1 This looks like spam"),
    "fifty-letters": Play("Hangs up after 50 letters", "after 50 letters -> 421 4.7.0 Too many letters; hang up"),
    "quota": Play(
        "Has no more letters left for today", "MAIL -> 452 4.3.1 Daily sending quota exceeded", FailureCode.SERVER_BUSY
    ),
    "slow": Play("Takes two seconds over each letter", "body -> wait 2; usual"),
    "stalls": Play("Never answers after a letter's final dot", "body -> stall"),
    "hangs-up": Play("Hangs up after a letter's final dot, without an answer", "body -> hang up"),
    "busy": Play("Is too busy to talk (421)", "greeting -> 421 4.3.2 Too busy; hang up", FailureCode.SERVER_BUSY),
    "refuses-sender": Play(
        "Refuses the sender", "MAIL -> 550 5.7.1 You may not send as that", FailureCode.SENDER_REFUSED
    ),
}

_STARTTLS = "STARTTLS -> "
HOSTILE: Final[dict[str, Play]] = {
    "no-starttls": Play("Offers no STARTTLS", "offer: AUTH PLAIN LOGIN\ntls: none", FailureCode.TLS_UNAVAILABLE),
    "starttls-454": Play("TLS is not available now", _STARTTLS + "454 4.7.0 Not now", FailureCode.TLS_UNAVAILABLE),
    "starttls-502": Play("Does not know STARTTLS after all", _STARTTLS + "502 5.5.1 ?", FailureCode.TLS_UNAVAILABLE),
    "starttls-354": Play("Answers STARTTLS as if it were DATA", _STARTTLS + "354 Go", FailureCode.PROTOCOL_ERROR),
    "starttls-injection": Play(
        "Says more behind its 220 to STARTTLS, as somebody in between would",
        _STARTTLS + '"220 Go ahead\\r\\n250-evil.example\\r\\n250 AUTH PLAIN\\r\\n"',
        FailureCode.PROTOCOL_ERROR,
    ),
    "ehlo-refused": Play("Refuses EHLO", "EHLO -> 550 5.7.1 Not you\nHELO -> 550 No", FailureCode.TLS_UNAVAILABLE),
    "ehlo-refused-under-tls": Play(
        "Refuses EHLO once TLS is on", "tls: first\nEHLO -> 550 5.7.1 Not you", FailureCode.PROTOCOL_ERROR
    ),
    "self-signed": Play(
        "Nobody has signed its certificate", "certificate: self-signed", FailureCode.CERTIFICATE_UNTRUSTED
    ),
    "expired": Play("Its certificate has expired", "certificate: expired", FailureCode.CERTIFICATE_EXPIRED),
    "wrong-host": Play(
        "Its certificate is another server's", "certificate: wrong-host", FailureCode.CERTIFICATE_WRONG_HOST
    ),
    "tls-1.0": Play("Knows TLS 1.0 and nothing newer", "tls-version: 1.0", FailureCode.TLS_TOO_OLD),
    "cleartext-auth": Play(
        "Wants the password without TLS (choose Security: None)",
        "tls: none\noffer: AUTH PLAIN LOGIN",
        FailureCode.AUTH_NEEDS_TLS,
    ),
    "auth-503": Play("Answers AUTH with 503", "AUTH -> 503 5.5.1 AUTH not advertised", FailureCode.AUTH_UNAVAILABLE),
    "auth-535": Play("Takes no password", "AUTH -> 535 5.7.8 Wrong password", FailureCode.AUTH_FAILED),
    "offers-before-tls": Play(
        "Offers AUTH before TLS and nothing after it",
        "offer-before-tls: STARTTLS, AUTH PLAIN, SMTPUTF8\noffer: 8BITMIME",
        FailureCode.AUTH_UNAVAILABLE,
    ),
    "greeting-drips": Play(
        "Its greeting never ends", 'greeting -> drip 0.5; "220 ' + "x" * 3000 + '"', FailureCode.TIMED_OUT
    ),
    "byte-a-second": Play("Says one octet a second", "any -> drip 1; usual", FailureCode.TIMED_OUT),
    "40-mb": Play("Greets with 40 MB", 'greeting -> flood 40M "220-Welcome\\r\\n"', FailureCode.PROTOCOL_ERROR),
    "40-mb-line": Play(
        "Greets with one line of 40 MB", 'greeting -> "220 "; flood 40M "x"', FailureCode.PROTOCOL_ERROR
    ),
    "9-kb-line": Play(
        "Greets with a line of 9 kB", 'greeting -> "220 ' + "x" * 9000 + '\\r\\n"', FailureCode.PROTOCOL_ERROR
    ),
    "late-250": Play("Takes letters after the client's time-out", "body -> wait 900; 250 2.0.0 Late but taken"),
    "quit-421": Play("Answers QUIT with 421", "QUIT -> 421 4.3.2 Closing; hang up"),
    "code-2500": Play("Answers EHLO with code 2500", 'EHLO -> "2500 ok\\r\\n"', FailureCode.PROTOCOL_ERROR),
    "code-199": Play("Answers EHLO with code 199", 'EHLO -> "199 ok\\r\\n"', FailureCode.PROTOCOL_ERROR),
    "code-abc": Play("Answers EHLO with code abc", 'EHLO -> "abc ok\\r\\n"', FailureCode.PROTOCOL_ERROR),
    "redis-banner": Play(
        "Is no mail server but a Redis",
        "greeting -> \"-ERR wrong number of arguments for 'secret' command\\r\\n\"",
        FailureCode.NOT_SMTP,
    ),
    "http-banner": Play(
        "Is no mail server but a web server",
        'greeting -> "HTTP/1.1 400 Bad Request\\r\\nServer: secret/1.0\\r\\n\\r\\n"; hang up',
        FailureCode.NOT_SMTP,
    ),
    "script-tags": Play(
        "Answers with HTML",
        "MAIL -> 550 5.7.1 <script>alert(1)</script><img src=x onerror=alert(2)>",
        FailureCode.SENDER_REFUSED,
    ),
    "terminal-escapes": Play(
        "Answers with terminal escapes",
        'MAIL -> "550 5.7.1 \\e[2J\\e]0;owned\\x07\\e[31mred\\x9b1m\\r\\e[1A gone\\r\\n"',
        FailureCode.SENDER_REFUSED,
    ),
    "password-echo": Play(
        "Repeats the password, as it came and decoded",
        "AUTH -> 535 5.7.8 {said} is {password}, wrong",
        FailureCode.AUTH_FAILED,
    ),
}
PLAYS: Final = EVERYDAY | HOSTILE
