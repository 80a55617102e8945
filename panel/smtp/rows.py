"""A row of the table of refusals; the rows themselves are in `dialects.py` and `codes.py`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Final

from panel.smtp.outcome import About, FailureCode, Phase, Renewal, Verdict
from panel.smtp.reply import Reply

HELLO: Final = (Phase.HELLO,)
AUTH: Final = (Phase.AUTH,)
MAIL: Final = (Phase.MAIL,)
RCPT: Final = (Phase.RCPT,)
LETTER: Final = (Phase.DATA, Phase.FINAL_DOT)
TRANSACTION: Final = (*MAIL, *RCPT, *LETTER)
ANY: Final = tuple(Phase)


class Source(StrEnum):
    """Where a row's words or codes are from."""

    RFC3207 = "RFC 3207 (STARTTLS), section 4"
    RFC3463 = "RFC 3463 (enhanced status codes), section 3"
    RFC4954 = "RFC 4954 (AUTH), section 6"
    RFC5321 = "RFC 5321 (SMTP), sections 3.8, 4.2 and 4.3.2"
    REGISTRY = "IANA, “SMTP Enhanced Status Codes Registry”"
    POSTFIX = "Postfix, smtpd(8) and postconf(5)"
    COMMON = "The words of many servers, postfwd’s and Postfix’s greylisting among them"
    GOOGLE = "Google, “Gmail SMTP errors and codes” (support.google.com/a/answer/3726730)"
    GOOGLE_MAIL = "Google; the words from smtpfieldmanual.com/provider/google"
    MICROSOFT_NDR = "Microsoft, “Email non-delivery reports and SMTP errors in Exchange Online”"
    MICROSOFT_LIMITS = "Microsoft, “Improvements to the SMTP Authenticated Submission client protocol”"
    MICROSOFT_BASIC = "Microsoft, “Exchange Online to retire Basic auth for Client Submission (SMTP AUTH)”"
    MICROSOFT_FILTER = "Microsoft, “Sending limits in Outlook.com”; the words from DesertsP/Valine-Admin#26"
    MICROSOFT_BLOCKS = "Microsoft; the words from smtp.codes/outlook"
    MICROSOFT_RESTRICTED = (
        "Microsoft, “550 5.7.1 RESOLVER.RST.AuthRequired nondelivery report” (support.microsoft.com/help/2984402); "
        "the words from ActiveCampaign/smtp-field-manual#99"
    )
    EXCHANGE = "Microsoft, “Message rate limits and throttling” (Exchange Server)"
    AMAZON_QUOTAS = "Amazon, “Errors related to the sending quotas for your Amazon SES account”"
    AMAZON_ERRORS = "Amazon, “Amazon SES email sending errors” and “Amazon SES SMTP response codes”"
    YAHOO = "Yahoo, “SMTP error codes” (senders.yahooinc.com/smtp-error-codes)"
    ZOHO = "Zoho, Zoho Mail community, “Unable to send message; Reason: 550 5.4.6” and “554 5.1.8”"
    ZEPTOMAIL = "Zoho, “SMTP Error Codes” of ZeptoMail"
    SENDGRID = "Twilio, “SMTP Errors and Troubleshooting”; the words from mautic/mautic#8721, chatwoot/chatwoot#9188"
    SENDGRID_LIMITS = "Twilio; the words from sendgrid/sendgrid-php#931 and WA-WF-Bot/WA-WF-Bot-Public#282"
    MAILGUN = "Mailgun; the words from Monstarrrr/rebutify#162 and mailgun/mailgun-java#50"
    BREVO = "Brevo; the words from WPManageNinja/fluent-smtp#157"
    SPARKPOST = "SparkPost, “SMTP Error Messages”"
    SMTP2GO = "SMTP2GO, “Common Sending Errors”; gophish/gophish#1701"
    MAILCHANNELS = "MailChannels, “Fixing the 550 5.7.1 [STF] Sending too fast error”"
    GMX = "GMX; the words from infertux/zeyple#49 and jstedfast/MailKit#968"
    IONOS = "IONOS, “SMTP Error Messages of the IONOS Mail Servers” and “Error Messages Caused by Undeliverable Email”"
    ICLOUD = "Apple; the words from smtp.codes/icloud"
    PROTON = "Proton; the words from home-assistant/core#154774"
    QQ = "Tencent; the words from nodeSolidServer/node-solid-server#1281"
    EMAILIT = "Emailit, “SMTP troubleshooting”"
    EXIM = "Exim and cPanel; the words from bobcares.com, “550 Relay Not Permitted”"
    EXIM_RATE = "Exim, “Specification”, ratelimit; the words from help.reg.ru, “Sender rate overlimit”"
    RELAY_DAY = "GoDaddy and others; the words from nodemailer/nodemailer#1137"
    RELAY_QUOTA = "Web hosts; the words from WWBN/AVideo#7527"
    PLESK = "Plesk; the words from zotonic/zotonic#3508"
    DREAMHOST = "DreamHost, “SMTP quota overview”"
    RSPAMD = "Rspamd, “Ratelimit module”; the words from mailcow/mailcow-dockerized#1497 and hardware/mailserver#152"
    MICROSOFT_QUOTA = "Microsoft, “Fix NDR error ‘the sender’s submission quota was exceeded’ in Exchange Online”"
    QMAIL = "qmail-smtpd(8) and rcpthosts"
    CPANEL = "cPanel, forums, “Email quota” (Exim with limits by the hour)"
    ZIMBRA = "Zimbra; the words from its MilterHandler.java"
    ORACLE = "Oracle, “Troubleshooting Email Delivery”"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Where all of its conditions hold, a refusal is `about` this, with this failure code.

    `code` and `enhanced` are patterns of the whole, in which x stands for any digit and any number; `words` is
    looked for anywhere in the text, in any case. Without a `verdict`, 4yz is temporary and 5yz permanent. `renews` says
    of a quota when there is more of it. Each of the `examples` is a phase and a reply that this row, and none before
    it, decides.
    """

    phases: tuple[Phase, ...]
    about: About
    failure: FailureCode
    code: str = "xxx"
    enhanced: str = ""
    words: str = ""
    verdict: Verdict | None = None
    renews: Renewal | None = None
    note: str
    source: Source
    examples: tuple[str, ...]

    def fits(self, phase: Phase, reply: Reply) -> bool:
        """Whether this row speaks about a reply in this phase."""
        return (
            phase in self.phases
            and _code(self.code).fullmatch(str(reply.code)) is not None
            and (not self.enhanced or _enhanced(self.enhanced).fullmatch(reply.enhanced or "") is not None)
            and (not self.words or _words(self.words).search(reply.text) is not None)
        )


@cache
def _code(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("x", r"\d"))


@cache
def _enhanced(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(".", r"\.").replace("x", r"\d+"))


@cache
def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# A quota is no letter's fault, and it renews by itself.
quota = partial(Row, phases=TRANSACTION, about=About.QUOTA, failure=FailureCode.SERVER_BUSY, verdict=Verdict.TEMPORARY)
# The server does not let this mailbox send, or not from this address.
sender = partial(Row, phases=TRANSACTION, about=About.SENDER, failure=FailureCode.SENDER_REFUSED)
# User name, password, or the way of signing in.
credentials = partial(
    Row, phases=(*AUTH, *TRANSACTION), about=About.CREDENTIALS, failure=FailureCode.AUTH_FAILED, code="5xx"
)
server = partial(Row, phases=ANY, about=About.SERVER, failure=FailureCode.SERVER_BUSY)
recipient = partial(Row, phases=(*RCPT, *LETTER), about=About.RECIPIENT, failure=FailureCode.RECIPIENT_REFUSED)
message = partial(Row, phases=TRANSACTION, about=About.MESSAGE, failure=FailureCode.MESSAGE_REFUSED)
