"""/u/<token>: GET asks, POST does, and a mail program does it by one click (RFC 8058)."""

from __future__ import annotations

import re
import uuid

import pytest
from flask.testing import FlaskClient
from itsdangerous import URLSafeSerializer

from panel import db
from panel.campaigns.service import Campaign
from panel.participants import service as participants
from panel.participants.service import Participant
from panel.suppressions import service as suppressions
from tests.support.world import World

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def reader(world: World) -> FlaskClient:
    """Somebody's browser, or their mail program: no session, no cookie."""
    return world.app.test_client(use_cookies=False)


def reason(world: World, robin: Participant) -> str | None:
    with world.acme_scope():
        return suppressions.is_suppressed(robin.email, robin.campaign_id)


def test_it_asks_first(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    page = reader.get(f"/u/{token}")
    text = page.get_data(as_text=True)
    assert page.status_code == 200
    assert "Acme Coffee" in text
    assert "robin@example.com" in text
    assert reason(world, robin) is None


def test_it_stops_the_campaigns_mail(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    answer = reader.post(f"/u/{token}")
    assert answer.status_code == 303
    assert "You are unsubscribed" in reader.get(answer.location).get_data(as_text=True)
    with world.acme_scope():
        assert suppressions.is_suppressed(robin.email, robin.campaign_id) == "unsubscribed"
        assert suppressions.is_suppressed(robin.email, None) is None
        assert participants.get(robin.id).unsubscribed_at is not None


def test_it_takes_one_click_of_a_mail_program(
    world: World, reader: FlaskClient, robin: Participant, token: str
) -> None:
    for _ in range(2):
        answer = reader.post(f"/u/{token}", data=ONE_CLICK)
        assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    assert reason(world, robin) == "unsubscribed"
    with world.acme_scope():
        assert len(suppressions.page().rows) == 1


def test_it_takes_one_click_as_multipart(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    assert reader.post(f"/u/{token}", data=ONE_CLICK, content_type="multipart/form-data").status_code == 200
    assert reason(world, robin) == "unsubscribed"


def test_it_can_be_taken_back(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    reader.post(f"/u/{token}")
    reader.post(f"/u/{token}", data={"resubscribe": "1"})
    assert reason(world, robin) is None
    with world.acme_scope():
        assert participants.get(robin.id).unsubscribed_at is None


def test_it_leaves_a_bounce_where_it_is(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    with world.acme_scope():
        suppressions.add(robin.email, reason="bounced")
    reader.post(f"/u/{token}")
    reader.post(f"/u/{token}", data={"resubscribe": "1"})
    assert reason(world, robin) == "bounced"


def test_it_does_not_widen_what_somebody_wants(
    world: World, reader: FlaskClient, robin: Participant, token: str
) -> None:
    world.client().submit(f"/p/{token}", choice="nothing")
    reader.post(f"/u/{token}", data=ONE_CLICK)
    with world.acme_scope():
        assert suppressions.is_suppressed(robin.email, None) == "unsubscribed"


@pytest.mark.parametrize("change", [lambda token: token[:-1], lambda token: "x" + token, lambda _: "x"])
@pytest.mark.parametrize("path", ["u", "p"])
def test_it_knows_no_link_that_was_made_up(
    world: World, reader: FlaskClient, token: str, change: object, path: str
) -> None:
    assert callable(change)
    answer = reader.get(f"/{path}/{change(token)}")
    assert answer.status_code == 404
    # A reader of letters knows nothing of the panel: the page says what to do, and leads nowhere else.
    assert "This link does not work" in answer.text
    assert "Open it from the letter again" in answer.text
    assert "<a " not in answer.text.partition("<main")[2]


def test_it_knows_nobody_who_is_gone(world: World, reader: FlaskClient, robin: Participant, token: str) -> None:
    with world.acme_scope(), db.transaction() as session:
        session.delete(session.get_one(Participant, robin.id))
    assert reader.get(f"/u/{token}").status_code == 404
    assert reader.post(f"/u/{token}").status_code == 404


def test_it_lets_people_choose(world: World, robin: Participant, spring: Campaign, token: str) -> None:
    browser = world.client()
    page = browser.get(f"/p/{token}").get_data(as_text=True)
    assert "No email from Acme Coffee at all" in page
    for choice, here, elsewhere in (
        ("nothing", "unsubscribed", "unsubscribed"),
        ("nothing_of_campaign", "unsubscribed", None),
        ("campaign", None, None),
    ):
        assert browser.submit(f"/p/{token}", choice=choice).status_code == 303
        with world.acme_scope():
            assert suppressions.is_suppressed(robin.email, spring.id) == here
            assert suppressions.is_suppressed(robin.email, None) == elsewhere
        chosen = re.search(r"<input[^>]* checked[^>]*>", browser.get(f"/p/{token}").get_data(as_text=True))
        assert chosen is not None
        assert f'value="{choice}"' in chosen[0]


def test_it_refuses_another_choice(world: World, robin: Participant, token: str) -> None:
    assert world.client().submit(f"/p/{token}", choice="everything").status_code == 422


def test_it_asks_the_preferences_form_for_its_token(world: World, reader: FlaskClient, token: str) -> None:
    assert reader.post(f"/p/{token}", data={"choice": "nothing"}).status_code == 400


def test_it_still_reads_links_of_the_first_form(world: World, reader: FlaskClient, robin: Participant) -> None:
    old = URLSafeSerializer(world.settings.secret_key, salt="unsubscribe").dumps([robin.account_id.hex, robin.id.hex])
    assert "robin@example.com" in reader.get(f"/u/{old}").get_data(as_text=True)


def test_it_takes_no_link_whose_proof_is_another_ones(world: World, reader: FlaskClient, token: str) -> None:
    with world.app.app_context():
        other = participants.token_of(uuid.uuid4(), uuid.uuid4())
    assert len(other) == len(token)
    made_up = token[:42] + other[42:]
    assert "robin@example.com" not in reader.get(f"/u/{made_up}").get_data(as_text=True)
    assert reader.post(f"/u/{made_up}").status_code == 404
