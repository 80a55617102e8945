"""The log where things are unusual: made-up numbers, letters that cannot be made, and every reason in words."""

from __future__ import annotations

import pytest

from panel import db
from panel.deliveries import reasons
from panel.outbox.models import Delivery
from panel.servers.service import PAUSE_REASONS
from panel.smtp.outcome import About, FailureCode
from tests.deliveries.conftest import Post

TOO_MUCH = 10**25

MADE_UP = ["before=-1", "state=x", "kind=x", "campaign=x", "to=%25", f"before={TOO_MUCH}", f"after={TOO_MUCH}"]


def _change(post: Post, delivery_id: int, **row: object) -> None:
    with post.world.acme_scope(), db.transaction() as session:
        delivery = session.get_one(Delivery, delivery_id)
        for name, value in row.items():
            setattr(delivery, name, value)


def test_it_knows_no_number_that_is_too_large(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    for path in ("", "/html", "/letter.eml"):
        assert browser.get(f"/deliveries/{TOO_MUCH}{path}").status_code == 404
    assert browser.post(f"/deliveries/{TOO_MUCH}/resend").status_code == 404


def test_it_makes_little_of_a_made_up_query(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    assert {query: browser.get(f"/deliveries?{query}").status_code for query in MADE_UP} == dict.fromkeys(MADE_UP, 200)


def test_it_says_why_something_was_canceled(post: Post) -> None:
    _change(post, post.welcome(), state="canceled", reason="suppressed_unsubscribed", reply="451 Come back later")
    page = post.world.client(post.world.member).get("/deliveries").get_data(as_text=True)
    assert "The recipient has unsubscribed." in page
    assert "451 Come" not in page


def test_it_gives_the_servers_last_words(post: Post) -> None:
    _change(post, post.welcome(), state="failed", reason="recipient_refused", reply="550 5.1.1 No such <b>user</b>")
    page = post.world.client(post.world.owner).get("/deliveries").get_data(as_text=True)
    assert "550 5.1.1 No such &lt;b&gt;user&lt;/b&gt;" in page


def test_it_has_words_for_every_reason() -> None:
    noted = {str(reason) for reason in (*FailureCode, *About, *PAUSE_REASONS)}
    assert noted <= reasons.REASONS.keys()


@pytest.mark.parametrize("size", [100, 2_000_000])
def test_it_shows_a_delivery_whose_letter_cannot_be_made(post: Post, size: int) -> None:
    welcome = post.welcome()
    values = post.get(welcome).values
    long = {**values, "tags": {**values["tags"], "referrer.first_name": "x" * size}}
    _change(post, welcome, values=long)
    browser = post.world.client(post.world.owner)
    page = browser.get(f"/deliveries/{welcome}")
    assert page.status_code == 200
    assert ("No letter could be made" in page.get_data(as_text=True)) == (size > 1_000_000)
    assert browser.get(f"/deliveries/{welcome}/html").status_code == (404 if size > 1_000_000 else 200)
