"""What providers and servers are known to say, where codes alone would mislead. The first row that fits decides."""

from typing import Final

from panel.smtp.outcome import FailureCode, Verdict
from panel.smtp.quotas import QUOTAS
from panel.smtp.recipients import RESTRICTED
from panel.smtp.rows import (
    AUTH,
    LETTER,
    MAIL,
    RCPT,
    TRANSACTION,
    Row,
    Source,
    credentials,
    message,
    recipient,
    sender,
    server,
)

_SERVERS: Final = (
    server(
        code="4xx",
        enhanced="4.3.2",
        note="Exchange Online: more than three connections at a time for one mailbox. It comes at AUTH, too, and says "
        "nothing of the password.",
        source=Source.MICROSOFT_LIMITS,
        examples=(
            "auth 432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending",
            "final_dot 432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
        ),
    ),
    server(
        code="4xx",
        enhanced="4.7.(5|6)xx",
        note="Exchange Online: busy, or holding us back.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "mail 451 4.7.500 Server busy. Please try again later from [192.0.2.1].",
            "final_dot 450 4.7.650 busy",
        ),
    ),
    server(
        code="5xx",
        enhanced="5.7.(6\\d\\d|708)",
        words=r"banned sending IP|not accepted from this IP|blocked",
        note="Exchange Online does not take mail from our network address.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "mail 550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
            "mail 550 5.7.708 Access denied, traffic not accepted from this IP",
        ),
    ),
    server(
        phases=TRANSACTION,
        code="5xx",
        words=r"\bIP address is not allowed to send|unauthori[sz]ed IP address",
        note="The provider’s account admits only network addresses that were named to it.",
        source=Source.SMTP2GO,
        examples=("mail 550 that IP address is not allowed to send",),
    ),
    server(
        phases=TRANSACTION,
        code="5xx",
        words=r"network is on our block ?list|\(S\d{4}\)",
        note="Outlook.com does not take mail from our network address.",
        source=Source.MICROSOFT_BLOCKS,
        examples=(
            "mail 550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet "
            "service provider since part of their network is on our block list (S3140).",
        ),
    ),
    server(
        phases=TRANSACTION,
        code="5xx",
        words=r"\[BL\d\d\]",
        note="Yahoo does not take mail from our network address, which is in a list of Spamhaus’.",
        source=Source.YAHOO,
        examples=("mail 553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1",),
    ),
    server(
        phases=(*MAIL, *RCPT),
        words=r"reject due to policy restrictions",
        code="5xx",
        note="GMX and WEB.DE do not take mail from our network address.",
        source=Source.GMX,
        examples=(
            "mail 550 Requested action not taken: mailbox unavailable Reject due to policy restrictions.",
            "rcpt 550 Reject due to policy restrictions.",
        ),
    ),
    server(
        phases=TRANSACTION,
        words=r"client host (\S+ )?(rejected|blocked)(?!.*gr[ae]y)|helo command rejected",
        note="Postfix does not take mail from our network address, or by the name we give; it says so at RCPT.",
        source=Source.POSTFIX,
        examples=(
            "rcpt 554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
            "rcpt 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "rcpt 450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
            "rcpt 450 4.7.1 <unknown[192.0.2.1]>: Client host rejected: cannot find your reverse hostname",
            "rcpt 550 5.7.1 <mail>: Helo command rejected: need fully-qualified hostname",
        ),
    ),
    server(
        phases=TRANSACTION,
        words=r"reject due to policy (violations|restrictions)",
        code="4xx",
        note="IONOS, GMX and WEB.DE hold our network address back for a while.",
        source=Source.IONOS,
        examples=("rcpt 450 Reject due to policy violations",),
    ),
)

