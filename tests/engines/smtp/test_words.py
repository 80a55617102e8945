"""What people read: explanations, advice, presets; and the table that tells refusals apart."""

import itertools
import re
from pathlib import Path

import pytest

from panel.smtp.advice import slips
from panel.smtp.diagnosis import diagnose
from panel.smtp.explain import explain
from panel.smtp.outcome import About, FailureCode, Phase, Verdict
from panel.smtp.presets import OFFERED, PRESETS, preset_for_host
from panel.smtp.reply import Reply
from panel.smtp.settings import AuthMethod, Security, validate_host
from panel.smtp.steps import Step, StepEvent, StepState, steps_for, unreached

HELP = Path(__file__).parents[3] / "templates" / "help"


def of(code: FailureCode, *, preset: str | None = "other", host: str = "smtp.example.com", **over):
    return explain(code, **{"preset": preset, "host": host, "port": 587, "security": Security.STARTTLS, **over})


@pytest.mark.parametrize("code", list(FailureCode))
def test_it_explains_every_failure_with_every_provider(code: FailureCode) -> None:
    for preset, security in itertools.product((None, *PRESETS), Security):
        found = of(code, preset=preset, port=465, security=security)
        for sentence in (found.title, found.cause, found.cure):
            assert len(sentence) > 3
            assert "{" not in sentence
            assert "delivered" not in sentence
        assert found.cause.endswith(".")
        assert found.cure.endswith(".")
        assert re.fullmatch(r"/help(/gmail|/outlook)?#[a-z_-]+", found.help_path)


def test_it_points_to_parts_of_help_that_exist() -> None:
    anchors = {"/help": set(), "/help/gmail": set(), "/help/outlook": set()}
    for path, pattern in (("/help", "*.html"), ("/help/gmail", "gmail.html"), ("/help/outlook", "outlook.html")):
        for page in HELP.glob(pattern):
            anchors[path] |= set(re.findall(r'id="([a-z_-]+)"|failure\("([a-z_]+)"', page.read_text()))
    known = {path: {name for pair in found for name in pair} for path, found in anchors.items()}
    # A cancellation needs no help.
    for code in set(FailureCode) - {FailureCode.CANCELED}:
        for preset in (None, *PRESETS):
            page, _, anchor = of(code, preset=preset).help_path.partition("#")
            assert anchor in known[page], f"{page}#{anchor}"


@pytest.mark.parametrize(
    ("code", "host", "preset", "reply", "path"),
    [
        ("auth_failed", "smtp.gmail.com", None, "535 5.7.8 no", "/help/gmail#app-password"),
        ("auth_failed", "smtp.gmail.com", "other", "535 5.7.8 no", "/help/gmail#app-password"),
        ("auth_failed", "smtp.example.com", "gmail", None, "/help/gmail#app-password"),
        ("server_busy", "smtp.gmail.com", None, "550 5.4.5 Daily", "/help/gmail#limits"),
        ("auth_failed", "smtp.office365.com", None, None, "/help/outlook#smtp-auth"),
        (
            "auth_failed",
            "smtp.office365.com",
            None,
            "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy.",
            "/help/outlook#security-defaults",
        ),
        ("sender_refused", "smtp.office365.com", None, None, "/help/outlook#send-as"),
        ("auth_failed", "smtp-mail.outlook.com", None, None, "/help/outlook#outlook-com"),
        ("connect_timeout", "smtp.gmail.com", "gmail", None, "/help#connect_timeout"),
        ("auth_failed", "smtp.example.com", "other", None, "/help#auth_failed"),
    ],
)
def test_it_knows_the_usual_reason_of_a_provider(
    code: str, host: str, preset: str | None, reply: str | None, path: str
) -> None:
    assert of(FailureCode(code), host=host, preset=preset, reply=reply).help_path == path


def test_it_names_the_security_that_fits_the_port() -> None:
    wrong = FailureCode.WRONG_SECURITY
    assert "Choose TLS for port 465" in of(wrong, port=465).cure
    assert "Choose STARTTLS for port 587" in of(wrong, security=Security.TLS).cure


# ---- diagnosis


@pytest.mark.parametrize(
    ("phase", "line", "verdict", "about", "failure"),
    [
        ("mail", "550 5.1.90 daily limit", "temporary", "quota", "server_busy"),
        ("rcpt", "450 4.2.1 Peak SMTP relay limit exceeded", "temporary", "quota", "server_busy"),
        ("final_dot", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", "temporary", "quota",
         "server_busy"),
        ("final_dot", "550 you have exceeded your daily sending limit", "temporary", "quota", "server_busy"),
        ("final_dot", "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "temporary", "server",
         "server_busy"),
        ("auth", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
         "permanent", "credentials", "auth_failed"),
        ("auth", "454 4.7.0 Too many login attempts, please try again later", "temporary", "credentials",
         "auth_temporary"),
        ("auth", "550 5.7.30 Basic authentication is not supported for Client Submission.", "permanent", "credentials",
         "auth_unavailable"),
        ("auth", "500 what?", "permanent", "server", "auth_unavailable"),
        ("mail", "530 5.7.57 Client not authenticated to send mail.", "permanent", "credentials", "auth_failed"),
        ("final_dot", "554 5.2.252 SendAsDenied; a@x.org not allowed to send as b@x.org", "permanent", "sender",
         "sender_refused"),
        ("final_dot", "554 Message rejected: Email address is not verified. The following failed", "permanent",
         "sender", "sender_refused"),
        ("rcpt", "550 5.1.8 sender's domain", "permanent", "sender", "sender_refused"),
        ("rcpt", "552 5.2.2 mailbox full", "permanent", "recipient", "recipient_refused"),
        ("rcpt", "452 4.2.2 mailbox full", "temporary", "recipient", "recipient_refused"),
        ("rcpt", "452 insufficient storage", "temporary", "server", "server_busy"),
        ("rcpt", "550 5.4.1 Recipient address rejected: Access denied", "permanent", "recipient", "recipient_refused"),
        ("rcpt", "571 not here", "permanent", "recipient", "recipient_refused"),
        ("rcpt", "503 5.5.1 bad sequence", "permanent", "server", "protocol_error"),
        ("mail", "552 too much", "permanent", "message", "message_refused"),
        ("final_dot", "550 5.6.0 malformed", "permanent", "message", "message_refused"),
        ("final_dot", "451 4.7.1 greylisted", "temporary", "message", "message_refused"),
        ("final_dot", "451 local error", "temporary", "server", "server_busy"),
        ("final_dot", "550 5.1.1 user unknown", "permanent", "recipient", "recipient_refused"),
        ("tls", "454 not now", "temporary", "server", "tls_unavailable"),
        ("ready", "421 bye", "temporary", "server", "server_busy"),
    ],
)  # fmt: skip
def test_it_tells_refusals_apart(phase: str, line: str, verdict: str, about: str, failure: str) -> None:
    found = diagnose(phase=Phase(phase), reply=Reply(int(line[:3]), (line[4:].encode(),)))
    assert (found.verdict, found.about, found.failure) == (Verdict(verdict), About(about), FailureCode(failure))


