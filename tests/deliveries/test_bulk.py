"""*Resend* and *Mark as sent* for all of a filter, and for one."""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
import redis
from sqlalchemy import delete, func, insert, select, update

from panel import db
from panel.accounts.models import AuditEntry
from panel.deliveries import bulk
from panel.deliveries.models import BulkAction
from panel.deliveries.wanted import Filter
from panel.outbox import again
from panel.outbox.models import Attempt, Delivery
from panel.suppressions import service as suppressions
from tests.deliveries.conftest import Post
from tests.support.world import Browser


def _letters(post: Post, count: int, state: str, reason: str | None = None, name: str = "p", **row: Any) -> list[int]:
    """So many letters of the past, to participants."""
    like = post.welcome(f"{name}-first@friends.test")
    with post.world.acme_scope(), db.transaction() as session:
        first = session.get_one(Delivery, like)
        values = {name: getattr(first, name) for name in again.CARRIED}
        values |= {"account_id": first.account_id, "state": state, "reason": reason, "event_id": None, **row}
        rows = [
            {
                **values,
                "to_address": f"{name}{number}@friends.test",
                "message_id": f"<{uuid.uuid4()}@x>",
                "date": db.now(),
            }
            for number in range(count)
        ]
        session.execute(delete(Delivery).where(Delivery.event_id == first.event_id))
        return list(session.scalars(insert(Delivery).returning(Delivery.id), rows))


def _states(post: Post) -> Counter[tuple[str, str | None]]:
    with post.world.acme_scope() as session:
        return Counter((one.state, one.reason) for one in session.scalars(select(Delivery)))


def _ask(post: Post, what: str, query: str, browser: Browser | None = None) -> tuple[Browser, str, dict[str, str]]:
    """The page that asks: who looks, what it says, and the fields of its form."""
    browser = browser or post.world.client(post.world.owner)
    page = browser.get(f"/deliveries/many?what={what}&{query}").get_data(as_text=True)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return browser, page, {name: value for name, value in fields.items() if name != "csrf_token"}


def test_the_log_offers_it_for_what_it_shows(post: Post) -> None:
    _letters(post, 3, "failed", "recipient_refused")
    _letters(post, 2, "uncertain", "no_reply", name="u")
    browser = post.world.client(post.world.owner)
    page = browser.get("/deliveries?state=failed").text
    assert "Resend all 3 like this…" in page
    assert "as sent…" not in page
    page = browser.get("/deliveries?to=friends.test").text
    assert "Resend all 5 like this…" in page
    assert "Mark all 2 as sent…" in page
    assert "Resend all" not in browser.get("/deliveries?state=sent").text
    assert "Resend all" not in browser.get("/deliveries").text
    assert "Resend all" not in post.world.client(post.world.member).get("/deliveries?state=failed").text


def test_it_says_what_would_happen_before_it_does(post: Post) -> None:
    _letters(post, 3, "failed", "recipient_refused")
    _letters(post, 2, "uncertain", "no_reply", name="u")
    _letters(post, 4, "sent", name="s")
    with post.world.acme_scope():
        suppressions.add("p1@friends.test")
    _, page, form = _ask(post, "resend", "to=friends.test")
    assert "Send 4 letters again?" in page
    assert "The server refused the recipient." in page
    assert "2 recipients may get it twice" in page
    assert "1 more is left out" in page
    assert form["seen"] == "4"
    _, page, _ = _ask(post, "mark_as_sent", "to=friends.test")
    assert "Mark 2 letters as sent?" in page
    assert _states(post)["queued", None] == 0


def test_it_sends_all_of_a_filter_again_once(post: Post) -> None:
    failed = _letters(post, 3, "failed", "recipient_refused")
    uncertain = _letters(post, 2, "uncertain", "no_reply", name="u")
    _letters(post, 1, "failed", name="elsewhere")
    with post.world.acme_scope():
        suppressions.add("p1@friends.test")
    browser, _, form = _ask(post, "resend", "to=friends.test")
    form_of_the_other_tab = _ask(post, "resend", "to=friends.test", browser)[2]
    answer = browser.post("/deliveries/many", {**form, "to": "@friends.test"})
    assert answer.status_code == 303
    page = browser.get(answer.location).text
    assert "5 letters are on the way again" in page
    assert "1 was left out" in page
    after = _states(post)
    assert after["queued", None] == 5
    assert after["canceled", "resent"] == 2
    assert after["failed", "recipient_refused"] == 3
    # The button pressed twice, and the same page open in another tab: nobody gets a third letter.
    assert browser.post("/deliveries/many", form).location == answer.location
    other = browser.post("/deliveries/many", form_of_the_other_tab)
    assert "0 letters are on the way again" in browser.get(other.location).text
    assert _states(post) == after
    with post.world.acme_scope() as session:
        made = {one.resend_of: one for one in session.scalars(select(Delivery).where(Delivery.resend_of.is_not(None)))}
        assert {failed[0], failed[2], *uncertain} <= set(made)
        old = session.get_one(Delivery, uncertain[0])
        new = made[uncertain[0]]
        assert (new.to_address, new.values, new.notification_version_id) == (
            old.to_address,
            old.values,
            old.notification_version_id,
        )
        assert new.message_id != old.message_id
        assert new.message_id.endswith("@acme.test>")
        audits = list(session.scalars(select(AuditEntry).where(AuditEntry.action == "deliveries.resent")))
        assert [each.details["deliveries"] for each in audits] == [5, 0]
        assert audits[0].user_id == post.world.owner.id
    post.send()
    assert _states(post)["sent", None] == 5


