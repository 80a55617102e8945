"""The pages: from a draft to the word to send, for whoever works on campaigns."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.blasts import service as blasts
from panel.blasts.forms import SendForm
from panel.outbox.models import Delivery
from panel.suppressions import service as suppressions
from tests.blasts.conftest import Crowd
from tests.campaigns.test_preview import HTMX, frame_path
from tests.support.wait import wait_for
from tests.support.world import Browser

FIELDS = {
    "subject": "Hello {{ recipient.first_name }}", "preheader": "", "html": "<h1>Look</h1>", "text": "",
    "who": "referrers", "referrals": "any",
}  # fmt: skip


def _new(crowd: Crowd, browser: Browser) -> str:
    """A new draft; the path of its editor."""
    browser.get(f"/campaigns/{crowd.campaign_id}/blasts")
    answer = browser.post(f"/campaigns/{crowd.campaign_id}/blasts")
    assert answer.status_code == 303
    return str(answer.location)


def _id(path: str) -> uuid.UUID:
    return uuid.UUID(path.rsplit("/", 1)[1])


def _version(page: str) -> str:
    found = re.search(r'name="version"[^>]*value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_is_written_looked_at_and_sent(crowd: Crowd, who: str) -> None:
    crowd.add(3)
    crowd.add(1, email="gone@friends.test")
    with crowd.world.acme_scope():
        suppressions.add("gone@friends.test")
    browser = crowd.world.client(getattr(crowd.world, who))
    assert "No blast yet" in browser.get(f"/campaigns/{crowd.campaign_id}/blasts").text
    path = _new(crowd, browser)
    answer = browser.post(path, {**FIELDS, "go_on": "1"})
    assert answer.location.endswith(f"{path}/send")
    page = browser.get(answer.location).text
    assert re.search(r'reach-number numeric">3<', page)
    assert "1 person of this audience is left out" in page
    assert "Hello Robin" in page
    assert crowd.letters(_id(path)) == []
    for _ in range(2):  # a double click
        assert browser.post(f"{path}/send", {"version": _version(page), "when": "now"}).location.endswith(path)
    assert len(crowd.letters(_id(path))) == 3
    shown = browser.get(path).text
    assert 'data-count="waiting">3<' in shown
    assert 'data-count="left_out">1<' in shown
    listed = browser.get(f"/campaigns/{crowd.campaign_id}/blasts").text
    assert 'data-blast-state="sending"' in listed
    crowd.drain()
    # Counted at most once a second.
    wait_for(lambda: 'data-count="sent">3<' in browser.get(path).text, 30, what="the new count")


def test_it_pauses_and_goes_on_by_its_buttons(crowd: Crowd) -> None:
    crowd.add(3)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    browser = crowd.world.client(crowd.world.member)
    path = crowd.path(blast_id)
    assert f'action="{path}/pause"' in browser.get(path).text
    browser.post(f"{path}/pause")
    paused = browser.get(path).text
    assert "3 letters wait until you resume it" in paused
    assert f'action="{path}/pause"' not in paused
    browser.post(f"{path}/resume")
    assert 'data-progress="sending"' in browser.get(path).text
    browser.post(f"{path}/cancel")
    assert 'data-result="canceled"' in browser.get(path).text
    assert "had ended already" in browser.post(f"{path}/cancel", follow_redirects=True).text


def test_it_shows_what_is_wrong_and_keeps_what_was_typed(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    answer = browser.post(path, {**FIELDS, "html": "<p>My own words {{ reward.code }}</p>"})
    assert answer.status_code == 422
    assert "reward.code" in answer.text
    assert "My own words" in answer.text
    for wrong in (
        {"referrals": "some", "at_least": "-3"}, {"since": "no day"}, {"since": "2026-05-01", "before": "2026-04-01"},
        {"who": "everyone and their dog"}, {"since": "0001-01-01"}, {"before": "9999-12-31"}, {"search": "x" * 101},
    ):  # fmt: skip
        assert browser.post(path, {**FIELDS, **wrong}).status_code == 422, wrong
    with crowd.world.acme_scope():
        assert "My own words" not in blasts.words_of(blasts.get(_id(path))).html_source


def test_it_allows_only_tags_that_everybody_in_the_audience_can_fill(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    for who, tag, status in (
        ("all", "referrer.referral_link", 422),
        ("all", "friend.first_name", 422),
        ("all", "recipient.email", 303),
        ("referrers", "referrer.referral_link", 303),
        ("friends", "referrer.referral_link", 422),
        ("friends", "friend.first_name", 303),
    ):
        answer = browser.post(path, {**FIELDS, "who": who, "html": f"<p>{{{{ {tag} }}}}</p>"})
        assert answer.status_code == status, (who, tag)


def test_it_keeps_the_audience_as_filled_in(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    given = {"since": "2026-01-31", "before": "2026-03-01", "referrals": "some", "at_least": "2", "search": " meyer "}
    assert browser.post(path, {**FIELDS, **given}).status_code == 303
    page = browser.get(path).text
    assert "added since 31 January 2026, added before 1 March 2026, with at least 2 referrals, whose" in page
    assert re.search(r'name="since"[^>]*value="2026-01-31"', page)
    assert re.search(r'name="search"[^>]*value="meyer"', page)


def test_it_previews_in_a_frame_that_can_do_nothing(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    page = browser.get(path).text
    saved = browser.get(frame_path(page))
    assert "Hello Robin!" in saved.text
    assert "Unsubscribe" in saved.text
    assert saved.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    fragment = browser.post(f"{path}/preview", FIELDS, headers=HTMX)
    assert "Hello Robin" in fragment.text
    assert "<h1>Look</h1>" in browser.get(frame_path(fragment.text)).text
    assert crowd.world.client(crowd.world.stranger).get(frame_path(fragment.text)).status_code == 404
    wrong = browser.post(f"{path}/preview", {**FIELDS, "html": "{{ nope }}"}, headers=HTMX)
    assert "{{ nope }}" in wrong.text
    plain = browser.post(f"{path}/preview", FIELDS)
    assert plain.headers["Content-Security-Policy"].startswith("sandbox;")
    assert browser.post(f"{path}/preview", {**FIELDS, "html": "{{ nope }}"}).status_code == 422


def test_it_makes_the_text_part_again(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    answer = browser.post(f"{path}/text", {**FIELDS, "html": "<p>Brand new</p>", "text": "old"}, headers=HTMX)
    assert re.search(r"<textarea[^>]*name=\"text\"[^>]*>\s*Brand new", answer.text)


def test_a_test_goes_to_ones_own_people_and_counts_for_nothing(crowd: Crowd) -> None:
    crowd.add(2)
    browser = crowd.world.client(crowd.world.member)
    path = _new(crowd, browser)
    browser.get(path)
    refused = browser.post(f"{path}/test-send", {"to": "somebody@elsewhere.test"})
    assert refused.status_code == 422
    answer = browser.post(f"{path}/test-send", {"to": "owner@acme.test"})
    assert answer.status_code == 303
    crowd.world.work("interactive")
    [letter] = crowd.platform.wait_for(1)
    assert letter.recipients == ("owner@acme.test",)
    assert 'data-result="sent"' in browser.get(answer.location).text
    with crowd.world.acme_scope() as session:
        [row] = session.scalars(select(Delivery).where(Delivery.kind == "test"))
    assert (row.blast_id, row.participant_id) == (None, None)
    stream = browser.get(f"{path}/test-send/{row.id}/stream", headers={"Accept": "text/event-stream"})
    assert 'data-result="sent"' in stream.get_data(as_text=True)
    other = _new(crowd, browser)
    assert browser.get(f"{other}/test-send/{row.id}").status_code == 404
    crowd.send(_id(path))
    assert crowd.progress(_id(path)).recipients == 2
    log = browser.get("/deliveries").text
    assert "Test: Blast: News from" in log
    assert "Blast: News from" in browser.get("/deliveries?kind=blast").text
    assert browser.get(f"/deliveries?blast={_id(path)}").text.count("Blast: News from") == 2
    assert "Nothing fits" in browser.get(f"/deliveries?blast={_id(other)}").text


def test_a_draft_is_duplicated_and_thrown_away(crowd: Crowd) -> None:
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    browser.post(path, FIELDS)
    copy = browser.post(f"{path}/duplicate").location
    assert copy != path
    assert "Hello {{ recipient.first_name }}" in browser.get(copy).text
    assert browser.post(f"{path}/remove").location.endswith(f"/campaigns/{crowd.campaign_id}/blasts")
    assert browser.get(path).status_code == 404
    assert browser.get(copy).status_code == 200


def test_who_looked_at_other_words_has_to_look_again(crowd: Crowd) -> None:
    crowd.add(1)
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    seen = _version(browser.get(f"{path}/send").text)
    browser.post(path, FIELDS)
    answer = browser.post(f"{path}/send", {"version": seen, "when": "now"}, follow_redirects=True)
    assert "Somebody has changed this blast" in answer.text
    assert browser.post(f"{path}/send", {"version": "made up", "when": "now"}).location.endswith("/send")
    assert crowd.letters(_id(path)) == []


def test_it_is_scheduled_in_the_accounts_own_time_and_taken_back(crowd: Crowd) -> None:
    crowd.add(1)
    with crowd.world.acme_scope(), db.transaction():
        accounts.current().time_zone = "Europe/Berlin"
    browser = crowd.world.client(crowd.world.owner)
    path = _new(crowd, browser)
    page = browser.get(f"{path}/send").text
    assert "Europe/Berlin" in page
    past = browser.post(f"{path}/send", {"version": _version(page), "when": "later", "at": "2020-01-01T10:00"})
    assert past.status_code == 422
    assert "This time is over" in past.text
    both = browser.post(f"{path}/send", {"version": _version(page), "when": "now", "at": "2027-01-01T10:00"})
    assert both.status_code == 422
    assert crowd.letters(_id(path)) == []
    day = (db.now().astimezone(ZoneInfo("Europe/Berlin")) + dt.timedelta(days=3)).replace(hour=9, minute=30)
    browser.post(f"{path}/send", {"version": _version(page), "when": "later", "at": f"{day:%Y-%m-%dT%H:%M}"})
    blast = crowd.blast(_id(path))
    assert blast.state == "scheduled"
    assert blast.scheduled_at is not None
    local = blast.scheduled_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{local:%Y-%m-%d %H:%M}" == f"{day:%Y-%m-%d} 09:30"
    assert "It starts by itself" in browser.get(path).text
    browser.post(f"{path}/take-back")
    assert crowd.blast(_id(path)).state == "draft"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_times_that_clocks_skip_or_repeat(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    from panel.blasts import forms

    monkeypatch.setattr(forms.db, "now", lambda: dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
    berlin = ZoneInfo("Europe/Berlin")

    def said(at: str) -> dt.datetime | str:
        with crowd.world.app.test_request_context(method="POST", data={"when": "later", "at": at}):
            form = SendForm(meta={"csrf": False})
            return form.time(berlin) or str(form.at.errors[0])

    assert "no such time" in str(said("2026-03-29T02:30"))
    assert said("2026-03-29T03:00") == dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC)
    assert said("2026-10-25T02:30") == dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)  # the first of the two
    assert said("2026-07-01T12:00") == dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC)
    assert "more than a year" in str(said("2028-01-01T12:00"))
    for nothing in ("", "tomorrow", "2026-13-01T00:00"):
        assert "Give a date" in str(said(nothing))
