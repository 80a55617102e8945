"""Home: what needs a person, then how it goes."""

from __future__ import annotations

from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer
from tests.support.world import World

__all__ = ["platform", "post"]


def test_an_empty_account_is_shown_its_first_steps(world: World) -> None:
    page = world.client(world.owner).get("/").get_data(as_text=True)
    assert "Add an outbound address" in page
    assert "No letters yet" in page


def test_it_asks_for_a_person_when_a_server_refuses_its_password(post: Post) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="not it")
        post.welcome()
        post.send()
    page = post.world.client(post.world.owner).get("/").get_data(as_text=True)
    assert "Your mail server for hello@acme.test needs a look" in page
    assert f"/settings/email/{post.address_id}/server" in page


def test_a_stranger_sees_none_of_it(post: Post) -> None:
    post.welcome()
    post.send()
    page = post.world.client(post.world.stranger).get("/").get_data(as_text=True)
    assert "Spring" not in page
    assert "No letters yet" in page
