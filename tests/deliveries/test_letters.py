"""The letters of a batch are, to the octet, those that the log makes again."""

from __future__ import annotations

import pytest

from panel import db
from panel.db import NotFound
from panel.deliveries import letters
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.servers.service import Envelope
from panel.smtp.wire import WireLetter, terminated
from tests.deliveries.conftest import Post

ENVELOPE = Envelope(from_name="Acme Coffee", from_address="hello@acme.test", reply_to="owner@acme.test")


def made(one: Delivery) -> list[bytes]:
    """What a session writes, to servers without and with 8BITMIME."""
    each = map(letters.maker_of(one, ENVELOPE), (False, True))
    return [octets.octets if isinstance(octets, WireLetter) else terminated(octets) for octets in each]


def again(one: Delivery) -> list[bytes]:
    letter = letters.letter_of(one, ENVELOPE)
    return [terminated(letter.wire(eightbit=eightbit)) for eightbit in (False, True)]


def test_the_letters_of_a_batch_are_those_made_one_by_one(post: Post) -> None:
    ids = [*post.join("robin@friends.test", ".Robin"), *post.join("asa@friends.test", "Åsa\r\n.\r\n<b>")]
    with post.world.acme_scope():
        for one in map(outbox.get, ids):
            assert made(one) == again(one)
            assert one.message_id.encode() in made(one)[0]


def test_a_letter_of_the_panel_itself_can_be_made_likewise(post: Post) -> None:
    with post.world.acme_scope():
        one = outbox.put_system_letter(
            to_address="owner@acme.test",
            subject="Hello",
            text=".\nÅ\n\nhttps://a.test",
            html=None,
            from_domain="a.test",
        )
        assert made(one) == again(one)


def test_another_accounts_version_makes_no_letter(post: Post) -> None:
    [one, *_] = post.join()
    with post.world.acme_scope():
        row = outbox.get(one)
        assert made(row)
    with db.account_scope(post.world.other.id), pytest.raises(NotFound):
        letters.maker_of(row, ENVELOPE)