_CREDENTIALS: Final = (
    credentials(
        phases=AUTH,
        code="xxx",
        words=r"too many (\w+ ){0,3}(attempts|logins|failures)",
        failure=FailureCode.AUTH_TEMPORARY,
        verdict=Verdict.TEMPORARY,
        note="Too many sign-ins, good or bad; it passes by itself (Gmail, Yahoo, Oracle).",
        source=Source.GOOGLE,
        examples=(
            "auth 454 4.7.0 Too many login attempts, please try again later. - gsmtp",
            "auth 535 5.7.0 (#AUTH005) Too many bad auth attempts.",
            "auth 421 Too many auth failures, try again later",
        ),
    ),
    credentials(
        phases=AUTH,
        code="451",
        words=r"could not authenticate",
        verdict=Verdict.PERMANENT,
        note="SendGrid refuses a wrong password with a code that means “later”.",
        source=Source.SENDGRID,
        examples=("auth 451 Authentication failed: Could not authenticate",),
    ),
    credentials(
        enhanced="5.7.30",
        words=r"basic auth",
        failure=FailureCode.AUTH_UNAVAILABLE,
        note="Exchange Online takes no passwords any more.",
        source=Source.MICROSOFT_BASIC,
        examples=("auth 550 5.7.30 Basic authentication is not supported for Client Submission.",),
    ),
    credentials(
        enhanced="5.7.57",
        note="Exchange Online: nobody has signed in.",
        source=Source.MICROSOFT_NDR,
        examples=("mail 530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",),
    ),
    credentials(
        phases=AUTH,
        enhanced="5.7.(139|3)",
        note="Exchange Online: a wrong password, or SMTP AUTH is off for the mailbox or the tenant.",
        source=Source.MICROSOFT_LIMITS,
        examples=(
            "auth 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "auth 535 5.7.3 Authentication unsuccessful",
        ),
    ),
    credentials(
        code="554",
        words=r"access denied: user .* is not authori[sz]ed to perform",
        note="Amazon SES: the SMTP user may not send.",
        source=Source.AMAZON_ERRORS,
        examples=(
            "final_dot 554 Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform "
            "`ses:SendRawEmail' on resource `*'",
        ),
    ),
    credentials(
        phases=TRANSACTION,
        words=r"unauthenticated senders not allowed|sender address rejected: not logged in",
        note="SendGrid and Proton (Postfix): nobody has signed in.",
        source=Source.PROTON,
        examples=(
            "rcpt 553 5.7.1 <a@example.com>: Sender address rejected: not logged in",
            "mail 550 Unauthenticated senders not allowed",
        ),
    ),
)

_SENDERS: Final = (
    sender(
        code="5xx",
        enhanced="5.7.(60|501|502|503|509|511|750)",
        note="Exchange Online: no right to send as this address, or the sender is blocked.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "final_dot 550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            "final_dot 550 5.7.501 Access denied, spam abuse detected",
            "final_dot 550 5.7.750 Client blocked from sending from unregistered domains",
        ),
    ),
    sender(
        words=r"OutboundSpamException",
        note="Outlook.com and Exchange Online: the mailbox may not send until somebody proves to be its owner.",
        source=Source.MICROSOFT_FILTER,
        examples=(
            "final_dot 554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; WASCL UserAction verdict is not "
            "None. Actual verdict is HipNotify, ShowTierUpgrade.",
        ),
    ),
    sender(
        words=r"SendAsDenied",
        note="Exchange: the mailbox that signed in may not send as this address.",
        source=Source.MICROSOFT_NDR,
        examples=("final_dot 554 5.2.252 SendAsDenied; a@example.com not allowed to send as b@example.com",),
    ),
    sender(
        code="554",
        words=r"email address is not verified|sending (paused|suspended) for this account|account is paused",
        note="Amazon SES: the address is not verified, or the account is paused.",
        source=Source.AMAZON_ERRORS,
        examples=(
            "final_dot 554 Message rejected: Email address is not verified. The following identities failed the check "
            "in region EU-WEST-1: root@example.com",
            "final_dot 554 Message rejected: Sending paused for this account.",
        ),
    ),
    sender(
        enhanced="5.1.8",
        words=r"blocked",
        note="Zoho has blocked the mailbox for sending.",
        source=Source.ZOHO,
        examples=("final_dot 554 5.1.8 Email Outgoing Blocked",),
    ),
    sender(
        words=r"relaying disallowed as",
        note="Zoho: the address is not one of the mailbox.",
        source=Source.ZEPTOMAIL,
        examples=("final_dot 553 Relaying disallowed as hello@example.com",),
    ),
    sender(
        words=r"from address does not match a verified sender",
        note="SendGrid: the address is no verified sender.",
        source=Source.SENDGRID,
        examples=("final_dot 550 The from address does not match a verified Sender Identity.",),
    ),
    sender(
        words=r"domain \S+ is not allowed to send",
        verdict=Verdict.PERMANENT,
        note="Mailgun: the domain is not activated or not verified. It says so with a code that means “later”.",
        source=Source.MAILGUN,
        examples=("final_dot 421 Domain mg.example.com is not allowed to send: Please activate your Mailgun account.",),
    ),
    sender(
        words=r"SMTP account is not yet activated",
        note="Brevo: the account may not send by SMTP yet.",
        source=Source.BREVO,
        examples=("mail 502 5.7.0 Your SMTP account is not yet activated.",),
    ),
    sender(
        words=r"unconfigured sending domain",
        note="SparkPost: the domain is not set up.",
        source=Source.SPARKPOST,
        examples=("final_dot 550 5.7.1 Unconfigured Sending Domain <example.com>",),
    ),
    sender(
        words=r"sender domain not verified|from/sender name is not valid",
        note="SMTP2GO and Postal: the From address is not set up.",
        source=Source.SMTP2GO,
        examples=(
            "final_dot 550 From header sender domain not verified",
            "final_dot 530 From/Sender name is not valid",
        ),
    ),
    sender(
        words=r"mail from (address )?must (be same as|equal) (authori[sz]ation|authori[sz]ed) user",
        note="Tencent and NetEase: From must be the mailbox that signed in.",
        source=Source.QQ,
        examples=("mail 501 mail from address must be same as authorization user",),
    ),
    sender(
        code="4xx",
        words=r"sender address rejected(?!.*gr[ae]y)",
        note="Postfix cannot look up the sender’s domain for now, and says so at RCPT.",
        source=Source.POSTFIX,
        examples=("rcpt 450 4.1.8 <a@example.com>: Sender address rejected: Domain not found",),
    ),
    sender(
        code="5xx",
        words=r"sender( address)? (is |was )?(not allowed|denied|rejected)|sender verify failed"
        r"|not owned by (auth )?user"
        r"|not (allowed|permitted|authori[sz]ed) to (send|use)\b.{0,40}\b(as|from|sender|address)"
        r"|from address .{0,60}not (verified|allowed)|from address is not one of your addresses",
        note="In many servers’ words, also at RCPT: this mailbox may not send from this address (Postfix, GMX, Yandex, "
        "Fastmail).",
        source=Source.POSTFIX,
        examples=(
            "rcpt 553 5.7.1 <a@example.com>: Sender address rejected: not owned by user b@example.com",
            "mail 553 5.7.1 Sender address rejected: not owned by auth user.",
            "mail 550 Requested action not taken: mailbox unavailable Sender address is not allowed.",
            "final_dot 551 5.7.1 Not authorised to send from this header address",
        ),
    ),
)

