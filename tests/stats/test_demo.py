"""The demo account: there at once, the same twice, and nothing of it ever sent."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import func, select

from panel import db
from panel.accounts import service as accounts
from panel.blasts.models import Blast
from panel.outbox.models import Attempt, Delivery
from panel.participants.models import Participant
from panel.stats import demo
from tests.support.world import World


def _add(world: World) -> str:
    with world.app.app_context():
        return demo.add()


def _counts() -> dict[str, int]:
    with db.system_scope("tests") as session:
        return {
            model.__tablename__: session.scalar(select(func.count()).select_from(model)) or 0
            for model in (Delivery, Attempt, Participant, accounts.Account, accounts.User)
        }


def test_it_adds_an_account_with_a_month_behind_it(world: World) -> None:
    _add(world)
    assert _counts()["participants"] == 40
    with db.system_scope("tests") as session:
        states = Counter(session.scalars(select(Delivery.state)))
    assert set(states) == {"sent", "failed", "uncertain", "canceled"}
    assert states["sent"] > 50


def test_it_has_a_blast_that_went_out_and_a_draft(world: World) -> None:
    _add(world)
    with db.system_scope("tests") as session:
        found = {one.state: one for one in session.scalars(select(Blast))}
        letters = Counter(session.scalars(select(Delivery.state).where(Delivery.blast_id == found["done"].id)))
    assert set(found) == {"done", "draft"}
    assert found["done"].recipients == sum(letters.values()) == letters["sent"] + 1
    assert found["done"].left_out == 1


def test_run_twice_it_adds_nothing_and_says_the_same(world: World) -> None:
    said = _add(world)
    before = _counts()
    assert _add(world) == said
    assert _counts() == before


def test_nothing_of_it_is_ever_sent(world: World) -> None:
    _add(world)
    world.tick()
    world.work("delivery")
    with db.system_scope("tests") as session:
        assert session.scalar(select(func.count()).select_from(Delivery).where(Delivery.state == "queued")) == 0


def test_the_login_works_and_home_shows_the_month(world: World) -> None:
    said = _add(world)
    browser = world.client()
    password = said.rsplit(" ", 1)[1]
    assert browser.submit("/login", email=demo.EMAIL, password=password).status_code == 302
    page = browser.get("/").get_data(as_text=True)
    assert "The last 30 days" in page
    assert "may or may not have arrived" in page
    assert "<rect" in page
