"""The table of refusals, line by line: each row decides its own examples, and so each can be reached."""

import datetime as dt
import re
import time

import pytest

from panel.smtp.diagnosis import TABLE, Diagnosis, diagnose
from panel.smtp.failures import DOCS, rewritten
from panel.smtp.outcome import About, FailureCode, Phase, Renewal, Verdict
from panel.smtp.reply import MAX_TOTAL, Reply
from panel.smtp.rows import Row, Source

M365 = (
    "554 5.2.0 STOREDRV.Submission.Exception:OutboundSpamException; Failed to process message due to a permanent "
    "exception with message WASCL UserAction verdict is not None. Actual verdict is "
)
EXAMPLES = [(number, example) for number, row in enumerate(TABLE, 1) for example in row.examples]


def _said(example: str) -> tuple[Phase, Reply]:
    phase, _, line = example.partition(" ")
    return Phase(phase), Reply(int(line[:3]), (line[4:].encode(),))


def _of(example: str) -> Diagnosis:
    phase, reply = _said(example)
    return diagnose(phase=phase, reply=reply)


@pytest.mark.parametrize(("number", "example"), EXAMPLES, ids=[f"{number}-{line[:40]}" for number, line in EXAMPLES])
def test_each_row_decides_its_examples(number: int, example: str) -> None:
    row = TABLE[number - 1]
    phase, reply = _said(example)
    assert next(one for one in TABLE if one.fits(phase, reply)) is row
    found = diagnose(phase=phase, reply=reply)
    assert (found.about, found.failure, found.renews) == (row.about, row.failure, row.renews)
    assert found.verdict is (row.verdict or (Verdict.TEMPORARY if reply.code < 500 else Verdict.PERMANENT))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.note[:40])
def test_each_row_has_an_example_a_source_and_a_meaning(row: Row) -> None:
    assert row.examples
    assert isinstance(row.source, Source)
    assert row.note.endswith((".", ".)"))
    assert (row.about is About.QUOTA) == (row.renews is not None)


def test_the_last_row_leaves_nothing_without_an_answer() -> None:
    last = TABLE[-1]
    assert (last.phases, last.code, last.enhanced, last.words) == (tuple(Phase), "xxx", "", "")


