"""What providers say when a sending limit is used up, and when there is more. The first row that fits decides."""

from typing import Final

from panel.smtp.outcome import Renewal
from panel.smtp.rows import ANY, AUTH, TRANSACTION, Row, Source, quota

QUOTAS: Final[tuple[Row, ...]] = (
    quota(
        code="5xx",
        enhanced="5.4.5",
        renews=Renewal.DAY,
        note="Gmail: the mailbox has sent all it may in 24 hours.",
        source=Source.GOOGLE,
        examples=(
            "final_dot 550 5.4.5 Daily user sending limit exceeded.",
            "mail 550 5.4.5 Daily sending quota exceeded",
        ),
    ),
    quota(
        code="5xx",
        words=r"\bemail quota exceeded",
        renews=Renewal.DAY,
        note="Google: the mailbox or the domain has sent all it may in 24 hours.",
        source=Source.GOOGLE,
        examples=("rcpt 550 5.7.1 Email quota exceeded", "final_dot 550 5.7.1 Email quota exceeded."),
    ),
    quota(
        words=r"peak smtp relay limit exceeded",
        renews=Renewal.MINUTE,
        note="Google’s relay: too much at once.",
        source=Source.GOOGLE,
        examples=("rcpt 450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.",),
    ),
    quota(
        words=r"relay (sending )?limit exceeded",
        renews=Renewal.DAY,
        note="Google’s relay: the limit of 24 hours.",
        source=Source.GOOGLE,
        examples=("mail 550 5.7.1 Daily SMTP relay limit exceeded for customer.",),
    ),
    quota(
        phases=ANY,
        words=r"unusual rate of (unsolicited )?(e?mail|messages)",
        renews=Renewal.UNKNOWN,
        note="Gmail holds us back: 4.7.0 and 4.7.28.",
        source=Source.GOOGLE,
        examples=(
            "final_dot 421 4.7.0 Our system has detected an unusual rate of unsolicited mail originating from your IP "
            "address.",
            "final_dot 421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP "
            "address.",
        ),
    ),
    quota(
        code="454",
        words=r"throttling.*maximum sending rate",
        renews=Renewal.SECOND,
        note="Amazon SES: more letters a second than the account may send.",
        source=Source.AMAZON_QUOTAS,
        examples=("final_dot 454 Throttling failure: Maximum sending rate exceeded.",),
    ),
    quota(
        code="454",
        words=r"throttling.*daily",
        renews=Renewal.DAY,
        note="Amazon SES: the quota of 24 hours.",
        source=Source.AMAZON_QUOTAS,
        examples=("final_dot 454 Throttling failure: Daily message quota exceeded.",),
    ),
    quota(
        code="454",
        words=r"throttling",
        renews=Renewal.MINUTE,
        note="Amazon SES, when it does not say which limit.",
        source=Source.AMAZON_QUOTAS,
        examples=("mail 454 Throttling failure",),
    ),
    quota(
        code="5xx",
        enhanced="5.1.90",
        renews=Renewal.DAY,
        note="Exchange Online: the recipients of 24 hours.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "final_dot 550 5.1.90 Your message can't be sent because you've reached your daily limit for message "
            "recipients",
        ),
    ),
    quota(
        words=r"SubmissionQuotaExceeded",
        renews=Renewal.DAY,
        note="Exchange Online: the recipients of 24 hours, as its store says it.",
        source=Source.MICROSOFT_LIMITS,
        examples=("final_dot 554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",),
    ),
    quota(
        words=r"verdict is RefuseQuota",
        renews=Renewal.DAY,
        note="Outlook.com and Exchange Online: the mailbox has sent all it may in a day, as its filter says it.",
        source=Source.MICROSOFT_FILTER,
        examples=(
            "final_dot 554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; Failed to process message due to "
            "a permanent exception with message WASCL UserAction verdict is not None. Actual verdict is RefuseQuota.",
        ),
    ),
    quota(
        phases=ANY,
        words=r"message submission rate",
        renews=Renewal.MINUTE,
        note="Exchange: more letters a minute than its connector takes from one client.",
        source=Source.EXCHANGE,
        examples=("mail 421 4.4.2 Message submission rate for this client has exceeded the configured limit",),
    ),
    quota(
        phases=ANY,
        enhanced="x.7.(508|705)",
        renews=Renewal.UNKNOWN,
        note="Exchange Online: our address or the whole tenant has exceeded a threshold.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "mail 550 5.7.508 Access denied, [192.0.2.1] has exceeded permitted limits within range",
            "final_dot 550 5.7.705 Access denied, tenant has exceeded threshold",
        ),
    ),
    quota(
        phases=ANY,
        words=r"\[TSS?\d\d\]",
        renews=Renewal.UNKNOWN,
        note="Yahoo puts our letters off: TS01 to TS04 and TSS04 to TSS11.",
        source=Source.YAHOO,
        examples=(
            "mail 421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user "
            "complaints - 4.16.55.1",
            "greeting 421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints",
            "greeting 421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred",
        ),
    ),
    quota(
        enhanced="x.4.6",
        words=r"unusual sending activity",
        renews=Renewal.UNKNOWN,
        note="Zoho stops a mailbox that sends too much at once.",
        source=Source.ZOHO,
        examples=("final_dot 550 5.4.6 Unusual sending activity detected. Please try after sometime",),
    ),
    quota(
        phases=AUTH,
        words=r"maximum credits exceeded",
        renews=Renewal.UNKNOWN,
        note="SendGrid: the plan’s letters are used up. It says so instead of taking the password.",
        source=Source.SENDGRID,
        examples=("auth 451 Authentication failed: Maximum credits exceeded",),
    ),
    quota(
        phases=(*AUTH, *TRANSACTION),
        words=r"exceeded your messaging limits",
        renews=Renewal.UNKNOWN,
        note="SendGrid: the plan’s letters are used up.",
        source=Source.SENDGRID_LIMITS,
        examples=(
            "auth 451 Authentication failed: You have exceeded your messaging limits",
            "mail 451 You've exceeded your messaging limits",
        ),
    ),
    quota(
        words=r"recipient limit exceeded, try again after",
        renews=Renewal.HOUR,
        note="Mailgun: a new or watched domain’s limit by the hour; it says until when.",
        source=Source.MAILGUN,
        examples=(
            "final_dot 421 Domain mg.example.com is not allowed to send: recipient limit exceeded, try again after "
            "Mon, 25 Aug 2025 07:00:31 UTC",
        ),
    ),
    quota(
        words=r"\[STF\]|sending too fast",
        renews=Renewal.UNKNOWN,
        note="MailChannels, behind many web hosts: a sudden rise.",
        source=Source.MAILCHANNELS,
        examples=("final_dot 550 5.7.1 [STF] Sending too fast",),
    ),
    quota(
        words=r"exceeded the max (emails|defers and failures) per hour",
        renews=Renewal.HOUR,
        note="cPanel (Exim): a domain’s limit by the hour.",
        source=Source.CPANEL,
        examples=(
            "rcpt 550 Domain example.com has exceeded the max emails per hour (250/200 (125%)) allowed. Message "
            "discarded.",
            "rcpt 550 Domain example.com has exceeded the max defers and failures per hour (5/5 (100%)) allowed.",
        ),
    ),
    quota(
        words=r"sender rate overlimit.*/ ?(24h|1d)\b",
        renews=Renewal.DAY,
        note="Exim at many web hosts: more letters in 24 hours than the mailbox may send.",
        source=Source.EXIM_RATE,
        examples=("rcpt 550 Sender rate overlimit - 290.8 / 24h", "final_dot 550 Sender rate overlimit - 3001.0 / 1d"),
    ),
    quota(
        words=r"sender rate overlimit",
        renews=Renewal.HOUR,
        note="The same of an hour, or less.",
        source=Source.EXIM_RATE,
        examples=("rcpt 550 Sender rate overlimit - 101.3 / 1h", "mail 451 Sender rate overlimit"),
    ),
    quota(
        words=r"24.hour sending limit",
        renews=Renewal.DAY,
        note="Web hosts with relays by the day: what the mailbox may send in 24 hours. They say when there is more.",
        source=Source.RELAY_DAY,
        examples=(
            "rcpt 550 User hello@example.com has exceeded its 24-hour sending limit. Messages to 250 recipients out of "
            "250 allowed have been sent. Relay quota will reset in 21.99 hours.",
        ),
    ),
    quota(
        words=r"over your relay quota",
        renews=Renewal.UNKNOWN,
        note="Web hosts with relays by the day, before the letter that would be one too many.",
        source=Source.RELAY_QUOTA,
        examples=("final_dot 552 Message would take you over your relay quota of 500 Current quota used: 487",),
    ),
    quota(
        words=r"limit on the number of allowed outgoing messages was exceeded",
        renews=Renewal.HOUR,
        note="Plesk: a mailbox’s, a domain’s or a subscription’s limit by the hour.",
        source=Source.PLESK,
        examples=(
            "final_dot 554 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing messages "
            "was exceeded. Try again later.",
        ),
    ),
    quota(
        words=r"policy rejection.{0,3}quota exceeded",
        renews=Renewal.UNKNOWN,
        note="DreamHost: the mailbox has sent all it may for now.",
        source=Source.DREAMHOST,
        examples=("rcpt 554 5.7.1 <robin@example.org>: Recipient address rejected: Policy Rejection- Quota Exceeded.",),
    ),
    quota(
        code="4xx",
        # Its limits for a recipient ("to", "to_ip", "bounce_to" …) are no limits of ours.
        words=r"ratelimit \"(?!to\b|to_|bounce)[^\"]*\" exceeded",
        renews=Renewal.HOUR,
        note="Rspamd, in mailcow and at Hostinger: more letters in some time than the mailbox or the domain may send.",
        source=Source.RSPAMD,
        examples=(
            'final_dot 451 4.7.1 Ratelimit "user" exceeded',
            'final_dot 451 4.7.1 Ratelimit "hostinger_out_ratelimit" exceeded',
        ),
    ),
    quota(
        words=r"submission quota (was |has been )?exceeded",
        renews=Renewal.DAY,
        note="Exchange Online: the recipients of 24 hours, in words.",
        source=Source.MICROSOFT_QUOTA,
        examples=(
            "final_dot 550 5.1.92 Your message couldn't be sent because the sender's submission quota was exceeded.",
            "final_dot 550 5.2.2 Submission quota exceeded",
        ),
    ),
    quota(
        code="4xx",
        words=r"error: too much mail from|too many recipients from",
        renews=Renewal.MINUTE,
        note="Postfix’s anvil: more a minute than one client may send.",
        source=Source.POSTFIX,
        examples=("mail 450 4.7.1 Error: too much mail from 192.0.2.1",),
    ),
    quota(
        phases=ANY,
        words=r"rate limit (reached|exceeded)",
        renews=Renewal.UNKNOWN,
        note="IONOS and others: too much in too short a time; IONOS means hours.",
        source=Source.IONOS,
        examples=("mail 421 Rate limit reached. Please try again later",),
    ),
    quota(
        words=r"failure sending mail\. try again later|sent too many messages",
        renews=Renewal.UNKNOWN,
        note="GMX, WEB.DE and their hosting: the mailbox has sent too much.",
        source=Source.GMX,
        examples=(
            "rcpt 550 Requested action not taken: mailbox unavailable Failure sending mail. Try again later",
            "final_dot 451 Requested action aborted: This mail account has sent too many messages in a short amount of "
            "time. Please try later.",
        ),
    ),
    quota(
        words=r"per second (limit|quota)",
        renews=Renewal.SECOND,
        note="A limit by the second.",
        source=Source.EMAILIT,
        examples=("mail 452 4.4.5 Messages per second limit exceeded",),
    ),
    quota(
        words=r"hourly (message |email |sending |user )*(limit|quota)|(limit|quota) (of|for) (the|this|an) hour"
        r"|(messages|e?mails|recipients)( sent)? (per|an|this) hour\b.{0,20}(exceeded|reached)"
        r"|(exceeded|reached).{0,40}(per|an|this) hour",
        renews=Renewal.HOUR,
        note="A limit by the hour.",
        source=Source.COMMON,
        examples=(
            "rcpt 450 4.7.1 Number messages per hour exceeded",
            "final_dot 550 hourly quota exceeded",
            "mail 451 You have reached your hourly limit",
            "rcpt 554 5.7.1 Rejected: You have exceeded your hourly email sending limit",
        ),
    ),
    quota(
        words=r"daily (message |email |sending |user )*(limit|quota)|24.hour (limit|quota)"
        r"|(exceeded|reached).{0,40}(per|a|this) day",
        renews=Renewal.DAY,
        note="A limit of a day.",
        source=Source.COMMON,
        examples=(
            "final_dot 550 you have exceeded your daily sending limit",
            "mail 452 4.5.3 Daily message limit exceeded",
        ),
    ),
    quota(
        words=r"(sending|outgoing|outbound|message) (message |e?mail |sending )?(limit|quota) (has been |is )?"
        r"(exceeded|reached)|exceeded (your|the) (\w+ )?sending ",
        renews=Renewal.UNKNOWN,
        note="A limit without a word on how long.",
        source=Source.COMMON,
        examples=("mail 550 5.7.1 Outgoing message limit exceeded", "rcpt 554 5.7.1 Sending quota reached"),
    ),
)
