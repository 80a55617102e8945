"""A phone with an authenticator app, and a passkey in software."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import struct
import time

from cbor2 import dumps
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import TestResponse

from tests.support.world import PASSWORD, Browser, World


def totp(secret: str, at: float | None = None) -> str:
    """The code of RFC 6238, from the document and not from the library that is tested."""
    counter = struct.pack(">Q", int((time.time() if at is None else at) // 30))
    digest = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), counter, hashlib.sha1).digest()
    place = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[place : place + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def set_up_app(browser: Browser) -> tuple[str, list[str]]:
    """Sets up an authenticator app; returns its key and the recovery codes that the page shows."""
    browser.post("/settings/security/authenticator")
    page = browser.get("/settings/security/authenticator").get_data(as_text=True)
    found = re.search(r"<code>([A-Z2-7]{32})</code>", page)
    assert found
    done = browser.post("/settings/security/authenticator/confirm", {"code": totp(found[1])})
    assert done.status_code == 200, done.get_data(as_text=True)
    return found[1], codes_of(done)


def codes_of(page: TestResponse) -> list[str]:
    """The recovery codes that a page shows."""
    return re.findall(r">\s*((?:[2-9a-z]{4}-){5}[2-9a-z]{4})\s*<", page.get_data(as_text=True))


def give_password(world: World, user, **fields: str) -> Browser:
    """A browser that has given the right password and not yet the second factor."""
    browser = world.client()
    answer = browser.submit("/login", email=user.email, password=PASSWORD, **fields)
    assert answer.location == "/login/second", answer.get_data(as_text=True)
    browser.get("/login/second")
    return browser


class SoftPasskey:
    """What a browser with a platform authenticator answers (WebAuthn Level 3, sections 6.1 and 6.5)."""

    def __init__(self, origin: str = "https://mail.example.com", site: str = "mail.example.com") -> None:
        self.origin, self.site = origin, site
        self.id = secrets.token_bytes(16)
        self.count = 0
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: dict) -> str:
        """The answer to navigator.credentials.create()."""
        numbers = self._key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        held = bytes(16) + struct.pack(">H", len(self.id)) + self.id + dumps(public)
        attestation = dumps({"fmt": "none", "attStmt": {}, "authData": self._data(0x45) + held})
        client = self._client("webauthn.create", options["challenge"])
        return self._answer(clientDataJSON=client, attestationObject=attestation)

    def get(self, options: dict) -> str:
        """The answer to navigator.credentials.get()."""
        self.count += 1
        client, data = self._client("webauthn.get", options["challenge"]), self._data(0x05)
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(clientDataJSON=client, authenticatorData=data, signature=signature)

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.site.encode()).digest() + bytes([flags]) + struct.pack(">I", self.count)

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _answer(self, **response: bytes) -> str:
        held = {name: _text(value) for name, value in response.items()}
        name = _text(self.id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": held, "clientExtensionResults": {}}
        )


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