def test_no_two_rows_ask_for_the_same() -> None:
    asked = [(row.phases, row.code, row.enhanced, row.words) for row in TABLE]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("example", "about", "verdict", "renews"),
    [
        # The list, by hand and not from the table.
        ("mail 421 4.7.0 Try again later, closing connection. - gsmtp", "server", "temporary", None),
        ("final_dot 421 4.7.28 Gmail has detected an unusual rate of mail from you", "quota", "temporary", "unknown"),
        ("auth 534 5.7.9 Application-specific password required.", "credentials", "permanent", None),
        ("auth 535 5.7.8 Username and Password not accepted.", "credentials", "permanent", None),
        ("final_dot 550 5.4.5 Daily user sending limit exceeded.", "quota", "temporary", "day"),
        ("rcpt 552 5.2.2 The email account that you tried to reach is over quota.", "recipient", "permanent", None),
        ("rcpt 452 4.2.2 The email account that you tried to reach is over quota.", "recipient", "temporary", None),
        ("auth 432 4.3.2 Concurrent connections limit exceeded.", "server", "temporary", None),
        ("auth 535 5.7.139 Authentication unsuccessful", "credentials", "permanent", None),
        (
            "mail 550 5.7.30 Basic authentication is not supported for Client Submission.",
            "credentials",
            "permanent",
            None,
        ),
        ("mail 530 5.7.57 Client not authenticated to send mail.", "credentials", "permanent", None),
        ("final_dot 550 5.7.60 SendAsDenied", "sender", "permanent", None),
        ("final_dot 554 5.2.252 SendAsDenied; a not allowed to send as b", "sender", "permanent", None),
        ("rcpt 550 5.1.90 You've reached your daily limit", "quota", "temporary", "day"),
        ("mail 451 4.7.500 Server busy. Please try again later", "server", "temporary", None),
        ("final_dot 454 Throttling failure: Maximum sending rate exceeded.", "quota", "temporary", "second"),
        ("final_dot 454 Throttling failure: Daily message quota exceeded.", "quota", "temporary", "day"),
        ("final_dot 554 Message rejected: Address blacklisted.", "recipient", "permanent", None),
        ("mail 421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "quota", "temporary", "unknown"),
        ("rcpt 550 5.4.6 Unusual sending activity detected", "quota", "temporary", "unknown"),
        ("rcpt 550 5.1.1 No such user", "recipient", "permanent", None),
        ("rcpt 550 Quota Exceeded", "recipient", "permanent", None),
        ("final_dot 554 5.7.1 Spam", "message", "permanent", None),
        # What whole campaigns must not fail for.
        (f"final_dot {M365}RefuseQuota. [Hostname=x]", "quota", "temporary", "day"),
        (f"final_dot {M365}HipNotify. [Hostname=x]", "sender", "permanent", None),
        ("rcpt 550 5.7.1 Email quota exceeded.", "quota", "temporary", "day"),
        ("rcpt 554 5.7.1 <mail.x.test[192.0.2.1]>: Client host rejected: Access denied", "server", "permanent", None),
        ("rcpt 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen", "server", "permanent", None),
        ("rcpt 550 5.7.1 <x>: Helo command rejected: Host not found", "server", "permanent", None),
        ("rcpt 450 4.7.1 <x>: Helo command rejected: Host not found", "server", "temporary", None),
        ("rcpt 550 x [192.0.2.1] is not permitted to relay through this server", "server", "permanent", None),
        ("rcpt 553 sorry, that domain isn't in my list of allowed rcpthosts", "server", "permanent", None),
        ("rcpt 550 5.7.1 Invalid credentials for relay [192.0.2.1]", "server", "permanent", None),
        ("mail 550 5.7.0 Mail relay denied [192.0.2.1]", "server", "permanent", None),
        ("rcpt 450 4.1.8 <a@x.test>: Sender address rejected: Domain not found", "sender", "temporary", None),
        ("rcpt 450 4.7.25 Client host rejected: cannot find your hostname", "server", "temporary", None),
        ("rcpt 450 4.2.0 <a@x.test>: Recipient address rejected: Greylisted", "recipient", "temporary", None),
        ("final_dot 554 5.7.9 Message not accepted for policy reasons", "message", "permanent", None),
        ("final_dot 554 5.7.9 no", "message", "permanent", None),
        ("mail 535 5.7.8 Authentication credentials invalid", "credentials", "permanent", None),
        # Our network address is blocked.
        (
            "mail 550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet "
            "service provider since part of their network is on our block list (S3140).",
            "server",
            "permanent",
            None,
        ),
        ("mail 553 5.7.1 [BL21] Connections will not be accepted", "server", "permanent", None),
        ("mail 550 mailbox unavailable Reject due to policy restrictions", "server", "permanent", None),
        ("final_dot 554 Transaction failed Reject due to policy restrictions", "message", "permanent", None),
        ("mail 421 4.4.2 Message submission rate for this client has exceeded", "quota", "temporary", "minute"),
        ("auth 451 You have exceeded your messaging limits", "quota", "temporary", "unknown"),
    ],
)
def test_it_knows_the_big_providers(example: str, about: str, verdict: str, renews: str | None) -> None:
    found = _of(example)
    assert (found.about, found.verdict) == (About(about), Verdict(verdict))
    assert found.renews is (Renewal(renews) if renews else None)


