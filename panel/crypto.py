"""Sealing of stored secrets, and keyed fingerprints of settings that were verified.

A sealed secret is bound to its place: column, account and row are associated data of the encryption, so that a value
copied into another row, or into another tenant's, does not open. The text form is `v1.<key id>.<base64>`; the base64
holds a 12-byte nonce followed by ciphertext and tag (AES-256-GCM, NIST SP 800-38D).
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SEAL_VERSION = "v1"
_FINGERPRINT_VERSION = "f1"
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class UnknownKey(Exception):
    """The secret was sealed with a key that this ring does not hold."""


class SealBroken(Exception):
    """The secret is damaged, or it belongs to another column, account or row."""


@dataclass(frozen=True)
class _Key:
    id: str
    sealing: AESGCM
    fingerprinting: bytes


def new_key() -> str:
    """Make a key as `id:base64`, ready to be put first in OWNPOST_ENCRYPTION_KEYS."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


class Keyring:
    """The keys of one installation: the first seals, all of them unseal."""

    def __init__(self, keys: Sequence[_Key]) -> None:
        self._first = keys[0]
        self._keys = {key.id: key for key in keys}

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read `id:base64key,…`, each key 32 bytes in base64 (standard or URL-safe).

        Raises ValueError in plain words. It counts the entries instead of quoting them, as a misplaced key could
        otherwise end up in a log.
        """
        keys: list[_Key] = []
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
            keys.append(_parse_key(entry, number))
        if not keys:
            raise ValueError("there is no key; expected id:base64key,…")
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("two keys have the same id")
        return cls(keys)

    def seal(self, plaintext: str, *, column: str, account_id: str, row_id: str) -> str:
        """Seal a secret for one place; `column` is written `table.column`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        box = self._first.sealing.encrypt(nonce, plaintext.encode(), _unambiguous(column, account_id, row_id))
        return f"{_SEAL_VERSION}.{self._first.id}.{base64.b64encode(nonce + box).decode()}"

    def unseal(self, sealed: str, *, column: str, account_id: str, row_id: str) -> str:
        """Open what `seal` made for the same place; raises UnknownKey or SealBroken."""
        key_id, box = _split_sealed(sealed)
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownKey(f"this was sealed with the key {key_id!r}, which is not among the encryption keys")
        try:
            place = _unambiguous(column, account_id, row_id)
            return key.sealing.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], place).decode()
        except (InvalidTag, UnicodeDecodeError, ValueError) as error:
            raise SealBroken("the sealed text was changed, or belongs to another place") from error

    @property
    def first_id(self) -> str:
        """The id of the key that seals."""
        return self._first.id

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that seals first."""
        return tuple(self._keys)

    def needs_reseal(self, sealed: str) -> bool:
        """Tell whether another key than the first one sealed this; raises SealBroken if it is no sealed text."""
        return _split_sealed(sealed)[0] != self._first.id

    def fingerprint(self, *, parts: Sequence[str], context: str) -> str:
        """Keyed fingerprint (HMAC-SHA-256) of a list of texts, as `f1.<key id>.<base64>`.

        Without the key it cannot be used to try out passwords. `context` says what the list is, so that fingerprints
        of different things never equal one another.
        """
        return _fingerprint(self._first, parts, context)

    def matches(self, fingerprint: str, *, parts: Sequence[str], context: str) -> bool:
        """Tell whether the fingerprint was made of these parts, with any key of this ring."""
        version, _, rest = fingerprint.partition(".")
        key = self._keys.get(rest.partition(".")[0])
        if version != _FINGERPRINT_VERSION or key is None:
            return False
        return hmac.compare_digest(fingerprint.encode(), _fingerprint(key, parts, context).encode())


def key_id_of(made: str) -> str:
    """The id of the key that a sealed text or a fingerprint was made with, whether it is at hand or not."""
    return made.partition(".")[2].partition(".")[0]


def _parse_key(entry: str, number: int) -> _Key:
    key_id, colon, encoded = entry.partition(":")
    if not colon or not _KEY_ID.fullmatch(key_id):
        raise ValueError(f"entry {number} must be written id:base64key, the id of letters, digits, - and _")
    try:
        raw = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        # `from None`: the original error may quote the key.
        raise ValueError(f"the key of entry {number} is not base64") from None
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"the key of entry {number} has {len(raw)} bytes instead of {_KEY_BYTES}")
    return _Key(
        id=key_id, sealing=AESGCM(_derive(raw, b"ownpost seal")), fingerprinting=_derive(raw, b"ownpost fingerprint")
    )


def _derive(raw: bytes, purpose: bytes) -> bytes:
    """One key per purpose (RFC 5869), so that no key serves two algorithms."""
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=purpose).derive(raw)


def _unambiguous(*parts: str) -> bytes:
    """Join texts so that no two lists give the same bytes: each goes after its length."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in encoded)


def _split_sealed(sealed: str) -> tuple[str, bytes]:
    version, _, rest = sealed.partition(".")
    key_id, _, encoded = rest.partition(".")
    if version != _SEAL_VERSION or not _KEY_ID.fullmatch(key_id):
        raise SealBroken("this is not a sealed text")
    try:
        return key_id, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealBroken("this is not a sealed text") from error


def _fingerprint(key: _Key, parts: Sequence[str], context: str) -> str:
    digest = hmac.new(key.fingerprinting, _unambiguous(context, *parts), hashlib.sha256).digest()
    return f"{_FINGERPRINT_VERSION}.{key.id}.{base64.b64encode(digest).decode()}"