@pytest.mark.parametrize("phase", list(Phase))
def test_it_has_an_answer_for_every_code_in_every_phase(phase: Phase) -> None:
    for code in range(400, 600):
        found = diagnose(phase=phase, reply=Reply(code, (b"",)))
        assert found.verdict is (Verdict.TEMPORARY if code < 500 else Verdict.PERMANENT)


# ---- presets


def test_it_offers_the_presets_of_the_form_first() -> None:
    assert OFFERED == ("gmail", "google-workspace", "outlook-com", "microsoft-365", "other")


@pytest.mark.parametrize("preset", [preset for preset in PRESETS.values() if preset.key != "other"])
def test_it_has_presets_whose_settings_fit_together(preset) -> None:
    assert validate_host(preset.host) == preset.host
    assert preset.port == (465 if preset.security is Security.TLS else 587)
    assert preset_for_host(preset.host).host == preset.host
    advice = slips(
        host=preset.host,
        port=preset.port,
        security=preset.security,
        auth=preset.auth,
        username="me@example.com",
        password="x" * 16,
        from_address="me@example.com",
    )
    assert [slip.message for slip in advice] == ([preset.note] if preset.note else [])


def test_it_knows_providers_by_their_other_hosts() -> None:
    assert preset_for_host("SMTP.googlemail.com.").key == "gmail"
    assert preset_for_host("email-smtp.eu-west-1.amazonaws.com").key == "amazon-ses"
    assert preset_for_host("smtp.example.com") is None
    assert preset_for_host("") is None


# ---- advice


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"port": 465}, "security", "Port 465"),
        ({"security": Security.TLS}, "security", "Port 587"),
        ({"port": 25, "security": Security.TLS}, "security", "Port 25"),
        ({"port": 25}, "port", "block port 25"),
        ({"port": 993}, "port", "reading mail"),
        ({"host": "me@example.com"}, "host", "email address"),
        ({"host": "https://smtp.example.com"}, "host", "http"),
        ({"host": "imap.example.com"}, "host", "reading mail"),
        ({"host": "www.example.com"}, "host", "website"),
        ({"password": " secret"}, "password", "blank"),
        ({"password": "secret\n"}, "password", "blank"),
        ({"username": "me@example.com "}, "username", "blank"),
        ({"host": "smtp.gmail.com", "password": "abcd efgh ijkl mnop"}, "password", "left out"),
        ({"host": "smtp.gmail.com", "password": "hunter2"}, "password", "app password"),
        ({"host": "smtp.gmail.com", "username": "me"}, "username", "whole email address"),
        ({"host": "smtp.office365.com", "from_address": "shop@example.com"}, "username", "shop@example.com"),
        ({"host": "smtp-mail.outlook.com"}, "host", "no longer"),
        ({"security": Security.NONE}, "security", "encryption"),
        ({"auth": AuthMethod.NONE}, "auth", "not be used"),
    ],
)
def test_it_names_the_likely_slip(change: dict, field: str, words: str) -> None:
    good = {
        "host": "smtp.example.com",
        "port": 587,
        "security": Security.STARTTLS,
        "auth": AuthMethod.AUTO,
        "username": "me@example.com",
        "password": "abcdefghijklmnop",
        "from_address": "me@example.com",
    }
    assert slips(**good) == []
    found = slips(**{**good, **change})
    assert [slip.field for slip in found if words in slip.message] == [field]
    assert "hunter2" not in repr(found)


# ---- steps


def test_it_orders_the_steps() -> None:
    assert steps_for(Security.STARTTLS, sending=False) == (
        "resolve", "connect", "greeting", "tls", "hello", "auth", "sender", "recipient", "quit",
    )  # fmt: skip
    assert steps_for(Security.TLS, sending=True) == (
        "resolve", "connect", "tls", "greeting", "hello", "auth", "sender", "recipient", "data", "quit",
    )  # fmt: skip


def test_it_closes_what_was_not_reached() -> None:
    seen = [StepEvent(Step.RESOLVE, StepState.OK, 1), StepEvent(Step.CONNECT, StepState.FAILED, 2)]
    closing = unreached(seen=seen, security=Security.NONE, sending=False)
    assert [event.step for event in closing] == list(steps_for(Security.NONE, sending=False)[2:])
    assert {event.state for event in closing} == {StepState.SKIPPED}
