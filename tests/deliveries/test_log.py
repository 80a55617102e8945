"""The log: the account's own letters, filtered, and everything about one of them."""

from __future__ import annotations

import email

import pytest

from panel.outbox import service as outbox
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer, Peer, ScriptedServer


def _text(post: Post, path: str, user: object | None = None) -> str:
    answer = post.world.client(user or post.world.owner).get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_it_lists_newest_first_and_filters(post: Post) -> None:
    post.welcome("ann@friends.test")
    post.send()
    post.welcome("bob@friends.test")
    page = _text(post, "/deliveries")
    assert page.index("bob@friends.test") < page.index("ann@friends.test")
    assert "Welcome, with the referral link" in page
    assert "ann@" not in _text(post, "/deliveries?state=queued")
    assert "bob@" not in _text(post, "/deliveries?to=ANN")
    assert "ann@" in _text(post, f"/deliveries?campaign={post.campaign_id}")
    assert "Nothing fits" in _text(post, "/deliveries?kind=test")


def test_it_pages(post: Post) -> None:
    made = [post.welcome(f"p{number}@friends.test") for number in range(53)]
    first = _text(post, "/deliveries?to=friends.test")
    assert "p52@" in first
    assert "p0@" not in first
    older = _text(post, f"/deliveries?to=friends.test&before={made[3]}")
    assert "p2@" in older
    assert "p52@" not in older
    assert "p52@" in _text(post, f"/deliveries?to=friends.test&after={made[3]}")


def test_one_delivery_shows_its_attempts_and_the_letter_as_sent(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        welcome = post.welcome()
        post.send()
        [letter] = own.wait_for(1)
    page = _text(post, f"/deliveries/{welcome}", post.world.member)
    assert "Acme Coffee &lt;hello@acme.test&gt;" in page
    assert "250" in page
    assert post.get(welcome).message_id.strip("<>") in page
    browser = post.world.client(post.world.owner)
    source = browser.get(f"/deliveries/{welcome}/letter.eml").data
    assert email.message_from_bytes(source)["Message-ID"] == email.message_from_bytes(letter.content)["Message-ID"]
    frame = browser.get(f"/deliveries/{welcome}/html")
    assert frame.headers["Content-Security-Policy"].startswith("sandbox")


def test_a_system_letters_words_are_not_shown(post: Post) -> None:
    with post.world.acme_scope():
        made = outbox.put_system_letter(
            to_address="owner@acme.test", subject="Reset", text="https://secret.link", html=None, from_domain="x.test"
        )
    assert "secret.link" not in _text(post, f"/deliveries/{made.id}")
    browser = post.world.client(post.world.owner)
    assert browser.get(f"/deliveries/{made.id}/html").status_code == 404
    assert browser.get(f"/deliveries/{made.id}/letter.eml").status_code == 404


@pytest.mark.parametrize("path", ["", "/html", "/letter.eml"])
def test_a_stranger_sees_none_of_it(post: Post, path: str) -> None:
    welcome = post.welcome()
    post.send()
    stranger = post.world.client(post.world.stranger)
    assert stranger.get(f"/deliveries/{welcome}{path}").status_code == 404
    assert "robin@" not in _text(post, "/deliveries", post.world.stranger)


def _after_the_dot(peer: Peer) -> None:
    peer.greet()
    peer.take_envelope()
    peer.hear_letter()


def _uncertain(post: Post) -> int:
    with ScriptedServer(_after_the_dot) as own:
        post.use(own.port)
        welcome = post.welcome()
        post.send()
    return welcome


def test_an_owner_sends_an_uncertain_one_again_and_a_member_cannot(post: Post) -> None:
    welcome = _uncertain(post)
    assert "It may or may not have arrived" in _text(post, f"/deliveries/{welcome}")
    assert post.world.client(post.world.member).post(f"/deliveries/{welcome}/resend").status_code == 403
    assert post.world.client(post.world.stranger).post(f"/deliveries/{welcome}/resend").status_code == 404
    answer = post.world.client(post.world.owner).post(f"/deliveries/{welcome}/resend")
    assert answer.status_code == 303
    assert post.get(welcome).state == "canceled"
    again = int(answer.headers["Location"].rsplit("/", 1)[1])
    assert post.get(again).resend_of == welcome
    assert f"/deliveries/{again}" in _text(post, f"/deliveries/{welcome}")


def test_an_owner_marks_an_uncertain_one_as_sent(post: Post) -> None:
    welcome = _uncertain(post)
    assert post.world.client(post.world.member).post(f"/deliveries/{welcome}/mark-as-sent").status_code == 403
    assert post.world.client(post.world.owner).post(f"/deliveries/{welcome}/mark-as-sent").status_code == 303
    assert post.get(welcome).state == "sent"


def test_what_may_still_go_out_is_not_sent_again(post: Post) -> None:
    welcome = post.welcome()
    post.world.client(post.world.owner).post(f"/deliveries/{welcome}/resend")
    assert post.get(welcome).state == "queued"
