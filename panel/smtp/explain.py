"""Every failure in plain words: what it means, and what to do about it here."""

import re
from dataclasses import dataclass

from panel.smtp.outcome import FailureCode
from panel.smtp.presets import PRESETS, Preset, preset_for_host
from panel.smtp.settings import Security


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure for the person at the form. `help_path` is the part of Help that shows how to put it right."""

    title: str
    cause: str
    cure: str
    help_path: str


_GENERAL: dict[FailureCode, tuple[str, str, str]] = {
    FailureCode.HOST_NOT_FOUND: (
        "There is no server of this name",
        "The name {host} leads nowhere, or its look-up got no answer.",
        "Compare it with your provider’s page on outgoing mail: often a single letter is missing.",
    ),
    FailureCode.DESTINATION_NOT_ALLOWED: (
        "This server may not be used",
        "{host} with port {port} leads to a private or reserved address, or the port is none that mail uses.",
        "Use the public name of your mail server, with port 587 or 465. "
        "Only the operator of this Ownpost can allow a server of a private network.",
    ),
    FailureCode.CONNECT_FAILED: (
        "The server refused the connection",
        "Nothing takes connections at {host}, port {port}, or a firewall turns us away.",
        "Check host and port. Most providers use port 587 with STARTTLS, or port 465 with TLS.",
    ),
    FailureCode.CONNECT_TIMEOUT: (
        "The server did not answer the call",
        "Neither a yes nor a no came back from {host}, port {port}: usually a firewall drops the call.",
        "Check the port: 587 or 465 nearly everywhere. If the server admits only known callers, it has to admit ours.",
    ),
    FailureCode.NOT_SMTP: (
        "This is not a mail server for sending",
        "Something answers at {host}, port {port}, but it does not speak SMTP.",
        "Look for the outgoing or SMTP server in your provider’s settings; ports 993, 995, 143 and 110 serve reading.",
    ),
    FailureCode.WRONG_SECURITY: (
        "Port and security do not fit together",
        "{host} does not use {security} in this way on port {port}.",
        "{other_security}",
    ),
    FailureCode.TLS_UNAVAILABLE: (
        "The server does not offer encryption",
        "STARTTLS is chosen, but {host} did not turn encryption on at port {port}, so nothing more was said to it.",
        "Try port 465 with TLS. If the server can do neither, ask its operator to turn encryption on.",
    ),
    FailureCode.CERTIFICATE_UNTRUSTED: (
        "The server’s certificate is not trusted",
        "{host} showed a certificate that no authority we trust for it has signed, so anybody could have made it.",
        "The server’s operator has to install one from a recognised authority, with its intermediate certificates. "
        "If its authority is your own, paste that one’s certificate under “Own CA certificate”.",
    ),
    FailureCode.CERTIFICATE_EXPIRED: (
        "The server’s certificate is out of date",
        "The certificate of {host} has expired, or is not valid yet.",
        "The server’s operator has to renew it. Your settings can stay as they are.",
    ),
    FailureCode.CERTIFICATE_WRONG_HOST: (
        "The certificate is for another name",
        "A server answered at {host}, and its certificate is made out to another name.",
        "Enter the name that the certificate is for as the host; your provider’s page on outgoing mail gives it.",
    ),
    FailureCode.TLS_TOO_OLD: (
        "The server’s encryption is too old",
        "{host} knows no version of TLS that is still safe; we use TLS 1.2 and newer.",
        "The server’s operator has to update it.",
    ),
    FailureCode.AUTH_UNAVAILABLE: (
        "The server offers no way to sign in that we know",
        "{host} does not let you sign in with a password on port {port}, or not in the way you chose.",
        "Set Authentication to Automatic, and use port 587 or 465. If the server needs no password, choose None.",
    ),
    FailureCode.AUTH_NEEDS_TLS: (
        "Your password is not sent in the clear",
        "The connection to {host} is not encrypted, so anybody on the way could read the password.",
        "Choose STARTTLS with port 587, or TLS with port 465.",
    ),
    FailureCode.AUTH_FAILED: (
        "The server refused user name or password",
        "{host} understood, and said no. It may also want another password for programs than for people.",
        "Enter the password again. The user name is nearly always the whole email address.",
    ),
    FailureCode.AUTH_TEMPORARY: (
        "Signing in does not work right now",
        "{host} cannot check passwords at the moment, or makes you wait after too many tries.",
        "Wait a few minutes and test again.",
    ),
    FailureCode.SENDER_REFUSED: (
        "The server will not send from this address",
        "{host} does not take mail from your outbound address, as a rule because another mailbox has signed in.",
        "Sign in with the mailbox of that address, or allow the address as an alias or verified sender there.",
    ),
    FailureCode.RECIPIENT_REFUSED: (
        "The server will not take mail for this recipient",
        "{host} holds the recipient’s address to be wrong, or does not send to addresses elsewhere for you.",
        "Check the address. Then ask the server’s operator whether your user may send to addresses elsewhere.",
    ),
    FailureCode.MESSAGE_REFUSED: (
        "The server will not take this letter",
        "{host} took sender and recipient and then refused the letter itself, for its content or its size.",
        "Read the server’s words below: they say what it holds against the letter.",
    ),
    FailureCode.SERVER_BUSY: (
        "The server is busy, or you have reached a limit",
        "{host} turned us away for now: it has too much to do, or you have sent as much as it allows.",
        "Wait and test again. Letters that meet this answer wait, and are tried again by themselves.",
    ),
    FailureCode.PROTOCOL_ERROR: (
        "The server broke off, or made no sense",
        "{host} hung up in the middle of the conversation, or gave an answer that a mail server may not give.",
        "Try again. If it stays so, something between us, such as a firewall that inspects mail, may be in the way.",
    ),
    FailureCode.TIMED_OUT: (
        "The server was too slow",
        "The connection to {host} stood, but an answer took longer than we wait.",
        "Try again in a minute. If it happens every time, ask the server’s operator.",
    ),
    FailureCode.NO_WORKER: (
        "The test has not begun",
        "The machines that send mail did not take the test up in time. This is about us, not about your settings.",
        "Try again in a minute.",
    ),
    FailureCode.CANCELED: (
        "Canceled",
        "It was stopped before it was over.",
        "Start it again whenever you like.",
    ),
}

_GOOGLE = ("gmail", "google-workspace")
_MICROSOFT = ("microsoft-365",)


@dataclass(frozen=True, slots=True)
class _Special:
    """What a failure means with one provider, or when the server says certain words (looked for in any case)."""

    code: FailureCode
    presets: tuple[str, ...]
    cause: str
    cure: str
    help_path: str
    words: str = ""


_NO_PASSWORDS = "Use Gmail, a mailbox at your own domain, or the platform’s server for this address."

# Read from the top; the first that fits is used. Rows with words come before those without.
_SPECIAL = (
    _Special(
        FailureCode.AUTH_FAILED,
        _GOOGLE,
        "Google wants an app password here, and got the password of the account or a wrong app password.",
        "Turn on 2-Step Verification, make an app password, and enter its 16 letters as the password.",
        "/help/gmail#app-password",
    ),
    _Special(
        FailureCode.SERVER_BUSY,
        _GOOGLE,
        "Google turned us away for now. Most often the limit of letters in 24 hours is reached.",
        "Wait up to a day. Letters that meet this answer wait, and are tried again by themselves.",
        "/help/gmail#limits",
    ),
    _Special(
        FailureCode.SENDER_REFUSED,
        _GOOGLE,
        "Google does not send from this address for the mailbox that signed in.",
        "Sign in with the mailbox of the outbound address, or add the address there under “Send mail as”.",
        "/help/gmail#settings",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        _MICROSOFT,
        "Your organisation’s security defaults do not let anybody sign in to SMTP with a password.",
        "Your Microsoft 365 administrator can make an exception for this mailbox.",
        "/help/outlook#security-defaults",
        words=r"security defaults",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        _MICROSOFT,
        "SMTP AUTH is turned off for your organisation or for this mailbox.",
        "Your Microsoft 365 administrator can turn on “Authenticated SMTP” for this mailbox.",
        "/help/outlook#smtp-auth",
        words=r"SmtpClientAuthentication is disabled",
    ),
    _Special(
        FailureCode.AUTH_UNAVAILABLE,
        _MICROSOFT,
        "Your organisation takes no passwords for SMTP at all.",
        "Your Microsoft 365 administrator can turn them back on, where the organisation still has the choice.",
        "/help/outlook#smtp-auth",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        _MICROSOFT,
        "The password is wrong, or SMTP AUTH is turned off for this mailbox: Microsoft often answers both alike.",
        "Check the password by signing in to Outlook on the web, then have “Authenticated SMTP” turned on.",
        "/help/outlook#smtp-auth",
    ),
    _Special(
        FailureCode.SENDER_REFUSED,
        _MICROSOFT,
        "The mailbox that signed in has no Send As permission for your outbound address.",
        "Sign in with the mailbox of the outbound address, or have its Send As permission given to this one.",
        "/help/outlook#send-as",
    ),
    _Special(
        FailureCode.SERVER_BUSY,
        _MICROSOFT,
        "Microsoft turned us away for now: more than 3 connections, 30 letters a minute, or the limit of a day.",
        "Wait and test again. Letters that meet this answer wait, and are tried again by themselves.",
        "/help/outlook#limits",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        ("outlook-com",),
        "Personal Outlook.com, Hotmail and Live mailboxes no longer let programs sign in with a password.",
        _NO_PASSWORDS,
        "/help/outlook#outlook-com",
    ),
    _Special(
        FailureCode.AUTH_UNAVAILABLE,
        ("outlook-com",),
        "Personal Outlook.com, Hotmail and Live mailboxes no longer let programs sign in with a password.",
        _NO_PASSWORDS,
        "/help/outlook#outlook-com",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        ("yahoo", "aol", "icloud", "fastmail", "yandex"),
        "This provider wants an app password here, not the password of the account.",
        "Make an app password in the account’s security settings, and enter that one.",
        "/help#auth_failed",
    ),
    _Special(
        FailureCode.AUTH_FAILED,
        ("amazon-ses",),
        "Amazon SES has a user name and a password of its own for SMTP; the keys of AWS do not work.",
        "Make SMTP credentials in the SES console, in the region of this host.",
        "/help#auth_failed",
    ),
    _Special(
        FailureCode.SENDER_REFUSED,
        ("amazon-ses", "sendgrid", "mailgun", "postmark", "brevo", "mailjet", "sparkpost", "mandrill"),
        "This provider sends only from addresses and domains that were verified with it.",
        "Verify your outbound address, or better its domain, with the provider.",
        "/help#sender_refused",
    ),
)


def explain(
    code: FailureCode | str,
    *,
    preset: str | None,
    host: str,
    port: int,
    security: Security,
    reply: str | None = None,
) -> Explanation:
    """Say what a failure means for these settings.

    `preset` is the key of the one chosen; without one, or with `other`, the host tells the provider. `reply` is the
    server's words where there are any: some providers tell apart what their codes do not.
    """
    code = FailureCode(code)
    title, cause, cure = _GENERAL[code]
    provider = _provider(preset, host)
    if provider is not None:
        for special in _SPECIAL:
            if special.code is code and provider.key in special.presets and _says(reply, special.words):
                return Explanation(title, special.cause, special.cure, special.help_path)
    words = {
        "host": host,
        "port": port,
        "security": _SECURITY_NAMES[security],
        "other_security": _other_security(security, port),
    }
    return Explanation(title, cause.format(**words), cure.format(**words), f"/help#{code}")


_SECURITY_NAMES = {
    Security.TLS: "TLS from the start",
    Security.STARTTLS: "STARTTLS",
    Security.NONE: "an unencrypted connection",
}


def _other_security(security: Security, port: int) -> str:
    if security is Security.TLS:
        return f"Choose STARTTLS for port {port}, or port 465 with TLS."
    if port == 465:
        return "Choose TLS for port 465, or port 587 with STARTTLS."
    return f"Choose {'STARTTLS or TLS' if security is Security.NONE else 'TLS'} for port {port}."


def _provider(preset: str | None, host: str) -> Preset | None:
    if preset and preset != "other":
        return PRESETS.get(preset)
    return preset_for_host(host)


def _says(reply: str | None, words: str) -> bool:
    return not words or re.search(words, reply or "", re.IGNORECASE) is not None
