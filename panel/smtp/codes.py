"""What reply codes and enhanced status codes mean by themselves, read after the dialects: the first that fits."""

from typing import Final

from panel.smtp.closing import CLOSING
from panel.smtp.outcome import FailureCode, Phase, Renewal, Verdict
from panel.smtp.rows import (
    ANY,
    AUTH,
    HELLO,
    LETTER,
    MAIL,
    RCPT,
    TRANSACTION,
    Row,
    Source,
    credentials,
    message,
    quota,
    recipient,
    sender,
    server,
)

_NO_RELAY: Final = r"relay(ing)? (access |is |not )?(denied|permitted|allowed|prohibited)|(unable|not allowed) to relay"
_UNTIL_THE_LETTER: Final = (
    server(
        phases=AUTH,
        code="530|538",
        failure=FailureCode.AUTH_NEEDS_TLS,
        note="The password wants encryption first.",
        source=Source.RFC4954,
        examples=(
            "auth 538 5.7.11 Encryption required for requested authentication mechanism",
            "auth 530 5.7.0 Must issue a STARTTLS command first",
        ),
    ),
    server(
        phases=TRANSACTION,
        code="5xx",
        words=r"\bSTARTTLS\b|TLS (is )?required",
        failure=FailureCode.WRONG_SECURITY,
        note="The server wants encryption: the form’s security is wrong.",
        source=Source.RFC3207,
        examples=("mail 530 5.7.0 Must issue a STARTTLS command first",),
    ),
    quota(
        phases=ANY,
        enhanced="x.7.28",
        renews=Renewal.UNKNOWN,
        note="Mail flood detected.",
        source=Source.REGISTRY,
        examples=("mail 450 4.7.28 Mail flood detected", "final_dot 550 5.7.28 Mail flood detected"),
    ),
    *CLOSING,
    server(
        code="421",
        note="The server is closing the connection, whatever was asked; also Gmail’s 421 4.7.0 “Try again later”, "
        "iCloud’s “too many errors”, Oracle’s “Too many connections”.",
        source=Source.RFC5321,
        examples=(
            "mail 421 4.7.0 Try again later, closing connection. - gsmtp",
            "ready 421 4.4.2 Timeout - closing connection.",
            "greeting 421 4.7.0 mx.example.com Error: too many connections from 192.0.2.1",
            "rcpt 421 4.3.0 Temporary System Problem. Try again later",
        ),
    ),
    server(
        phases=(Phase.GREETING,),
        note="The server does not take us at all.",
        source=Source.RFC5321,
        examples=("greeting 554 gmx.net (mxgmx104) Nemesis ESMTP Service not available", "greeting 450 no"),
    ),
    server(
        phases=(Phase.TLS,),
        failure=FailureCode.TLS_UNAVAILABLE,
        note="STARTTLS was refused.",
        source=Source.RFC3207,
        examples=("tls 454 4.7.0 TLS not available due to temporary reason", "tls 502 what?"),
    ),
    server(
        phases=HELLO,
        code="4xx",
        note="Not now.",
        source=Source.RFC5321,
        examples=("hello 451 4.3.0 local problem",),
    ),
    server(
        phases=HELLO,
        failure=FailureCode.PROTOCOL_ERROR,
        note="EHLO was refused.",
        source=Source.RFC5321,
        examples=("hello 501 5.5.4 Invalid domain name",),
    ),
    credentials(
        phases=AUTH,
        code="xxx",
        enhanced="x.7.12",
        verdict=Verdict.PERMANENT,
        note="The mailbox has to change its password first: a 432, and yet waiting does not help.",
        source=Source.RFC4954,
        examples=("auth 432 4.7.12 A password transition is needed",),
    ),
    credentials(
        phases=AUTH,
        code="4xx",
        failure=FailureCode.AUTH_TEMPORARY,
        note="The server cannot check the password now.",
        source=Source.RFC4954,
        examples=("auth 454 4.7.0 Temporary authentication failure",),
    ),
    server(
        phases=AUTH,
        code="50x",
        failure=FailureCode.AUTH_UNAVAILABLE,
        note="The server does not know this way of signing in.",
        source=Source.RFC4954,
        examples=("auth 504 5.5.4 Unrecognized authentication type", "auth 503 5.5.1 AUTH not available"),
    ),
    credentials(
        phases=AUTH,
        note="The user name or the password is wrong, or a password for programs is wanted (534), or the account is "
        "disabled (525).",
        source=Source.RFC4954,
        examples=(
            "auth 535 5.7.8 Username and Password not accepted. - gsmtp",
            "auth 534 5.7.9 Application-specific password required. - gsmtp",
            "auth 535 Authentication Credentials Invalid",
            "auth 525 5.7.13 User Account Disabled",
        ),
    ),
)

