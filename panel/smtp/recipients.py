"""What servers say where one recipient takes nothing from us. Their words are much like those about the sender or the
password, which would stop the letters to everybody; so these rows are read before those."""

from typing import Final

from panel.smtp.rows import LETTER, RCPT, Row, Source, credentials, recipient, sender, server

_BY_RECIPIENT: Final = r"(denied|rejected|refused|blocked) by (the )?recipient\b(?!['’])"
_NOT_TO_THIS_ONE: Final = (
    r"not (allowed|permitted|authori[sz]ed) to "
    r"(e-?mail|(send|write|post)( (an? )?(e-?mails?|mails?|messages?))? to) (this|that) "
    r"(e-?mail )?(address|recipient|mailbox|user|group|((distribution|mailing) )?list)\b"
    r"(?!.{0,60}\s(from|as)\s)"
)


def _with(reason: str) -> str:
    """The words of a recipient's refusal, with a reason somewhere that is none of the recipient's."""
    return rf"^(?=.*({reason})).*({_BY_RECIPIENT}|{_NOT_TO_THIS_ONE})"


RESTRICTED: Final[tuple[Row, ...]] = (
    recipient(
        code="5xx",
        words=r"RESOLVER\.RST\.(AuthRequired|NotAuthorized|SenderNotAuthenticated|RestrictedTo)",
        note="Exchange: a mailbox, group or folder that takes letters from its own organisation or from some senders "
        "only. “Authentication required” says nothing of our password.",
        source=Source.MICROSOFT_RESTRICTED,
        examples=(
            "final_dot 550 5.7.1 RESOLVER.RST.AuthRequired; authentication required",
            "final_dot 550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery "
            "restriction check failed because the sender was not authenticated when sending to this group",
            "final_dot 550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized",
        ),
    ),
    recipient(
        code="5xx",
        enhanced="5.7.(124|13[3-6])",
        note="Exchange Online says the same by its code.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "final_dot 550 5.7.124 Sender not in allowed-senders list",
            "final_dot 550 5.7.134 Sender was not authenticated for mailbox",
        ),
    ),
    sender(
        phases=(*RCPT, *LETTER),
        code="5xx",
        words=_with(r"\b(SPF|DKIM|DMARC)\b"),
        note="It names the recipient, and yet what does not hold is the sender’s SPF, DKIM or DMARC.",
        source=Source.COMMON,
        examples=("rcpt 550 5.7.1 Blocked by recipient mail system; SPF check of sender domain failed",),
    ),
    credentials(
        phases=(*RCPT, *LETTER),
        words=_with(r"authenticat|\blog ?in\b"),
        note="It names the recipient, and yet nobody has signed in.",
        source=Source.COMMON,
        examples=(
            "rcpt 550 5.7.1 Authentication required: you are not allowed to send mail to this address",
            "rcpt 550 5.7.1 You are not authorized to send to this recipient, please authenticate first",
        ),
    ),
    server(
        phases=(*RCPT, *LETTER),
        code="5xx",
        words=_with(r"\bIP\b|(block|black|deny) ?list|\blisted\b"),
        note="It names the recipient, and yet it is our network address that is not taken.",
        source=Source.COMMON,
        examples=("rcpt 550 Message rejected by recipient domain: sending IP 192.0.2.1 is listed",),
    ),
    recipient(
        code="5xx",
        words=_BY_RECIPIENT,
        note="The recipient does not want it, as Exchange Online and others say.",
        source=Source.MICROSOFT_NDR,
        examples=(
            "final_dot 550 5.7.507 Access denied, rejected by recipient",
            "rcpt 550 Sender denied by recipient",
        ),
    ),
    recipient(
        code="5xx",
        words=r"sender is not allowed to email this distribution list",
        note="Zimbra and Carbonio: a list that takes letters from some senders only.",
        source=Source.ZIMBRA,
        examples=("rcpt 571 571 Sender is not allowed to email this distribution list: list@example.com",),
    ),
    recipient(
        code="5xx",
        words=_NOT_TO_THIS_ONE,
        note="The same in general words: not to this one. With an “as” or “from” behind it is about the sender.",
        source=Source.RFC3463,
        examples=(
            "rcpt 550 5.7.1 You are not allowed to send mail to this address",
            "rcpt 571 5.7.1 Sender is not allowed to email this address: a@example.com",
        ),
    ),
)
