"""Another account's ids lead nowhere: every route that takes one answers 404, whatever else is in the request."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.deliveries import bulk
from panel.deliveries.wanted import Filter
from panel.outbox import service as outbox
from panel.outbox.service import Order
from panel.participants import importing
from panel.participants import service as participants
from panel.servers import service as servers
from panel.settings import keys
from panel.settings import service as settings
from panel.signin.models import Passkey, SignIn
from panel.suppressions import service as suppressions
from panel.web import access
from tests.support.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# What a route's address may hold that is no row's id: it is only looked at below an id, or it proves itself.
NO_ROWS = {"token", "task", "name", "letter_id", "filename"}


@pytest.fixture
def ids(world: World) -> dict[str, Any]:
    """One of everything that Acme owns, by the name that routes give its id."""
    return one_of_everything(world, world.owner)


def one_of_everything(world: World, user: Any, number: int = 1, holder: Any = None) -> dict[str, Any]:
    """The ids of one row of each kind, made for this person's account, by the name that routes give them.

    holder: whose passkey and sign-in; with a passkey, a password alone lets nobody in any more.
    """
    domain = user.email.partition("@")[2]
    with world.app.app_context(), db.system_scope("tests"):
        spare = accounts.add_user(
            account_id=user.account_id, email=f"spare{number}@{domain}", password_hash="-", role="member"
        )
    with world.app.app_context(), db.account_scope(user.account_id):
        with db.transaction():
            address = addresses.add(email=f"hello{number}@{domain}", display_name="Acme")
            address.confirmed_at = db.now()
        entry = servers.Entry(
            preset="other", host="smtp.example.com", port=587, security="starttls", auth="auto",
            username="hello", password="secret",
        )  # fmt: skip
        servers.save_draft(address.id, entry, servers.By())
        details = campaigns.Details(name=f"Spring {number}", company_name="Acme", referral_url="https://acme.test/r/")
        campaign = campaigns.create(details)
        notification = campaigns.notifications(campaign.id)[0]
        blast = blasts.create(campaign.id)
        with db.transaction():
            person, _ = participants.ensure_referrer(campaign.id, "robin@friends.test", "Robin", "Meyer")
            delivery = outbox.put(
                Order(
                    kind="test",
                    to_address=user.email,
                    from_domain=domain,
                    values={"tags": {}, "to_name": None, "footer": None, "blast": str(blast.id)},
                    campaign_id=campaign.id,
                    address_id=address.id,
                    notification_id=notification.id,
                    notification_version_id=notification.current_version_id,
                )
            )
            key = f"{domain} {number}".encode()
            passkey = Passkey(
                account_id=user.account_id, user_id=(holder or spare).id, name="one", credential_id=key, public_key=key
            )
            until = db.now() + dt.timedelta(days=1)
            sign_in = SignIn(id=uuid.uuid4().hex, account_id=user.account_id, user_id=(holder or spare).id, until=until)
            db.session().add_all([passkey, sign_in])
        action = bulk.start(uuid.uuid4(), "resend", Filter(state="failed"), seen=0, last=0, user_id=user.id)
        file = io.BytesIO(b"email\nnew@friends.test\nnobody\n")
        waiting = importing.take(campaign.id, file, "people.csv")
        settings.invite(f"new{number}@friends.test", "member", settings.By(user_id=user.id))
        accounts.add_api_key("shop")
        gone = f"gone{number}@friends.test"
        suppression, _ = suppressions.add_by_hand(gone, None, user_id=user.id, ip="")
        return {
            "address_id": address.id,
            "campaign_id": campaign.id,
            "notification_id": notification.id,
            "version_id": notification.current_version_id,
            "participant_id": person.id,
            "delivery_id": delivery.id,
            "blast_id": blast.id,
            "suppression_id": suppression.id,
            "action_id": action.id,
            "import_id": waiting,
            "passkey_id": passkey.id,
            "key_id": keys.all_keys()[0].id,
            "user_id": spare.id,
            "invitation_id": settings.invitations()[0].id,
            "sign_in": sign_in.id,
        }


def with_ids(app: Flask) -> list[Rule]:
    """The rules whose address holds the id of an account's row, and that are not open to all."""
    return [
        rule
        for rule in app.url_map.iter_rules()
        if rule.arguments - NO_ROWS and access.of(app, rule.endpoint) != access.PUBLIC
    ]


def answers(app: Flask, ids: dict[str, Any], ask: Any) -> dict[str, int]:
    """What each of these rules answers, by method and endpoint."""
    found = {}
    for rule in with_ids(app):
        values = {name: ids.get(name, "made-up") for name in rule.arguments}
        with app.test_request_context():
            url = app.url_for(rule.endpoint, **values)
        for method in (rule.methods or set()) & {"GET", "POST"}:
            found[f"{method} {rule.endpoint}"] = ask(method, url)
    return found


def test_it_knows_an_example_of_every_id(world: World, ids: dict[str, Any]):
    names = {name for rule in with_ids(world.app) for name in rule.arguments}
    unknown = names - NO_ROWS - set(ids)
    assert not unknown, f"add an example of {unknown} to one_of_everything(), or to NO_ROWS what is no row's id"


def test_it_answers_404_to_people_of_another_account(world: World, ids: dict[str, Any]):
    browser = world.client(world.stranger)

    def ask(method: str, url: str) -> int:
        return (browser.get(url) if method == "GET" else browser.post(url)).status_code

    found = {what: code for what, code in answers(world.app, ids, ask).items() if not what.split()[1].startswith(API)}
    assert len(found) > 10
    assert {what: code for what, code in found.items() if code != 404} == {}


def test_it_answers_404_to_the_keys_of_another_account(world: World, ids: dict[str, Any]):
    with db.account_scope(world.other.id):
        key = accounts.add_api_key("theirs")
    client = world.app.test_client()

    def ask(method: str, url: str) -> int:
        return client.open(url, method=method, headers={"Authorization": f"Bearer {key}"}).status_code

    found = {what: code for what, code in answers(world.app, ids, ask).items() if what.split()[1].startswith(API)}
    assert set(found.values()) == {404}


def test_it_finds_them_for_their_own_people(world: World, ids: dict[str, Any]):
    browser = world.client(world.owner)

    def ask(method: str, url: str) -> int:
        return browser.get(url).status_code if method == "GET" else 0

    found = answers(world.app, ids, ask)
    for page in ("servers.edit", "campaigns.edit", "campaigns.notification", "deliveries.show", "blasts.show"):
        assert found[f"GET {page}"] == 200, page


API = "events."
