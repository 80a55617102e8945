"""A participant who is deleted: nothing of them is left but the wish to get no mail; what others know stays counted."""

from __future__ import annotations

import html
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable

import pytest
import time_machine
from sqlalchemy import select, update

from panel import db
from panel.accounts import service as accounts
from panel.accounts.models import AuditEntry
from panel.blasts import service as blasts
from panel.blasts.audience import Audience
from panel.blasts.models import Blast
from panel.data import people
from panel.deliveries import bulk, resending
from panel.deliveries.models import BulkAction
from panel.deliveries.wanted import Filter
from panel.events import service as events
from panel.outbox import service as outbox
from panel.outbox.models import Attempt, Delivery
from panel.participants import importing
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.servers import service as servers
from panel.servers.models import MailServer
from panel.suppressions import service as suppressions
from tests.blasts.conftest import EVERYBODY
from tests.data.content import somebody_waits, tables_with
from tests.deliveries.conftest import Post
from tests.support.wait import wait_for
from tests.support.world import PASSWORD

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

FRIEND = "fi.fo@friends.test"
REFERRER = "robin@friends.test"


def report(post: Post, kind: str, key: str | None = None, **people_: dict[str, str]) -> dict[str, object]:
    """An event, as the API takes it."""
    with post.world.acme_scope(), post.world.app.test_request_context():
        body = {"type": kind, "campaign": "spring", **people_}
        return events.accept(json.loads(json.dumps(body)), key).answer


@pytest.fixture
def referral(post: Post) -> Post:
    """Robin has referred Fi; four letters tell so, two of them to others. Robin's joining is told of, too."""
    report(
        post,
        "referral.created",
        "key-1",
        referrer={"email": REFERRER, "first_name": "Robin", "last_name": "Meyer"},
        friend={"email": FRIEND, "first_name": "Fiona", "last_name": "Forsythe"},
    )
    return post


def person(post: Post, email: str) -> Participant:
    with post.world.acme_scope():
        found = participants.find(post.campaign_id, email)
        assert found is not None
        return found


def delete(post: Post, email: str) -> int:
    with post.world.acme_scope():
        found = participants.find(post.campaign_id, email)
        assert found is not None
        return people.delete(found.id)


def letters(post: Post) -> list[Delivery]:
    with post.world.acme_scope() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def test_nothing_of_them_is_left_in_any_table(referral: Post):
    post = referral
    post.send()
    entry = servers.Entry(
        preset="other", host="smtp.acme.test", port=587, security="starttls", auth="none", username="", password=""
    )
    with post.world.acme_scope():
        servers.save_draft(post.address_id, entry, servers.By())
        suppressed, _ = suppressions.add_by_hand(FRIEND, None, user_id=post.world.owner.id, ip="")
        suppressions.remove(suppressed.id, user_id=post.world.owner.id, ip="")
        wanted = Filter(to=FRIEND)
        bulk.start(uuid.uuid4(), "resend", wanted, seen=0, last=0, user_id=post.world.owner.id)
        blast = blasts.create(post.campaign_id)
        with db.transaction() as session:
            audience = Audience(search=FRIEND.upper()).data()
            session.execute(update(Blast).where(Blast.id == blast.id).values(audience=audience))
            said = f"450 4.2.1 too many letters to <{FRIEND}>"
            session.execute(update(MailServer).values(last_error=said))
    before = tables_with(FRIEND)
    assert {"participants.email", "deliveries.to_address", "deliveries.values", "events.payload"} <= set(before)
    assert {"idempotent_requests.answer", "audit_log.subject", "audit_log.details", "bulk_actions.wanted"} <= set(
        before
    )
    assert {"blasts.audience", "mail_servers.last_error"} <= set(before)
    delete(post, FRIEND)
    assert tables_with(FRIEND) == []
    assert tables_with("Fiona") == []
    assert tables_with("Forsythe") == []
    assert "participants.email" in tables_with(REFERRER)


def test_what_the_server_said_of_them_goes_too(referral: Post):
    post = referral
    post.send()
    with post.world.acme_scope() as session:
        theirs = next(one for one in letters(post) if one.to_address == FRIEND)
        with db.transaction():
            session.get_one(Delivery, theirs.id).reply = f"250 <{FRIEND}> ok"
            attempt = session.scalars(select(Attempt).where(Attempt.delivery_id == theirs.id)).one()
            attempt.reply = f"250 <{FRIEND}> ok"
    delete(post, FRIEND)
    assert tables_with(FRIEND) == []
    page = post.world.client(post.world.owner).get(f"/deliveries/{theirs.id}").get_data(as_text=True)
    assert "its recipient was deleted" in page
    assert 'data-delivery-state="sent"' in page


def test_letters_that_wait_for_them_never_go(referral: Post):
    post = referral
    waiting = sum(one.to_address == FRIEND for one in letters(post))
    assert waiting == 1
    assert delete(post, FRIEND) == 1
    post.send()
    recipients = {each for letter in post.platform.messages for each in letter.recipients}
    assert FRIEND not in recipients
    assert REFERRER in recipients
    assert all(b"Fiona" not in letter.content for letter in post.platform.messages)
    canceled = [one for one in letters(post) if one.state == "canceled" and one.reason == "recipient_deleted"]
    assert [one.to_address for one in canceled] == ["(deleted)"]


