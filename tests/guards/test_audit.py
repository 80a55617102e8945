"""Whatever a form changes is in the audit log, with who did it and from where. Read off the URL map.

Each route that takes a form is pressed with what makes it do something, and all of the account's rows are compared
before and after. A new route has to be given what it needs, or a reason why it changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.routing import Rule

from panel import db
from panel.accounts.models import AuditEntry
from panel.addresses.models import OutboundAddress
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.db import Base
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer
from panel.web import access
from tests.guards.test_foreign_ids import ids
from tests.support.world import PASSWORD, World

__all__ = ["ids"]

sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Ids = dict[str, Any]
Step = tuple[str, dict[str, Any], Callable[[World, Ids], None] | None]

# What changes nothing of an account's, or is written down elsewhere, and why.
WITHOUT = {
    "addresses.confirm": "asked for by a link, and tried with its feature; it is audited there",
    "blasts.make_text": "fills in a form",
    "blasts.preview": "shows a letter",
    "campaigns.make_text": "fills in a form",
    "campaigns.preview": "shows a letter",
    "events.report": "each event is a row of its own, with its time; a key may report a thousand a minute",
    "events.report_batch": "as events.report",
    "participants.discard": "throws away a file of which nothing was imported",
    "participants.upload": "shows what a file would do; nobody is added yet",
    "servers.cancel_test": "stops a test, which is no row",
    "servers.check": "fills in a form",
    "settings.invitation": "asked for by a link, and tried with its feature; it is audited there",
    "settings.send_sign_up": "there is no account yet; its making is audited by the link in the letter",
    "signin.add_passkey": "needs a device's answer; tried with its feature, and audited there",
    "signin.confirm_authenticator": "as signin.add_passkey",
    "signin.make_recovery_codes": "as signin.add_passkey",
    "signin.new_passkey": "asks the device; nothing is added yet",
    "signin.prepare_authenticator": "shows a key, which counts for nothing before a code has proved it",
    "signin.remove_authenticator": "as signin.add_passkey",
    "signin.remove_passkey": "as signin.add_passkey",
    "signin.end_sign_in": "sign-ins are one's own; tried with its feature, and audited there",
    "signin.sign_out_elsewhere": "as signin.end_sign_in",
    "signin.second": "the second step of a sign-in, which is written down as one",
    "suppressions.preferences": "a recipient's own choice: the suppression says when and by which way",
    "suppressions.unsubscribe": "as suppressions.preferences",
}
# Tables that change with every request or letter and say themselves what happened.
NOT_COMPARED = {"audit_log", "sign_ins"}


def _state(**row: Any) -> Callable[[World, Ids], None]:
    """Brings the example blast into a state."""

    def do(_world: World, found: Ids) -> None:
        _execute(update(Blast).where(Blast.id == found["blast_id"]).values(**row))

    return do


def _execute(statement: Any) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(statement.execution_options(synchronize_session=False))


def _deliveries(state: str) -> Callable[[World, Ids], None]:
    def do(_world: World, _found: Ids) -> None:
        _execute(update(Delivery).values(state=state))

    return do


def _tested(world: World, found: Ids) -> None:
    with world.acme_scope():
        servers.note_passed(found["address_id"], servers.Entry(**SERVER))


def _other_words(world: World, found: Ids) -> None:
    """A second version, so that the first can be restored."""
    with world.acme_scope():
        campaigns.save_version(
            found["notification_id"], subject="Another", preheader="", html="<p>Words</p>", text=None
        )


def _not_the_default(_world: World, found: Ids) -> None:
    other = OutboundAddress.id != found["address_id"]
    _execute(update(OutboundAddress).values(is_default=False))
    _execute(update(OutboundAddress).where(other).values(is_default=True))


SERVER: dict[str, Any] = {
    "preset": "other", "host": "smtp.example.com", "port": 587, "security": "starttls", "auth": "auto",
    "username": "hello", "password": "another secret",
}  # fmt: skip
WORDS = {"subject": "Other words", "preheader": "", "html": "<p>Other words</p>", "text": ""}

# In this order: what is removed is removed last. (endpoint, fields, what has to be so before)
STEPS: list[Step] = [
    (
        "campaigns.new",
        {"name": "Autumn", "company_name": "Acme", "referral_url": "https://acme.test/a/", "address_id": ""},
        None,
    ),
    (
        "campaigns.edit",
        {"name": "Summer", "company_name": "Acme", "referral_url": "https://acme.test/r/", "address_id": ""},
        None,
    ),
    ("campaigns.switch", {}, None),
    ("campaigns.notification", WORDS, None),
    ("campaigns.restore", {}, _other_words),
    ("blasts.create", {}, None),
    ("blasts.save", {**WORDS, "who": "all", "referrals": "any"}, None),
    ("blasts.duplicate", {}, None),
    ("testsend.send_blast", {"to": "owner@acme.test"}, None),
    ("blasts.begin", {"when": "now"}, None),
    ("blasts.pause", {}, _state(state="sending")),
    ("blasts.resume", {}, _state(state="paused")),
    ("blasts.cancel", {}, _state(state="sending")),
    ("blasts.take_back", {}, _state(state="scheduled", scheduled_at=db.now(), finished_at=None)),
    ("blasts.remove", {}, _state(state="draft")),
    ("participants.add", {"email": "new@friends.test", "first_name": "N", "last_name": "N"}, None),
    ("participants.carry_out", {"existing": "update"}, None),
    ("testsend.send", {"to": "owner@acme.test"}, None),
    ("deliveries.resend", {}, _deliveries("failed")),
    ("deliveries.mark_as_sent", {}, _deliveries("uncertain")),
    ("deliveries.do_many", {}, _deliveries("failed")),
    ("suppressions.add", {"address": "other@friends.test", "campaign": ""}, None),
    ("suppressions.remove", {}, None),
    ("addresses.add", {"email": "second@acme.test", "display_name": "Acme"}, None),
    ("addresses.rename", {"display_name": "Acme Beans"}, None),
    ("addresses.resend_link", {}, None),
    ("addresses.make_default", {}, None),
    ("servers.submit", {**SERVER, "action": "save"}, _tested),
    ("servers.fallback", {"fallback": "1"}, None),
    ("servers.disable", {}, None),
    ("servers.remove", {}, None),
    ("addresses.remove", {}, _not_the_default),
    ("settings.change_account", {"name": "Acme", "time_zone": "Europe/Berlin", "postal_address": "1 Bean Way"}, None),
    ("settings.invite_user", {"email": "another@friends.test", "role": "member"}, None),
    ("settings.resend_invitation", {}, None),
    ("settings.withdraw_invitation", {}, None),
    ("settings.change_role", {"role": "owner"}, None),
    ("settings.remove_user", {}, None),
    ("settings.make_api_key", {"label": "till", "scopes": ["events:write"]}, None),
    ("settings.revoke_api_key", {}, None),
    ("data.delete_participant", {}, None),
    ("data.keep_values", {"days": "30"}, None),
    ("data.export", {}, None),
    ("data.close", {"name": "Acme", "password": PASSWORD}, None),
    ("data.keep", {}, None),
]


def routes(app: Flask) -> Iterator[Rule]:
    """Those that take a form, but for Flask-Security's, whose signals are heard."""
    for rule in app.url_map.iter_rules():
        if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"} and not rule.endpoint.startswith("security."):
            yield rule


