"""Every route says who may come; signing in is the rule. Read off the URL map, so that no new page can forget it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import Rule

from panel.web import access
from tests.support.world import Browser, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# Who comes without signing in, and why. Flask-Security's own pages and static files aside.
PUBLIC = {
    "help.index": "whoever cannot sign in needs help too",
    "help.gmail": "linked from letters and support answers",
    "help.outlook": "linked from letters and support answers",
    "addresses.confirm": "the signed link in a letter is the leave to come",
    "suppressions.ask": "the signed link in a letter is the leave to come",
    "suppressions.unsubscribe": "the signed link in a letter is the leave to come",
    "suppressions.preferences": "the signed link in a letter is the leave to come",
    "signin.second": "the second step of a sign-in; the view asks whose password was right",
    "signin.state": "says whether the caller is signed in, and nothing of whom",
    "settings.invitation": "the link in a letter is the leave to come",
    "settings.sign_up": "who has no account yet; a 404 where the operator keeps sign-ups closed",
    "settings.send_sign_up": "as settings.sign_up",
    "events.openapi": "a description, the same for everyone",
    "mailbox.index": "on a laptop the password letter is read here; the view asks for loopback and a key or session",
    "mailbox.show": "as mailbox.index",
    "mailbox.raw": "as mailbox.index",
    "mailbox.html": "as mailbox.index",
    "health.alive": "asked by machines",
    "health.ready": "asked by machines",
    "health.metrics": "asked by machines; the view asks for loopback",
}
# Forms that take no token, and why.
WITHOUT_TOKEN = {"suppressions.unsubscribe": "RFC 8058: mail providers post here; the signed link is what proves it"}
# Here everything that changes something is for owners.
OWNERS_ONLY = ("addresses", "servers", "settings", "suppressions")

# Where whatever changes something asks for the password again when it was last given a while ago.
SENSITIVE = (
    "/settings/email",
    "/settings/api-keys",
    "/settings/users",
    "/settings/security",
    "/settings/account/delete",
    "/settings/account/export",
    "/settings/data",
    "/campaigns/<uuid:campaign_id>/participants/<uuid:participant_id>",
)
NOT_SENSITIVE = {
    "addresses.confirm": "the signed link in a letter is the leave to come",
    "addresses.rename": "a name beside an address leads no mail elsewhere",
    "addresses.resend_link": "mails the address its link; nothing changes",
    "servers.check": "looks at a field; nothing changes",
    "servers.cancel_test": "ends a test; nothing changes",
    "security.change_password": "its form asks for the present password itself",
}

SAMPLES = {"UUIDConverter": uuid.UUID(int=7), "IntegerConverter": 7, "PathConverter": "made-up"}


@pytest.fixture
def app(world: World, tmp_path) -> Flask:
    """The app with every blueprint it can have."""
    world.reconfigure(OWNPOST_MAILBOX_DIR=str(tmp_path))
    return world.app


def rules(app: Flask, method: str, *kinds: str) -> Iterator[tuple[Rule, str]]:
    """The rules that take the method and ask for one of these of their caller, each with an address made up for it."""
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if method in (rule.methods or ()) and access.of(app, rule.endpoint) in kinds and rule.endpoint != "static":
                values = {
                    name: SAMPLES.get(type(converter).__name__, "made-up")
                    for name, converter in rule._converters.items()
                }
                yield rule, app.url_for(rule.endpoint, **values)


def seen_without_session(app: Flask) -> list[str]:
    """Pages for people who are signed in, shown to somebody who is not."""
    browser = Browser(app.test_client())
    found = [(rule, browser.get(url)) for rule, url in rules(app, "GET", access.SIGNED_IN, access.OWNER)]
    found += [(rule, browser.post(url)) for rule, url in rules(app, "POST", access.SIGNED_IN, access.OWNER)]
    return [
        rule.endpoint
        for rule, answer in found
        if not (answer.status_code in (302, 303) and answer.location.startswith("/login"))
    ]


def taken_without_token(app: Flask) -> set[str]:
    """Endpoints that take a form without its token."""
    client = app.test_client()
    kinds = (access.PUBLIC, access.SIGNED_IN, access.OWNER)
    return {rule.endpoint for rule, url in rules(app, "POST", *kinds) if client.post(url).status_code != 400}


def open_to_all(app: Flask) -> set[str]:
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    marked = {endpoint for endpoint in endpoints if access.of(app, endpoint) == access.PUBLIC}
    return {endpoint for endpoint in marked if endpoint != "static" and not endpoint.startswith("security.")}


def changes_unasked(app: Flask) -> set[str]:
    """Endpoints of sensitive pages that change something and do not ask for the password."""
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if f"{rule.rule}/".startswith(tuple(f"{prefix}/" for prefix in SENSITIVE))
        and (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
        and not access.is_sensitive(app, rule.endpoint)
    }


def test_it_asks_for_the_password_again_before_sensitive_changes(app: Flask):
    assert changes_unasked(app) == set(NOT_SENSITIVE)


def test_it_asks_by_forms_only(app: Flask):
    """What was typed is carried over in a form: nothing sensitive may be sent by another method."""
    methods = [rule.methods or set() for rule in app.url_map.iter_rules() if access.is_sensitive(app, rule.endpoint)]
    assert methods
    assert set().union(*methods) <= {"POST", "OPTIONS"}


def test_it_asks_for_a_sign_in_everywhere_else(app: Flask):
    assert seen_without_session(app) == []


def test_it_is_open_to_all_where_there_is_a_reason(app: Flask):
    assert open_to_all(app) == set(PUBLIC)


def test_it_takes_no_form_without_its_token(app: Flask):
    assert taken_without_token(app) == set(WITHOUT_TOKEN)


def test_it_asks_for_a_key_at_the_api(app: Flask):
    client = app.test_client()
    found = {rule.endpoint: client.get(url).status_code for rule, url in rules(app, "GET", access.API)}
    found |= {rule.endpoint: client.post(url, json={}).status_code for rule, url in rules(app, "POST", access.API)}
    assert found
    assert set(found.values()) == {401}


def test_it_shuts_members_out_of_what_is_for_owners(app: Flask, world: World):
    browser = world.client(world.member)
    found = {rule.endpoint: browser.post(url).status_code for rule, url in rules(app, "POST", access.OWNER)}
    assert found
    assert set(found.values()) == {403}


def test_it_leaves_addresses_and_servers_to_owners(app: Flask):
    others = {rule.endpoint for rule, _ in rules(app, "POST", access.SIGNED_IN)}
    assert [endpoint for endpoint in others if endpoint.startswith(tuple(f"{name}." for name in OWNERS_ONLY))] == []


def test_it_has_no_page_that_changes_something_by_a_link(app: Flask):
    verbs = {"remove", "disable", "delete", "switch", "resend", "cancel", "restore", "logout"}
    assert [rule.endpoint for rule, url in rules(app, "GET", *KINDS) if set(url.split("/")) & verbs] == []


KINDS = (access.PUBLIC, access.SIGNED_IN, access.OWNER, access.API)


def test_it_would_notice(app: Flask):
    @access.public
    def open_page() -> str:
        return "anyone"

    def open_form() -> str:
        return "done"

    app.add_url_rule("/open", endpoint="stats.open", view_func=open_page)
    app.extensions["csrf"].exempt(open_form)
    app.add_url_rule("/form", endpoint="stats.form", view_func=open_form, methods=["POST"])
    app.add_url_rule("/settings/users/<id>", endpoint="stats.change", view_func=lambda id: id, methods=["DELETE"])
    app.before_request_funcs[None].remove(access._enforce)
    assert "stats.home" in seen_without_session(app)
    assert "stats.open" in open_to_all(app)
    assert "stats.form" in taken_without_token(app)
    assert "stats.change" in changes_unasked(app)