def test_an_action_that_is_under_way_for_them_ends(referral: Post):
    """Else it would go on with a filter that means somebody else, or keep their address."""
    post = referral
    post.send()
    action_id, other_id = uuid.uuid4(), uuid.uuid4()
    with post.world.acme_scope(), db.transaction() as session:
        wanted = Filter(to=FRIEND).as_query()
        session.add(BulkAction(id=action_id, what="resend", wanted=wanted, total=5_000, last=10_000))
        longer = Filter(to=f"jo.{FRIEND}").as_query()
        session.add(BulkAction(id=other_id, what="resend", wanted=longer, total=5_000, last=10_000))
    delete(post, FRIEND)
    with post.world.acme_scope():
        assert bulk.get(other_id).ended_at is None
        assert bulk.get(action_id).wanted == {"to": "(deleted)"}
        assert bulk.get(action_id).ended_at is not None
        assert bulk.go_on(action_id) is False
        assert bulk.get(action_id).done == 0


def test_what_is_told_of_them_at_that_moment_goes_too(referral: Post, monkeypatch: pytest.MonkeyPatch):
    """An event that comes in while others' letters are searched."""
    post = referral
    search = outbox.mentions_of

    def meanwhile(campaign_id: uuid.UUID, email: str) -> list[int]:
        found = search(campaign_id, email)
        monkeypatch.undo()
        report(post, "referral.qualified", friend={"email": FRIEND})
        return found

    monkeypatch.setattr(outbox, "mentions_of", meanwhile)
    delete(post, FRIEND)
    assert len(letters(post)) > 4
    assert tables_with(FRIEND) == []
    assert tables_with("Fiona") == []


def delete_while(post: Post, act: Callable[[], object]) -> None:
    """Begins to delete the friend when something is done but not committed yet; returns when both are over."""
    ended: list[object] = []

    def delete_them() -> None:
        try:
            ended.append(delete(post, FRIEND))
        except outbox.OnItsWay as error:
            ended.append(error)

    thread = threading.Thread(target=delete_them)
    with post.world.acme_scope(), db.transaction():
        act()
        thread.start()
        wait_for(lambda: ended or somebody_waits(), 60, what="an end or a lock")
    thread.join()
    if isinstance(ended[0], outbox.OnItsWay):  # whoever is told to try again in a moment does
        delete(post, FRIEND)


@postgresql
def test_a_letter_that_somebody_is_sending_again_goes_too(referral: Post):
    post = referral
    post.send()
    some = [one.id for one in letters(post)]
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id.in_(some)).values(state="failed"))
    # One to them, and others that speak of them.
    delete_while(post, lambda: [resending.resend(one) for one in some])
    assert len(letters(post)) == 2 * len(some)
    assert tables_with(FRIEND) == []
    assert tables_with("Fiona") == []


@postgresql
def test_a_blast_that_is_being_queued_does_not_reach_them(referral: Post):
    post = referral
    with post.world.acme_scope():
        blast_id = blasts.create(post.campaign_id).id
        blasts.save(blast_id, EVERYBODY, Audience(who="all"))
    delete_while(post, lambda: blasts.send(blast_id))
    theirs = [one for one in letters(post) if one.blast_id == blast_id]
    assert sorted(one.state for one in theirs) == ["canceled", "queued"]
    assert tables_with(FRIEND) == []
    assert tables_with("Fiona") == []


@postgresql
def test_a_file_that_is_imported_at_that_moment_does_not_break_it_off(referral: Post, monkeypatch: pytest.MonkeyPatch):
    """It is chosen when the files of before are gone already, and then wants the person who is being deleted."""
    post, ended = referral, list[object]()
    real = blasts.forget_in_audiences

    def import_them() -> None:
        with post.world.acme_scope():
            import_id = importing.take(post.campaign_id, io.BytesIO(f"email\n{FRIEND}\n".encode()), "people.csv")
            try:
                importing.carry_out(importing.get_whole(post.campaign_id, import_id), overwrite=True)
            except db.NotFound as error:
                ended.append(error)

    thread = threading.Thread(target=import_them)

    def meanwhile(email: str, *, campaign_id: uuid.UUID | None = None) -> None:
        if campaign_id is None:
            return real(email)
        thread.start()
        wait_for(somebody_waits, 60, what="a lock")
        # PostgreSQL looks for a deadlock once, a second after a wait began: the import is not who it breaks off.
        time.sleep(1.2)
        return real(email, campaign_id=campaign_id)

    monkeypatch.setattr(blasts, "forget_in_audiences", meanwhile)
    delete(post, FRIEND)
    thread.join()
    assert [isinstance(error, db.NotFound) for error in ended] == [True]
    assert tables_with(FRIEND) == []


