"""Signing in: SASL's PLAIN (RFC 4616), LOGIN and CRAM-MD5 (RFC 2195) over SMTP AUTH (RFC 4954)."""

import base64
import binascii
import hmac
from collections.abc import Callable

from panel.smtp.outcome import FailureCode
from panel.smtp.reply import Reply
from panel.smtp.settings import AuthMethod
from panel.smtp.trouble import Broken

CONTINUE = 334
"""The server's reply that asks for the next response (RFC 4954 section 4)."""
MAX_COMMAND = 510
"""Octets of an AUTH command with its initial response, without CRLF; a longer response is sent by itself."""

Converse = Callable[[bytes], Reply]
"""Says one line and returns the reply."""


def choose(*, wanted: AuthMethod, offered: frozenset[str], encrypted: bool) -> AuthMethod | None:
    """Return the method to use, or None when the server offers none that fits.

    Under TLS the simple methods come first, as every server does them right; in the clear the one that does not say
    the password does. `offered` are SASL mechanism names in upper case.
    """
    if wanted is not AuthMethod.AUTO:
        return wanted if _mechanism(wanted) in offered else None
    ranked = [AuthMethod.PLAIN, AuthMethod.LOGIN, AuthMethod.CRAM_MD5]
    if not encrypted:
        ranked = [AuthMethod.CRAM_MD5, AuthMethod.PLAIN, AuthMethod.LOGIN]
    return next((method for method in ranked if _mechanism(method) in offered), None)


def sign_in(*, method: AuthMethod, username: str, password: str, converse: Converse) -> Reply:
    """Try once and return the server's last word. Raises Broken when the exchange itself makes no sense."""
    if method is AuthMethod.PLAIN:
        reply = _plain(username, password, converse)
    elif method is AuthMethod.LOGIN:
        reply = _login(username, password, converse)
    else:
        reply = _cram_md5(username, password, converse)
    if reply.code == CONTINUE:
        raise Broken(FailureCode.PROTOCOL_ERROR, "The server asked for more after the password than there is to say.")
    return reply


def _plain(username: str, password: str, converse: Converse) -> Reply:
    response = base64.b64encode(f"\0{username}\0{password}".encode())
    command = b"AUTH PLAIN " + response
    if len(command) <= MAX_COMMAND:
        return converse(command)
    reply = converse(b"AUTH PLAIN")
    return converse(response) if reply.code == CONTINUE else reply


def _login(username: str, password: str, converse: Converse) -> Reply:
    reply = converse(b"AUTH LOGIN")
    for answer in (username, password):
        if reply.code != CONTINUE:
            return reply
        reply = converse(base64.b64encode(answer.encode()))
    return reply


def _cram_md5(username: str, password: str, converse: Converse) -> Reply:
    reply = converse(b"AUTH CRAM-MD5")
    if reply.code != CONTINUE:
        return reply
    try:
        challenge = base64.b64decode(reply.lines[0], validate=True)
    except binascii.Error:
        raise Broken(FailureCode.PROTOCOL_ERROR, "The server’s challenge for CRAM-MD5 is not base64.") from None
    digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
    return converse(base64.b64encode(f"{username} {digest}".encode()))


def _mechanism(method: AuthMethod) -> str:
    return method.value.upper()
