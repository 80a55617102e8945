"""A blast whose server takes only so many letters a day: its page says so, and when the last of them will have gone."""

from __future__ import annotations

import datetime as dt
import re

from sqlalchemy import update

from panel import db
from panel.accounts.models import Account
from tests.blasts.conftest import Crowd


def _allow(per_day: int) -> None:
    with db.system_scope("tests") as session, db.transaction():
        session.execute(update(Account).values(platform_daily_limit=per_day))


def _page(crowd: Crowd, blast_id: object) -> str:
    page = crowd.world.client(crowd.world.owner).get(crowd.path(blast_id)).text
    return re.sub(r"\s+", " ", page)


def test_its_page_says_which_limit_its_letters_wait_for(crowd: Crowd) -> None:
    _allow(3)
    crowd.add(5)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.drain()
    page = _page(crowd, blast_id)
    assert re.search(
        r"The platform server’s limit of 3 a day is used up; letters go on ((tomorrow|on \w+) )?at \d\d:\d\d,", page
    )
    assert re.search(r"and all will have gone ((tomorrow|on \w+) )?about \d\d:\d\d\. ", page)
    assert "when your server takes mail again" not in page


def test_while_they_go_it_says_when_the_last_will_have_gone(crowd: Crowd) -> None:
    _allow(8)
    crowd.add(10)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    found = crowd.progress(blast_id)
    assert found.limits.now == ""
    assert re.fullmatch(r"((tomorrow|on \w+) )?about \d\d:\d\d", found.limits.done)
    assert f"<strong>Sending</strong>, done {found.limits.done}." in _page(crowd, blast_id)


def test_one_at_a_set_time_is_foretold_from_that_time(crowd: Crowd) -> None:
    _allow(8)
    crowd.add(10)
    blast_id = crowd.draft()
    browser = crowd.world.client(crowd.world.owner)
    form = browser.get(f"{crowd.path(blast_id)}/send").text
    version = re.search(r'name="version"[^>]*value="([^"]+)"', form)
    assert version is not None
    day = db.now() + dt.timedelta(days=60)
    asked = {"version": version[1], "when": "later", "at": f"{day:%Y-%m-%d}T10:00"}
    assert browser.post(f"{crowd.path(blast_id)}/send", asked).status_code == 303
    following = day + dt.timedelta(days=1)
    done = rf"done on {following.day} {following:%B}( {following.year})? about \d\d:\d\d\."
    words = f"As things are, 10 people, .* allows you 8 a day: {done}"
    assert re.search(words, _page(crowd, blast_id))