def test_what_others_earned_and_how_many_letters_went_stays_counted(referral: Post):
    post = referral
    post.send()
    states = sorted(one.state for one in letters(post))
    delete(post, FRIEND)
    assert sorted(one.state for one in letters(post)) == states
    assert person(post, REFERRER).referral_count == 1
    with post.world.acme_scope():
        assert participants.count(post.campaign_id) == 1


def test_a_referrer_is_deleted_and_their_friends_stay(referral: Post):
    post = referral
    delete(post, REFERRER)
    assert tables_with(REFERRER) == []
    assert tables_with("Meyer") == []
    assert person(post, FRIEND).referred_by is None


def test_the_same_report_again_mails_nobody_and_brings_nobody_back(referral: Post):
    post = referral
    delete(post, FRIEND)
    count = len(letters(post))
    again = report(post, "referral.created", referrer={"email": REFERRER}, friend={"email": FRIEND})
    assert again["duplicate"] is True
    assert len(letters(post)) == count
    assert tables_with(FRIEND) == []


def test_who_wants_no_mail_gets_none_when_somebody_adds_them_again(referral: Post):
    post = referral
    with post.world.acme_scope():
        suppressions.add(FRIEND, campaign_id=post.campaign_id, reason="unsubscribed", source="the link in a letter")
    delete(post, FRIEND)
    assert tables_with(FRIEND) == ["suppressions.address"]
    report(
        post,
        "referral.created",
        referrer={"email": "else@friends.test"},
        friend={"email": FRIEND, "first_name": "Fiona"},
    )
    again = [one for one in letters(post) if one.to_address == FRIEND]
    assert [(one.state, one.reason) for one in again] == [("canceled", "suppressed_unsubscribed")]


def test_it_waits_for_a_letter_that_is_leaving(referral: Post):
    post = referral
    theirs = next(one for one in letters(post) if one.to_address == FRIEND)
    with post.world.acme_scope(), db.transaction():
        resending.renew([theirs], priority=0)  # and one that waits
    with db.system_scope("tests"), db.transaction() as session:
        row = session.get_one(Delivery, theirs.id)
        row.state, row.lease_owner, row.lease_until = "sending", "a worker", db.now()
    found = person(post, FRIEND)
    browser = post.world.client(post.world.owner)
    url = f"/campaigns/{post.campaign_id}/participants/{found.id}"
    browser.get(url)
    page = browser.post(f"{url}/delete", follow_redirects=True).get_data(as_text=True)
    assert "A letter to them is leaving at this moment. Try again in a minute." in page
    assert person(post, FRIEND).first_name == "Fiona"
    # What was canceled for it stays so, and the log tells.
    with post.world.acme_scope() as session:
        wanted = select(AuditEntry).where(AuditEntry.action.startswith("participant."))
        told = [(one.action, one.subject, one.details) for one in session.scalars(wanted)]
    assert told == [("participant.letters_canceled", str(found.id), {"letters_canceled": 1})]


def test_an_owner_deletes_them_from_their_page(referral: Post):
    post = referral
    found = person(post, FRIEND)
    browser = post.world.client(post.world.owner)
    listed = browser.get(f"/campaigns/{post.campaign_id}/participants").get_data(as_text=True)
    url = f"/campaigns/{post.campaign_id}/participants/{found.id}"
    assert url in listed
    page = browser.get(url).get_data(as_text=True)
    assert "Delete this person" in page
    assert re.search(r'data-confirm="Delete fi\.fo@friends\.test\?"', page)
    after = browser.post(f"{url}/delete", follow_redirects=True).get_data(as_text=True)
    assert "Deleted. One letter that waited was canceled." in after
    assert browser.get(url).status_code == 404
    with post.world.acme_scope() as session:
        entry = session.scalars(
            select(accounts.AuditEntry).where(accounts.AuditEntry.action == "participant.deleted")
        ).one()
        assert (entry.subject, entry.actor) == (str(found.id), "owner@acme.test")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_owner_who_signed_in_a_while_ago_gives_the_password_first(referral: Post):
    post = referral
    found = person(post, FRIEND)
    browser = post.world.client(post.world.owner)
    url = f"/campaigns/{post.campaign_id}/participants/{found.id}"
    with time_machine.travel(time.time() + 16 * 60):
        browser.get(url)
        asked = browser.post(f"{url}/delete")
        assert asked.status_code == 422
        assert person(post, FRIEND).first_name == "Fiona"
        sealed = re.search(r'name="reauth_form" value="([^"]*)"', asked.get_data(as_text=True))[1]
        answer = {"reauth_form": html.unescape(sealed), "reauth_password": PASSWORD}
        assert browser.post(f"{url}/delete", answer).location == f"/campaigns/{post.campaign_id}/participants"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_member_may_look_and_not_delete(referral: Post):
    post = referral
    found = person(post, FRIEND)
    browser = post.world.client(post.world.member)
    url = f"/campaigns/{post.campaign_id}/participants/{found.id}"
    assert "Delete this person" not in browser.get(url).get_data(as_text=True)
    assert browser.post(f"{url}/delete").status_code == 403
