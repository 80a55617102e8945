"""Letters by day, in the account's zone."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine

from panel import db
from panel.accounts import service as accounts
from panel.outbox import service as outbox
from panel.outbox.service import Order
from panel.stats import chart, service
from tests.support.world import World


def a_letter(made_at: dt.datetime, state: str, kind: str = "test") -> None:
    order = Order(
        kind=kind, to_address="robin@example.com", from_domain="acme.test", values={"subject": "", "text": ""}
    )
    with db.transaction():
        letter = outbox.put(order)
        letter.made_at, letter.state = made_at, state


@pytest.mark.parametrize(
    ("zone", "day"), [("UTC", (2026, 11, 10)), ("Asia/Kolkata", (2026, 11, 11)), ("America/New_York", (2026, 11, 10))]
)
def test_it_counts_a_letter_on_the_day_of_the_accounts_zone(world: World, zone: str, day: tuple[int, int, int]) -> None:
    with time_machine.travel(dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC), tick=False), world.acme_scope():
        with db.transaction():
            accounts.current().time_zone = zone
        a_letter(dt.datetime(2026, 11, 10, 18, 29, 59, tzinfo=dt.UTC), "failed")
        a_letter(dt.datetime(2026, 11, 10, 18, 30, tzinfo=dt.UTC), "sent")
        found = service.days()
        assert len(found) == service.DAYS
        assert found[-1].date == dt.date(2026, 11, 23)
        assert next(each.date for each in found if each.sent) == dt.date(*day)
        assert next(each.date for each in found if each.troubled) == dt.date(2026, 11, 10)
        assert sum(day.total for day in found) == 2


def test_it_leaves_out_what_is_older_and_what_is_the_platforms_own(world: World) -> None:
    with time_machine.travel(dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC), tick=False), world.acme_scope():
        a_letter(dt.datetime(2026, 10, 24, 23, 59, 59, tzinfo=dt.UTC), "sent")
        a_letter(dt.datetime(2026, 10, 25, tzinfo=dt.UTC), "deferred")
        a_letter(dt.datetime(2026, 11, 23, tzinfo=dt.UTC), "sent", kind="system")
        found = service.days()
        assert (found[0].date, found[0].waiting) == (dt.date(2026, 10, 25), 1)
        assert sum(day.total for day in found) == 1
    with db.account_scope(world.other.id):
        assert not any(day.total for day in service.days())


def test_it_draws_a_bar_for_each_part_of_a_day() -> None:
    day = dt.date(2026, 11, 23)
    bars = chart.bars([service.Day(day, 0, 0, 0), service.Day(day, 3, 0, 1), service.Day(day, 0, 2, 0)])
    assert [bar.kind for bar in bars] == ["sent", "troubled", "waiting"]
    assert bars[0].height == 3 * bars[1].height
    assert bars[1].y == 0
    assert all(bar.y + bar.height == pytest.approx(chart.HEIGHT) for bar in (bars[0], bars[2]))
    assert chart.bars([service.Day(day, 0, 0, 0)]) == []
