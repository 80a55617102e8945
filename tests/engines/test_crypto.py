"""Secrets open only with their key and in their place; fingerprints match only what they were made of."""

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.crypto import Keyring, SealBroken, UnknownKey, new_key

PLACE = {"column": "mail_servers.password", "account_id": "acc-1", "row_id": "row-1"}


@pytest.fixture
def ring() -> Keyring:
    return Keyring.parse(new_key())


def test_it_opens_what_it_sealed_in_the_same_place(ring: Keyring):
    assert ring.unseal(ring.seal("pässword", **PLACE), **PLACE) == "pässword"


def test_it_never_seals_the_same_secret_to_the_same_text(ring: Keyring):
    assert ring.seal("secret", **PLACE) != ring.seal("secret", **PLACE)


@pytest.mark.parametrize("moved", ["column", "account_id", "row_id"])
def test_it_refuses_a_secret_that_was_moved_to_another_place(ring: Keyring, moved: str):
    sealed = ring.seal("secret", **PLACE)
    with pytest.raises(SealBroken):
        ring.unseal(sealed, **{**PLACE, moved: "elsewhere"})


def test_it_does_not_confuse_places_whose_names_run_together(ring: Keyring):
    sealed = ring.seal("secret", column="t.c", account_id="ab", row_id="c")
    with pytest.raises(SealBroken):
        ring.unseal(sealed, column="t.c", account_id="a", row_id="bc")


def test_it_refuses_every_changed_byte(ring: Keyring):
    version, key_id, encoded = ring.seal("s", **PLACE).split(".")
    box = bytearray(base64.b64decode(encoded))
    for position in range(len(box)):
        changed = bytes(box[:position]) + bytes([box[position] ^ 1]) + bytes(box[position + 1 :])
        with pytest.raises(SealBroken):
            ring.unseal(f"{version}.{key_id}.{base64.b64encode(changed).decode()}", **PLACE)


@pytest.mark.parametrize("text", ["", "secret", "v1.", "v1..", "v1.k.%%%", "v2.k.AAAA", "v1.a b.AAAA"])
def test_it_says_that_a_text_is_not_sealed(ring: Keyring, text: str):
    with pytest.raises(SealBroken):
        ring.unseal(text, **PLACE)
    with pytest.raises(SealBroken):
        ring.needs_reseal(text)


@pytest.mark.parametrize("encoded", ["", "AAAA", "é"])
def test_it_refuses_a_sealed_text_that_was_cut(ring: Keyring, encoded: str):
    prefix = ring.seal("secret", **PLACE).rpartition(".")[0]
    with pytest.raises(SealBroken):
        ring.unseal(f"{prefix}.{encoded}", **PLACE)


def test_it_seals_with_the_first_key_and_opens_with_all():
    old, new = new_key(), new_key()
    sealed = Keyring.parse(old).seal("secret", **PLACE)
    ring = Keyring.parse(f"{new},{old}")
    assert ring.unseal(sealed, **PLACE) == "secret"
    assert ring.needs_reseal(sealed)
    assert not ring.needs_reseal(ring.seal("secret", **PLACE))
    assert ring.seal("x", **PLACE).split(".")[1] == new.partition(":")[0]


def test_it_tells_a_missing_key_from_a_broken_seal(ring: Keyring):
    sealed = ring.seal("secret", **PLACE)
    with pytest.raises(UnknownKey, match=sealed.split(".")[1]):
        Keyring.parse(new_key()).unseal(sealed, **PLACE)


def test_it_refuses_a_seal_of_another_key_with_the_same_id(ring: Keyring):
    first, second = new_key(), new_key()
    second = f"{first.partition(':')[0]}:{second.partition(':')[2]}"
    with pytest.raises(SealBroken):
        Keyring.parse(second).unseal(Keyring.parse(first).seal("secret", **PLACE), **PLACE)


def test_it_reads_keys_in_both_alphabets_of_base64_and_with_blanks_around():
    raw = bytes(range(224, 256))
    standard, urlsafe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    assert standard != urlsafe
    sealed = Keyring.parse(f" a:{standard} , ").seal("secret", **PLACE)
    assert Keyring.parse(f"a:{urlsafe}").unseal(sealed, **PLACE) == "secret"


SECRET = "c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtc2hvd24h"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        SECRET,
        f"a b:{SECRET}",
        f":{SECRET}",
        f"a:{SECRET}",
        f"a:{SECRET}é",
        f"a:!{SECRET}",
        f"{SECRET * 2}:a",
    ],
)
def test_it_refuses_unusable_keys_without_showing_them(text: str):
    with pytest.raises(ValueError) as error:
        Keyring.parse(text)
    shown = f"{error.value} {error.value.__cause__}"
    assert "secret" not in shown
    assert SECRET not in shown


def test_it_refuses_two_keys_with_one_id():
    with pytest.raises(ValueError, match="same id"):
        Keyring.parse(f"{new_key()},a:{base64.b64encode(bytes(32)).decode()},a:{base64.b64encode(bytes(32)).decode()}")


def test_it_never_shows_a_key_in_its_repr():
    key = new_key()
    assert key.partition(":")[2] not in repr(Keyring.parse(key))


def test_it_makes_keys_of_32_bytes_that_are_never_the_same():
    key_id, _, encoded = new_key().partition(":")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", key_id)
    assert len(base64.b64decode(encoded)) == 32
    assert new_key() != new_key()


def test_it_matches_a_fingerprint_of_the_same_parts_only(ring: Keyring):
    fingerprint = ring.fingerprint(parts=["host", "587", "secret"], context="server")
    assert ring.matches(fingerprint, parts=["host", "587", "secret"], context="server")
    assert not ring.matches(fingerprint, parts=["host", "587", "Secret"], context="server")
    assert not ring.matches(fingerprint, parts=["host", "587", "secret"], context="other")
    assert not ring.matches(fingerprint, parts=["host", "587", "secret", ""], context="server")


def test_it_matches_a_fingerprint_after_the_keys_were_rotated():
    old, new = new_key(), new_key()
    fingerprint = Keyring.parse(old).fingerprint(parts=["a"], context="c")
    assert Keyring.parse(f"{new},{old}").matches(fingerprint, parts=["a"], context="c")
    assert not Keyring.parse(new).matches(fingerprint, parts=["a"], context="c")


@pytest.mark.parametrize("text", ["", "f1", "f1.x", "f1.x.y", "v1.k.AAAA", "ü"])
def test_it_matches_nothing_with_a_text_that_is_no_fingerprint(ring: Keyring, text: str):
    assert not ring.matches(text, parts=["a"], context="c")


RING = Keyring.parse(new_key())
PARTS = st.lists(st.text(alphabet="ab\0", max_size=3), max_size=4)


@settings(deadline=None)
@given(PARTS, PARTS)
def test_it_gives_different_parts_different_fingerprints(one: list[str], other: list[str]):
    assert RING.matches(RING.fingerprint(parts=one, context="c"), parts=other, context="c") == (one == other)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_it_opens_any_text_it_sealed(secret: str):
    assert RING.unseal(RING.seal(secret, **PLACE), **PLACE) == secret