@pytest.mark.parametrize(
    ("example", "about"),
    [
        # One recipient takes nothing from us, which is no reason to stop all that goes to others.
        ("rcpt 571 571 Sender is not allowed to email this distribution list: dl@x.test", "recipient"),
        ("rcpt 571 5.7.1 Sender is not allowed to email this address: a@x.test", "recipient"),
        ("rcpt 550 5.7.1 You are not allowed to send mail to this address", "recipient"),
        ("rcpt 550 5.7.1 You are not authorized to send to this recipient", "recipient"),
        ("final_dot 550 5.7.1 Not permitted to send messages to this mailing list", "recipient"),
        ("rcpt 550 Sender denied by recipient", "recipient"),
        ("rcpt 550 5.7.1 <a@x.test>: sender rejected by the recipient", "recipient"),
        ("final_dot 550 5.7.507 Access denied, rejected by recipient", "recipient"),
        ("final_dot 550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", "recipient"),
        ("final_dot 550 5.7.134 Sender was not authenticated for mailbox; authentication required", "recipient"),
        ("final_dot 550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", "recipient"),
        ("rcpt 550 5.7.1 RESOLVER.RST.NotAuthorizedToGroup; not authorized to send to the list", "recipient"),
        # The mailbox may not send, or not as this address: so it is with every recipient.
        ("final_dot 550 5.7.60 SMTP; Client does not have permissions to send as this sender", "sender"),
        ("final_dot 554 5.2.252 SendAsDenied; a@x.test not allowed to send as b@x.test", "sender"),
        ("rcpt 553 5.7.1 <a@x.test>: Sender address rejected: not owned by user b@x.test", "sender"),
        ("rcpt 554 5.7.1 <a@x.test>: Sender address rejected: Access denied", "sender"),
        ("rcpt 550 5.7.1 Sender is not allowed", "sender"),
        ("rcpt 550 Sender denied", "sender"),
        ("rcpt 550 5.7.1 You are not allowed to send mail from this address", "sender"),
        ("rcpt 550 5.7.1 Not authorized to send from this address to this recipient", "sender"),
        ("rcpt 550 5.7.1 You are not allowed to send to this recipient as b@x.test", "sender"),
        ("rcpt 550 5.7.1 Not permitted to send mail to this address from b@x.test", "sender"),
        ("rcpt 550 5.7.1 You are not allowed to send mail to external addresses", "sender"),
        ("rcpt 550 5.7.1 You are not allowed to use this sender address", "sender"),
        ("mail 550 5.7.1 You are not allowed to send mail to this address", "sender"),
        ("final_dot 551 5.7.1 Not authorised to send from this header address", "sender"),
        # Nobody has signed in.
        ("rcpt 550 5.7.1 Authentication required", "credentials"),
        ("final_dot 550 5.7.1 Client was not authenticated", "credentials"),
        ("final_dot 550 5.7.13 User Account Disabled", "credentials"),
        ("final_dot 550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient", "message"),
        ("rcpt 550 5.7.1 Authentication required: you are not allowed to send mail to this address", "credentials"),
        (
            "rcpt 550 5.7.1 You are not authorized to send to this recipient, please authenticate first",
            "credentials",
        ),
        ("rcpt 550 5.7.1 Sender denied by recipient: you must log in first", "credentials"),
    ],
)
def test_it_tells_one_recipients_refusal_from_a_senders(example: str, about: str) -> None:
    found = _of(example)
    assert (found.about, found.verdict) == (About(about), Verdict.PERMANENT)


@pytest.mark.parametrize(
    ("words", "about"),
    [
        # It says why it closes, and that is not the password.
        ("4.3.2 Service shutting down", "server"),
        ("4.3.0 Temporary System Problem", "server"),
        ("4.4.2 mail.x.test Error: timeout exceeded", "server"),
        ("4.7.0 Too many concurrent connections from your IP", "server"),
        ("4.7.0 mx.x.test Error: too many connections from 192.0.2.1", "server"),
        ("Maximum number of connections reached", "server"),
        ("Connection limit reached", "server"),
        ("Too many sessions of this user, login denied", "server"),
        ("Server busy, closing connection", "server"),
        ("Server is overloaded", "server"),
        ("Server shutdown in progress", "server"),
        ("Timeout - closing connection.", "server"),
        ("4.7.0 Try again later, closing connection. - gsmtp", "server"),
        # Many say just this to a wrong password.
        ("4.7.0 Authentication failed, closing connection", "credentials"),
        ("4.7.0 Login failed. Try again later", "credentials"),
        ("4.7.0 mail.x.test Error: too many errors", "credentials"),
        ("Too many failed logins, connection closed", "credentials"),
        ("Invalid password. Shutting down the connection", "credentials"),
        ("Service not available, closing transmission channel", "credentials"),
        ("bye", "credentials"),
        ("", "credentials"),
    ],
)
def test_it_tells_a_server_that_closes_for_its_own_sake_from_one_that_may_have_seen_a_wrong_password(
    words: str, about: str
) -> None:
    found = _of(f"auth 421 {words}")
    failure = FailureCode.SERVER_BUSY if about == "server" else FailureCode.AUTH_TEMPORARY
    assert (found.about, found.verdict, found.failure) == (About(about), Verdict.TEMPORARY, failure)


