"""The notification editor: saving, errors beside their fields, the text part, versions."""

from __future__ import annotations

import re

import pytest

from panel.campaigns import service as campaigns
from panel.campaigns.service import Notification, NotificationVersion
from panel.message.tags import TAGS
from tests.support.world import Browser, World

WORDS = {"subject": "Hello", "preheader": "", "html": "<p>Hi {{ referrer.first_name }}</p>", "text": ""}
HTMX = {"HX-Request": "true"}


def current(world: World, notification: Notification) -> NotificationVersion:
    with world.acme_scope():
        return campaigns.current_version(campaigns.get_notification(notification.id))


def based_on(world: World, notification: Notification) -> dict[str, str]:
    return {"based_on": str(current(world, notification).id)}


def save(browser: Browser, editor: str, **words: str) -> int:
    return browser.submit(editor, **{**WORDS, **words}).status_code


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_saves_a_version(world: World, editor: str, welcome: Notification, who: str) -> None:
    user = getattr(world, who)
    browser = world.client(user)
    answer = browser.submit(editor, **WORDS)
    assert (answer.status_code, answer.location) == (303, editor)
    page = browser.get(editor).text
    assert "Saved as version 2" in page
    assert user.email in page
    assert "&lt;p&gt;Hi {{ referrer.first_name }}&lt;/p&gt;" in page
    assert current(world, welcome).made_by == user.id


def test_it_names_line_and_tag_of_what_is_wrong(world: World, editor: str, welcome: Notification) -> None:
    html = "<p>fine</p>\n<p>{{ reward.name }}</p>\n<p>{{ referrer.frist_name }}</p>"
    answer = world.client(world.owner).submit(editor, **{**WORDS, "subject": "", "html": html})
    assert answer.status_code == 422
    assert "The subject is empty." in answer.text
    assert "Line 2, {{ reward.name }}:" in answer.text
    assert "Line 3, {{ referrer.frist_name }}:" in answer.text
    assert "&lt;p&gt;{{ reward.name }}&lt;/p&gt;" in answer.text
    assert current(world, welcome).number == 1


def test_it_offers_only_the_tags_that_the_trigger_can_fill(world: World, editor: str, welcome: Notification) -> None:
    page = world.client(world.owner).get(editor).text
    offered = set(re.findall(r'data-insert-tag="\{\{ ([a-z_.]+)', page))
    assert offered == campaigns.KINDS[welcome.kind].tags
    assert offered < set(TAGS)


def test_it_makes_the_text_part_until_a_person_writes_it(world: World, editor: str, welcome: Notification) -> None:
    browser = world.client(world.owner)
    shown = current(world, welcome).text.replace("\n", "\r\n")  # as a browser sends it back
    assert save(browser, editor, text=shown, **based_on(world, welcome)) == 303
    assert (current(world, welcome).text, current(world, welcome).text_is_own) == (
        "Hi {{ referrer.first_name }}\n",
        False,
    )
    assert save(browser, editor, text="My own words", **based_on(world, welcome)) == 303
    assert (current(world, welcome).text, current(world, welcome).text_is_own) == ("My own words", True)
    assert save(browser, editor, text="My own words", html="<p>New</p>", **based_on(world, welcome)) == 303
    assert current(world, welcome).text == "My own words"
    assert save(browser, editor, text="New\r\n", html="<p>New</p>", **based_on(world, welcome)) == 303
    assert not current(world, welcome).text_is_own


def test_it_makes_the_text_part_again_and_saves_nothing(world: World, editor: str, welcome: Notification) -> None:
    browser = world.client(world.owner)
    browser.get(editor)
    words = {**WORDS, "text": "My own words"}
    fragment = browser.post(f"{editor}/text", words, headers=HTMX)
    assert fragment.status_code == 200
    assert "<html" not in fragment.text
    assert ">\r\nHi {{ referrer.first_name }}\n</textarea>" in fragment.text
    assert "My own words" not in fragment.text
    page = browser.post(f"{editor}/text", words)
    assert page.status_code == 200
    assert "<html" in page.text
    assert "My own words" not in page.text
    wrong = browser.post(f"{editor}/text", {**words, "html": "{{ nope }}"}, headers=HTMX)
    assert wrong.status_code == 422
    assert "My own words" in wrong.text
    assert current(world, welcome).number == 1


def test_it_says_when_somebody_saved_in_the_meantime(world: World, editor: str, welcome: Notification) -> None:
    owner, member = world.client(world.owner), world.client(world.member)
    seen = based_on(world, welcome)
    save(member, editor, subject="The member’s", **seen)
    save(owner, editor, subject="The owner’s", **seen)
    assert "Somebody saved version 2 while you were writing" in owner.get(editor).text
    assert (current(world, welcome).number, current(world, welcome).subject) == (3, "The owner’s")


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_restores_a_version(world: World, editor: str, welcome: Notification, who: str) -> None:
    browser = world.client(getattr(world, who))
    first = current(world, welcome)
    save(browser, editor)
    answer = browser.post(f"{editor}/versions/{first.id}/restore")
    assert (answer.status_code, answer.location) == (303, editor)
    assert (current(world, welcome).number, current(world, welcome).subject) == (3, first.subject)
    assert "Version 3 says again what version 1 said." in browser.get(editor).text


def test_it_shows_and_changes_nothing_of_another_account(world: World, editor: str, welcome: Notification) -> None:
    stranger = world.client(world.stranger)
    version = current(world, welcome)
    for path in (editor, f"{editor}/versions/{version.id}", f"{editor}/preview/abc"):
        assert stranger.get(path).status_code == 404
    for path in (editor, f"{editor}/preview", f"{editor}/text", f"{editor}/versions/{version.id}/restore"):
        assert stranger.post(path, WORDS).status_code == 404
    assert current(world, welcome).number == 1


def test_it_takes_no_version_of_another_notification(world: World, editor: str, welcome: Notification) -> None:
    with world.acme_scope():
        other = campaigns.current_version(campaigns.notification_of(welcome.campaign_id, "new_referrer"))
    browser = world.client(world.owner)
    assert browser.get(f"{editor}/versions/{other.id}").status_code == 404
    assert browser.post(f"{editor}/versions/{other.id}/restore").status_code == 404