def test_it_marks_all_of_a_filter_as_sent(post: Post) -> None:
    _letters(post, 3, "uncertain", "no_reply")
    _letters(post, 2, "failed", "gave_up", name="f")
    browser, _, form = _ask(post, "mark_as_sent", "state=uncertain")
    answer = browser.post("/deliveries/many", form)
    assert "3 letters are marked as sent" in browser.get(answer.location).text
    assert _states(post) == {("sent", "marked_as_sent"): 3, ("failed", "gave_up"): 2}


def test_many_are_done_by_a_job_that_the_page_follows(post: Post) -> None:
    _letters(post, 2 * bulk.PART + 5, "failed", "recipient_refused")
    browser, _, form = _ask(post, "resend", "state=failed")
    answer = browser.post("/deliveries/many", form)
    page = browser.get(answer.location).text
    assert "0 of 2,005" in page
    assert 'hx-get="' in page
    with post.world.acme_scope():
        assert bulk.go_on(uuid.UUID(form["action"]))
    fragment = browser.get(answer.location, headers={"HX-Request": "true"}).text
    assert "1,000 of 2,005" in fragment
    assert "<html" not in fragment
    post.world.work("housekeeping")
    page = browser.get(answer.location).text
    assert "2,005 letters are on the way again" in page
    assert "hx-get" not in page.split('id="progress"')[1]
    post.world.work("housekeeping")
    assert _states(post) == {("failed", "recipient_refused"): 2005, ("queued", None): 2005}


def test_the_ticker_rings_again_for_a_job_that_was_lost(post: Post, redis_client: redis.Redis) -> None:
    _letters(post, bulk.PART + 1, "uncertain", "no_reply")
    browser, _, form = _ask(post, "mark_as_sent", "state=uncertain")
    browser.post("/deliveries/many", form)
    redis_client.flushdb()
    post.world.tick()
    post.world.work("housekeeping")
    assert _states(post)["uncertain", "no_reply"] == bulk.PART + 1  # too soon to think it lost
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(BulkAction).values(touched_at=db.clock(-31)))
    post.world.tick()
    post.world.tick()
    post.world.work("housekeeping")
    assert _states(post) == {("sent", "marked_as_sent"): bulk.PART + 1}


def test_it_asks_again_when_more_have_become_like_that(post: Post) -> None:
    _letters(post, 2, "failed")
    browser, _, form = _ask(post, "resend", "to=friends.test")
    later = _letters(post, 1, "failed", name="later")
    answer = browser.post("/deliveries/many", form)
    assert answer.status_code == 303  # made after the page: not meant
    _, _, form = _ask(post, "resend", "to=friends.test", browser)
    with post.world.acme_scope(), db.transaction() as session:
        resent = update(Delivery).where(Delivery.resend_of.is_not(None), Delivery.id < 10**9)
        session.execute(resent.values(state="failed", made_at=db.now()))
        session.execute(update(Delivery).where(Delivery.id == later[0]).values(state="failed"))
    assert form["seen"] == "1"
    answer = browser.post("/deliveries/many", form)
    assert answer.status_code == 409
    assert "There are more of them by now" in answer.text
    assert _states(post)["queued", None] == 0