@pytest.mark.parametrize(
    "words",
    [
        "550 Message rejected by recipient domain: sending IP 192.0.2.1 is listed",
        "550 5.7.1 Blocked by recipient mail system; SPF check of sender domain failed",
        "550 5.7.1 DMARC policy of x.test: message rejected by recipient",
        "554 Denied by recipient server: on a blocklist",
        "550 DKIM: you are not allowed to send mail to this address",
        "550 5.7.1 You are not allowed to send to this address: 192.0.2.1 is blacklisted",
    ],
)
@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.FINAL_DOT])
def test_what_is_said_of_our_address_or_domain_is_not_one_recipients_refusal(words: str, phase: Phase) -> None:
    assert _of(f"{phase} {words}").about in (About.SERVER, About.SENDER)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please try again in 20 minutes", 1200),
        ("try again after 90 seconds", 90),
        ("Retry in 2 hours.", 7200),
        ("You may send again in 5 min", 300),
        ("come back in 300 seconds", 300),
        ("Wait 30s", 30),
        ("try again in 900 hours", 86_400),
        ("Relay quota will reset in 1.5 hours.", 5400),
        ("try again later. See 5.7.1 minutes", None),
        ("try again later", None),
        ("limit of 500 messages in 24 hours", None),
    ],
)
def test_it_heeds_when_the_server_wants_us_back(words: str, seconds: float | None) -> None:
    assert _of(f"mail 451 4.7.1 {words}").come_back == seconds


def test_it_heeds_a_date() -> None:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=40)
    limit = "final_dot 421 Domain x.test is not allowed to send: recipient limit exceeded, try again after"
    come_back = _of(f"{limit} {at:%a, %d %b %Y %H:%M:%S} UTC").come_back
    assert come_back is not None
    assert 2390 < come_back <= 2400


def test_a_refusal_for_good_has_no_time_to_come_back() -> None:
    assert _of("rcpt 550 5.1.1 No such user; try again in 5 minutes").come_back is None


def test_the_docs_show_the_table() -> None:
    text = DOCS.read_text()
    assert text == rewritten(text), "run `.venv/bin/python -m panel.smtp.failures`"
    for row in TABLE:
        assert row.source.split("“")[0].rstrip() in text


@pytest.mark.parametrize("row", [row for row in TABLE if row.words], ids=lambda row: row.note[:40])
def test_no_words_of_a_server_keep_a_row_busy(row: Row) -> None:
    """What a row looks for, over and over and never to its end, in the longest reply that is read."""
    phase, reply = _said(row.examples[0])
    for literal in {*re.findall("[a-z ]{4,}", row.words, re.IGNORECASE), "again"}:
        line = (literal.encode() + b" ") * 800
        lines = (line[:4000],) * (MAX_TOTAL // 4000)
        before = time.thread_time()
        diagnose(phase=phase, reply=Reply(reply.code, lines))
        assert time.thread_time() - before < 0.5


def test_it_reads_the_beginning_of_a_reply_across_its_lines() -> None:
    lines = (b"5.2.0 " + b"x" * 1000, b"5.2.0 Actual verdict is RefuseQuota.", b"y" * 4000)
    found = diagnose(phase=Phase.FINAL_DOT, reply=Reply(554, lines))
    assert (found.about, found.renews) == (About.QUOTA, Renewal.DAY)