_SIGNED_IN: Final = (
    credentials(
        phases=TRANSACTION,
        enhanced="5.7.(8|13)",
        note="The credentials are wrong, or of a disabled account.",
        source=Source.REGISTRY,
        examples=("mail 550 5.7.13 User Account Disabled",),
    ),
    credentials(
        phases=TRANSACTION,
        code="530",
        note="Nobody has signed in.",
        source=Source.RFC4954,
        examples=("mail 530 Authentication required", "rcpt 530 5.7.0 Authentication required"),
    ),
    credentials(
        phases=TRANSACTION,
        words=r"auth(entication)? (is )?required|not authenticated|(must|please) (first )?(be )?(authenticate|log ?in)",
        note="The same with another code (IONOS, SMTP2GO and many).",
        source=Source.SMTP2GO,
        examples=("rcpt 550 Relay access denied - please authenticate", "rcpt 550 must be authenticated"),
    ),
    server(
        phases=RCPT,
        failure=FailureCode.RECIPIENT_REFUSED,
        words=_NO_RELAY,
        note="The server does not send for us at all, so it is not about this recipient (Postfix, Mailgun, Google).",
        source=Source.POSTFIX,
        examples=(
            "rcpt 554 5.7.1 <a@example.com>: Relay access denied",
            "rcpt 550 5.7.1 Relaying denied",
            "rcpt 454 4.7.1 <a@example.com>: Relay access denied",
            "rcpt 550 5.7.0 Mail relay denied [192.0.2.1].",
        ),
    ),
    server(
        phases=RCPT,
        failure=FailureCode.RECIPIENT_REFUSED,
        words=r"not permitted to relay",
        note="The same in Exim’s words.",
        source=Source.EXIM,
        examples=("rcpt 550 mail.example.com [192.0.2.1]:36825 is not permitted to relay through this server",),
    ),
    server(
        phases=RCPT,
        failure=FailureCode.RECIPIENT_REFUSED,
        words=r"list of (allowed )?rcpthosts",
        note="The same in qmail’s words.",
        source=Source.QMAIL,
        examples=("rcpt 553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",),
    ),
    server(
        phases=RCPT,
        failure=FailureCode.RECIPIENT_REFUSED,
        words=r"invalid credentials for relay",
        note="Google’s relay does not know our network address, or not for this domain.",
        source=Source.GOOGLE,
        examples=("rcpt 550 5.7.1 Invalid credentials for relay [192.0.2.1].",),
    ),
    server(
        phases=(*MAIL, *LETTER),
        failure=FailureCode.SENDER_REFUSED,
        words=rf"{_NO_RELAY}|not permitted to relay|invalid credentials for relay",
        note="The server does not send for us at all, and says so at another time.",
        source=Source.GOOGLE,
        examples=(
            "mail 550 5.7.0 Mail relay denied [192.0.2.1].",
            "final_dot 550 5.7.1 Invalid credentials for relay [192.0.2.1].",
        ),
    ),
)