def test_two_who_do_it_at_once_send_each_letter_again_once(post: Post) -> None:
    failed = _letters(post, 300, "failed")
    ready = threading.Barrier(6)

    def press(number: int) -> None:
        with post.world.acme_scope():
            planned = bulk.plan("resend", Filter(state="failed"))
            ready.wait()
            if number % 2:
                from panel.deliveries import service as deliveries

                deliveries.resend(failed[150])
            else:
                bulk.start(uuid.uuid4(), "resend", Filter(state="failed"), seen=300, last=planned.last, user_id=None)

    threads = [threading.Thread(target=press, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with post.world.acme_scope() as session:
        made = list(session.scalars(select(Delivery.resend_of).where(Delivery.resend_of.is_not(None))))
    assert sorted(each for each in made if each) == sorted(failed)


def test_one_pressed_twice_is_sent_again_once(post: Post) -> None:
    [one] = _letters(post, 1, "failed")
    browser = post.world.client(post.world.owner)
    first, second = (browser.post(f"/deliveries/{one}/resend") for _ in range(2))
    assert first.location == second.location
    assert _states(post)["queued", None] == 1


def test_one_whose_recipient_is_suppressed_is_not_sent_again(post: Post) -> None:
    [one] = _letters(post, 1, "canceled", "suppressed_unsubscribed")
    with post.world.acme_scope():
        suppressions.add("p0@friends.test", reason=suppressions.UNSUBSCRIBED)
    browser = post.world.client(post.world.owner)
    answer = browser.post(f"/deliveries/{one}/resend", follow_redirects=True)
    assert "It was not sent again. The recipient has unsubscribed." in answer.text
    assert _states(post) == {("canceled", "suppressed_unsubscribed"): 1}


def test_one_whose_address_is_gone_takes_the_default_ones_name(post: Post) -> None:
    [one] = _letters(post, 1, "failed", address_id=uuid.uuid4())
    assert post.world.client(post.world.owner).post(f"/deliveries/{one}/resend").status_code == 303
    assert _states(post)["queued", None] == 1


def test_system_letters_are_sent_again_one_by_one_only(post: Post) -> None:
    _letters(post, 1, "failed", kind="system", participant_id=None)
    assert "Resend the one" not in post.world.client(post.world.owner).get("/deliveries?state=failed").text


@pytest.mark.parametrize("who", ["member", "stranger"])
def test_nobody_else_can(post: Post, who: str) -> None:
    _letters(post, 2, "failed")
    owner, _, form = _ask(post, "resend", "state=failed")
    browser = post.world.client(getattr(post.world, who))
    answer = browser.post("/deliveries/many", form)
    if who == "member":
        assert answer.status_code == 403
        assert browser.get("/deliveries/many?what=resend&state=failed").status_code == 403
    else:
        assert "0 letters" in browser.get(answer.location).text
        # The other account's form has used up this id; the owner's own must not fall into it.
        assert owner.post("/deliveries/many", form).status_code == 404
    assert _states(post) == {("failed", None): 2}


@pytest.mark.parametrize(
    "change",
    [
        {"action": "x"},
        {"action": ""},
        {"seen": ""},
        {"seen": "many"},
        {"last": str(10**25)},
        {"last": "-1"},
        {"state": ""},
        {"state": "no such"},
    ],
)
def test_a_form_that_is_not_complete_does_nothing(post: Post, change: dict[str, str]) -> None:
    _letters(post, 1, "failed")
    browser, _, form = _ask(post, "resend", "state=failed")
    assert browser.post("/deliveries/many", {**form, **change}).status_code == 400
    assert browser.post("/deliveries/many", {**form, "what": "burn"}).status_code == 404
    assert browser.get("/deliveries/many?what=burn").status_code == 404
    assert _states(post) == {("failed", None): 1}


def test_a_filter_is_read_back_as_it_was_written(post: Post) -> None:
    given = {"state": "failed", "kind": "blast", "campaign": str(uuid.uuid4()), "to": "%_x", "since": "2026-11-01"}
    assert Filter.read(given).as_query() == {name: text for name, text in given.items() if text}


def test_a_new_delivery_has_from_the_old_one_what_the_letter_needs() -> None:
    own = {
        "id", "account_id", "blast_id", "message_id", "date", "made_at", "state", "reason", "priority",
        "next_attempt_at", "expires_at", "trying_since", "held_at", "attempts", "server_id", "server_version",
        "sent_from", "lease_owner", "lease_until", "fence", "resend_of", "sent_at", "reply", "blanked_at",
    }  # fmt: skip
    columns = {attribute.key for attribute in Delivery.__mapper__.column_attrs}
    assert columns - own == set(again.CARRIED), "say of each new column whether a letter sent again takes it over"


def test_nothing_is_lost_between_parts(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART", 7)
    failed = _letters(post, 40, "failed")
    with post.world.acme_scope():
        for address in ("p3", "p4", "p39"):
            suppressions.add(f"{address}@friends.test")
    browser, _, form = _ask(post, "resend", "state=failed")
    answer = browser.post("/deliveries/many", form)
    post.world.work("housekeeping")
    page = browser.get(answer.location).text
    assert "37 letters are on the way again" in page
    assert "3 were left out" in page
    with post.world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 0
        made = set(session.scalars(select(Delivery.resend_of).where(Delivery.resend_of.is_not(None))))
    assert len(made) == 37
    assert made < set(failed)