def content() -> dict[str, list[Any]]:
    """Every row of every table."""
    with db.engine().connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in Base.metadata.sorted_tables
            if table.name not in NOT_COMPARED
        }


def entries() -> list[AuditEntry]:
    with db.system_scope("tests") as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.at)))


def fields_of(world: World, endpoint: str, given: dict[str, Any], found: Ids) -> dict[str, Any]:
    """Those that only a page knows, too."""
    with world.acme_scope() as session:
        if endpoint == "blasts.begin":
            return {**given, "version": str(session.get_one(Blast, found["blast_id"]).version_id)}
        if endpoint == "deliveries.do_many":
            last = session.scalar(select(Delivery.id).order_by(Delivery.id.desc()).limit(1))
            more = {"what": "resend", "action": str(uuid.uuid4()), "seen": "99", "last": str(last), "state": "failed"}
            return {**given, **more}
        if endpoint == "suppressions.add":
            from panel.suppressions.forms import AddForm

            with world.app.test_request_context():
                form = AddForm()
                form.offer(campaigns.campaigns())
                return {**given, "campaign": form.campaign.choices[0][0]}
    return given


def press(world: World, rule: Rule, step: Step, found: Ids) -> str | None:
    """Presses a route's button; what is wrong with what came of it."""
    endpoint, given, before = step
    browser = world.client(world.owner)
    if before is not None:
        before(world, found)
    with world.app.test_request_context():
        url = world.app.url_for(endpoint, **{name: found.get(name, "made-up") for name in rule.arguments})
    fields = fields_of(world, endpoint, given, found)
    had, known = content(), len(entries())
    answer = browser.post(url, fields, environ_overrides={"REMOTE_ADDR": "203.0.113.9"})
    answer.get_data()
    answer.close()
    written = entries()[known:]
    changed = [name for name, rows in content().items() if rows != had[name]]
    if changed and not written:
        return f"{endpoint} changes {', '.join(changed)} and tells nobody"
    if not written:
        return (
            f"{endpoint} did nothing ({answer.status_code}): give it what it needs, or a reason why it is not audited"
        )
    owner = ("owner@acme.test", "203.0.113.9", world.owner.id)
    wrong = [one for one in written if (one.actor, one.ip, one.user_id) != owner]
    return f"{endpoint}: {wrong[0].action} does not say who did it from where" if wrong else None