_LETTERS: Final = (
    recipient(
        code="554",
        words=r"address blacklisted",
        note="Amazon SES: the recipient is on its suppression list.",
        source=Source.AMAZON_ERRORS,
        examples=("final_dot 554 Message rejected: Address blacklisted.",),
    ),
    recipient(
        words=r"is receiving (e?mail|messages) (too quickly|at a rate)|deferred due to excessive volume",
        code="4xx",
        note="Gmail and iCloud: this recipient gets too much at the moment.",
        source=Source.GOOGLE,
        examples=(
            "rcpt 450 4.2.1 The user you are trying to contact is receiving mail too quickly.",
            "final_dot 421 4.7.1 Messages to a@icloud.com deferred due to excessive volume. Try again later",
        ),
    ),
    recipient(
        words=r"^(user )?quota exceeded|over quota|(mailbox|disk quota|storage) (is |has )?(full|exceeded)"
        r"|mailbox quota",
        note="The recipient’s mailbox is full (IONOS says so without a code).",
        source=Source.IONOS,
        examples=(
            "final_dot 550 Quota Exceeded",
            "final_dot 552 5.2.2 The email account that you tried to reach is over quota.",
            "rcpt 452 4.2.2 mailbox full",
        ),
    ),
    recipient(
        phases=RCPT,
        words=r"gr[ae]y-?list",
        code="4xx",
        note="Greylisting: the recipient’s server wants to be asked again.",
        source=Source.COMMON,
        examples=("rcpt 450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted",),
    ),
    message(
        code="5xx",
        words=r"not accepted for policy reasons",
        note="Yahoo refuses the letter, with the code of a way of signing in that is too weak.",
        source=Source.YAHOO,
        examples=("final_dot 554 5.7.9 Message not accepted for policy reasons.",),
    ),
    message(
        phases=LETTER,
        words=r"this message is suspicious",
        note="Gmail puts off, or refuses, a letter for what it says or links to, or for its domain’s name.",
        source=Source.GOOGLE_MAIL,
        examples=(
            "final_dot 421 4.7.0 Our system has detected that this message is suspicious due to the nature of the "
            "content and/or the links within.",
        ),
    ),
    message(
        phases=(*RCPT, *LETTER),
        code="5xx",
        words=r"(suspicion of|detected as|classified as|considered|looks like|identified as) (be(ing)? )?(\w+ )?spam"
        r"|virus",
        note="The letter was taken for spam, or for worse (Yandex, Zoho, iCloud).",
        source=Source.ZEPTOMAIL,
        examples=(
            "final_dot 554 5.7.1 Message rejected under suspicion of SPAM",
            "final_dot 552 5.7.1 virus Win.Test.EICAR_HDB-1 detected by Zoho Mail.",
        ),
    ),
)

DIALECTS: Final[tuple[Row, ...]] = (*QUOTAS, *_SERVERS, *RESTRICTED, *_CREDENTIALS, *_SENDERS, *_LETTERS)