_ENHANCED: Final = (
    recipient(
        enhanced="x.2.(1|2)",
        note="The mailbox is disabled, or full; also with 552.",
        source=Source.RFC3463,
        examples=("final_dot 552 5.2.2 full", "rcpt 550 5.2.1 The email account that you tried to reach is disabled."),
    ),
    message(
        enhanced="x.(2.3|3.4|7.16)",
        note="The letter is too big.",
        source=Source.RFC3463,
        examples=(
            "mail 552 5.3.4 Message size exceeds fixed limit",
            "final_dot 552 5.2.3 Your message exceeded our size",
        ),
    ),
    message(
        phases=(*MAIL, *LETTER),
        code="552",
        note="The letter is too big.",
        source=Source.RFC5321,
        examples=("mail 552 too much mail data",),
    ),
    sender(
        enhanced="x.1.(7|8)",
        note="The sender’s address or domain is wrong; Exchange Online’s “bad outbound sender”.",
        source=Source.RFC3463,
        examples=(
            "mail 553 5.1.8 Sender address domain not found",
            "final_dot 550 5.1.8 Access denied, bad outbound sender",
            "rcpt 451 4.1.8 Domain of sender address a@example.com does not resolve",
        ),
    ),
    sender(
        code="5xx",
        enhanced="5.7.(2[0-79])",
        note="SPF, DKIM, DMARC or reverse DNS of the sender does not hold.",
        source=Source.REGISTRY,
        examples=(
            "final_dot 550 5.7.26 This mail has been blocked because the sender is unauthenticated.",
            "mail 550 5.7.23 SPF validation failed",
            "mail 550 5.7.27 Sender address has null MX",
        ),
    ),
    recipient(
        enhanced="x.7.(2|17|18)",
        note="A list that takes nothing from us, or a mailbox or domain with a new owner.",
        source=Source.REGISTRY,
        examples=("rcpt 550 5.7.2 Mailing list expansion prohibited", "rcpt 551 5.7.17 Mailbox owner has changed"),
    ),
    message(
        enhanced="x.(6.x|3.3|7.[3-7])",
        note="The letter’s form, or something that it asks for.",
        source=Source.RFC3463,
        examples=("final_dot 550 5.6.0 malformed", "mail 553 5.6.7 Non-ASCII addresses not permitted"),
    ),
    recipient(
        enhanced="x.(1|2).x",
        note="The address or the mailbox of the recipient.",
        source=Source.RFC3463,
        examples=(
            "rcpt 550 5.1.1 The email account that you tried to reach does not exist.",
            "final_dot 550 5.1.1 user unknown",
            "rcpt 556 5.1.10 Recipient address has null MX",
            "rcpt 450 4.2.0 mailbox not available",
        ),
    ),
    server(
        phases=TRANSACTION,
        enhanced="x.(3.[125]|4.[35])",
        note="The server is full, closed, wrongly set up, without its directory, or overloaded.",
        source=Source.RFC3463,
        examples=(
            "mail 452 4.3.1 Insufficient system storage",
            "rcpt 451 4.4.3 Temporary directory failure",
            "final_dot 554 5.3.5 System incorrectly configured",
        ),
    ),
    recipient(
        phases=RCPT,
        enhanced="x.4.x",
        note="The way to the recipient’s server.",
        source=Source.RFC3463,
        examples=("rcpt 550 5.4.1 Recipient address rejected: Access denied", "rcpt 450 4.4.1 No answer from host"),
    ),
    server(
        phases=TRANSACTION,
        enhanced="4.(3|4).x",
        note="The server has a problem.",
        source=Source.RFC3463,
        examples=("final_dot 451 4.3.0 Mail server temporarily rejected message.",),
    ),
    recipient(
        phases=RCPT,
        code="501|553",
        note="The recipient’s address is not one, to this server.",
        source=Source.RFC5321,
        examples=("rcpt 501 Invalid RCPT TO address provided", "rcpt 553 mailbox name not allowed"),
    ),
    server(
        phases=TRANSACTION,
        code="50x",
        failure=FailureCode.PROTOCOL_ERROR,
        note="The server does not understand us.",
        source=Source.RFC5321,
        examples=("rcpt 503 5.5.1 bad sequence", "mail 500 command not recognized"),
    ),
)

_BY_COMMAND: Final = (
    server(
        phases=MAIL,
        code="4xx",
        note="Not now, before the recipient was named.",
        source=Source.RFC5321,
        examples=("mail 451 Temporary service failure", "mail 450 4.7.1 not now"),
    ),
    sender(
        phases=MAIL,
        note="The sender is refused.",
        source=Source.RFC5321,
        examples=("mail 550 no",),
    ),
    server(
        phases=RCPT,
        code="452",
        note="No room, or too many recipients.",
        source=Source.RFC5321,
        examples=("rcpt 452 insufficient storage", "rcpt 452 4.5.3 Too many recipients"),
    ),
    recipient(
        phases=RCPT,
        note="The recipient is refused, for now or for good.",
        source=Source.RFC5321,
        examples=("rcpt 550 no", "rcpt 450 mailbox busy", "rcpt 571 not here", "rcpt 451 4.7.1 Please come back later"),
    ),
    server(
        phases=(Phase.DATA,),
        code="4xx",
        note="Not now, and the letter was not seen.",
        source=Source.RFC5321,
        examples=("data 451 local error",),
    ),
    message(
        phases=LETTER,
        enhanced="4.7.x",
        note="A policy puts the letter off.",
        source=Source.RFC3463,
        examples=("final_dot 451 4.7.1 greylisted",),
    ),
    server(
        phases=LETTER,
        code="45(1|2)",
        note="The server has a problem.",
        source=Source.RFC5321,
        examples=("final_dot 451 local error", "final_dot 452 no space"),
    ),
    message(
        phases=ANY,
        note="Whatever is left: the letter is refused (554 5.7.1, “Message rejected”, iCloud’s [CS01]).",
        source=Source.RFC5321,
        examples=(
            "final_dot 554 transaction failed",
            "final_dot 550 5.7.1 [CS01] Message rejected due to local policy.",
            "data 554 5.5.1 Error: no valid recipients",
        ),
    ),
)

GENERAL: Final[tuple[Row, ...]] = (*_UNTIL_THE_LETTER, *_SIGNED_IN, *_ENHANCED, *_BY_COMMAND)