@sqlite
def test_it_writes_down_whatever_a_form_changes(world: World, ids: Ids):
    rules = {rule.endpoint: rule for rule in routes(world.app)}
    steps = {step[0]: step for step in STEPS}
    new = [(endpoint, {}, None) for endpoint in sorted(rules.keys() - steps.keys() - WITHOUT.keys())]
    problems = [press(world, rules[step[0]], step, ids) for step in [*new, *STEPS]]
    assert [each for each in problems if each] == []


@sqlite
def test_it_gives_no_reason_for_a_route_that_is_not_there(world: World):
    known = {rule.endpoint for rule in routes(world.app)}
    assert WITHOUT.keys() - known == set()
    assert {step[0] for step in STEPS} - known == set()


@sqlite
def test_it_would_notice(world: World, ids: Ids):

    @access.owner
    def quiet() -> str:
        with db.transaction() as session:
            session.execute(update(MailServer).values(host="elsewhere.example.com"))
        return "done"

    world.app.add_url_rule("/quiet", endpoint="servers.quiet", view_func=quiet, methods=["POST"])
    rule = next(one for one in world.app.url_map.iter_rules() if one.endpoint == "servers.quiet")
    assert "changes mail_servers and tells nobody" in (press(world, rule, ("servers.quiet", {}, None), ids) or "")
    nothing = next(one for one in world.app.url_map.iter_rules() if one.endpoint == "servers.check")
    assert "did nothing" in (press(world, nothing, ("servers.check", {}, None), ids) or "")


def test_it_has_nobody_write_to_the_log_but_accounts():
    # An entry that is made elsewhere could forget whose it is; one that is changed would be no log.
    from tests.guards.source import modules

    makes = [one.name for one in modules("panel", "jobs").values() if "AuditEntry(" in one.text]
    assert makes == ["panel.accounts.models", "panel.accounts.service"]
