"""Everybody's letter in one transaction: to whom, what it says, and what is left out."""

from __future__ import annotations

import email
import email.policy
import re
import threading
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import insert, select, update

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.blasts import service as blasts
from panel.blasts.sending import NotNow
from panel.deliveries import lane
from panel.deliveries import service as deliveries
from panel.outbox.models import Delivery
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.servers import service as servers
from panel.suppressions import service as suppressions
from tests.blasts.conftest import EVERYBODY, WORDS, Crowd, days_ago
from tests.support.mailserver import MailServer, Received

PEOPLE = 2_000


def read(letter: Received) -> email.message.EmailMessage:
    found = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert isinstance(found, email.message.EmailMessage)
    return found


def test_it_queues_thousands_with_a_message_id_of_their_own(crowd: Crowd) -> None:
    crowd.add(PEOPLE)
    blast_id = crowd.draft()
    assert crowd.send(blast_id)
    letters = crowd.letters(blast_id)
    assert len(letters) == PEOPLE
    assert len({one.message_id for one in letters}) == PEOPLE
    assert all(re.fullmatch(r"<[0-9a-f]{32}@acme\.test>", one.message_id) for one in letters)
    assert {(one.state, one.kind, one.priority, one.attempts, one.fence) for one in letters} == {
        ("queued", "blast", 8, 0, 0)
    }
    assert len({one.participant_id for one in letters}) == PEOPLE
    blast = crowd.blast(blast_id)
    assert (blast.state, blast.recipients, blast.left_out) == ("sending", PEOPLE, 0)


def test_its_letters_say_to_each_what_is_theirs(crowd: Crowd) -> None:
    crowd.add(1, email="robin@friends.test", referral_code="ROBIN42", first_name='Róbin "R" <x>', last_name="O'Hara")
    crowd.add(1, email="nameless@friends.test", referral_code="NOBODY7", first_name="", last_name="")
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.drain()
    letters = {one.recipients[0]: read(one) for one in crowd.platform.wait_for(2)}
    robin, nameless = letters["robin@friends.test"], letters["nameless@friends.test"]
    assert robin["To"].addresses[0].display_name == 'Róbin "R" <x> O\'Hara'
    assert robin["Subject"] == 'News for Róbin "R" <x>'
    assert nameless["Subject"] == "News for you"
    assert nameless["To"] == "nameless@friends.test"
    for letter, code in ((robin, "ROBIN42"), (nameless, "NOBODY7")):
        for kind in ("plain", "html"):
            part = letter.get_body((kind,))
            assert part is not None
            assert f"https://acme.test/r/{code}" in part.get_content()
            assert str(letter["List-Unsubscribe"]).strip("<>") in part.get_content()
        assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = robin.get_body(("html",))
    assert html is not None
    assert "Róbin &quot;R&quot; &lt;x&gt;" in html.get_content()


def test_its_unsubscribe_link_stops_the_campaign_for_that_person(crowd: Crowd) -> None:
    [robin] = crowd.add(1, email="robin@friends.test")
    crowd.send(crowd.draft())
    crowd.drain()
    link = str(read(crowd.platform.wait_for(1)[0])["List-Unsubscribe"]).strip("<>")
    crowd.world.client().client.post(link.removeprefix(crowd.world.settings.public_url))
    with crowd.world.acme_scope():
        assert suppressions.is_suppressed("robin@friends.test", crowd.campaign_id) == "unsubscribed"
        assert participants.get(robin).unsubscribed_at is not None


def test_a_letter_as_sent_is_made_again_whatever_becomes_of_the_person(crowd: Crowd) -> None:
    [robin] = crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.drain()
    [as_sent] = crowd.platform.wait_for(1)
    with crowd.world.acme_scope(), db.transaction() as session:
        session.execute(
            update(Participant)
            .where(Participant.id == robin)
            .values(first_name="Other", referral_code="OTHER", email="x@y.test")
        )
    [row] = crowd.letters(blast_id)
    with crowd.world.acme_scope():
        again = deliveries.letter_of(row).wire(eightbit=True)
    assert again.rstrip() == as_sent.content.rstrip()


def test_it_leaves_out_who_must_not_be_mailed(crowd: Crowd) -> None:
    crowd.add(3)
    crowd.add(1, unsubscribed_at=db.now())
    crowd.add(1, email="campaign@friends.test")
    crowd.add(1, email="account@friends.test")
    crowd.add(1, email="elsewhere@friends.test")
    with crowd.world.acme_scope():
        from panel.campaigns import service as campaigns

        other = campaigns.create(campaigns.Details(name="Autumn", company_name="Acme", referral_url="https://a.test/"))
        suppressions.add("campaign@friends.test", campaign_id=crowd.campaign_id)
        suppressions.add("account@friends.test")
        suppressions.add("elsewhere@friends.test", campaign_id=other.id)
    # What another account's people want is their own business.
    with crowd.world.app.app_context(), db.account_scope(crowd.world.other.id):
        suppressions.add("elsewhere@friends.test")
    blast_id = crowd.draft()
    with crowd.world.acme_scope():
        assert blasts.reach(blasts.get(blast_id)) == blasts.Reach(recipients=4, left_out=3)
    crowd.send(blast_id)
    assert {one.to_address for one in crowd.letters(blast_id)} >= {"elsewhere@friends.test"}
    blast = crowd.blast(blast_id)
    assert (blast.recipients, blast.left_out) == (4, 3)


def test_who_unsubscribes_while_it_runs_is_not_mailed(crowd: Crowd) -> None:
    crowd.add(2)
    crowd.add(1, email="robin@friends.test")
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        suppressions.add("robin@friends.test", campaign_id=crowd.campaign_id, reason="unsubscribed")
    crowd.drain()
    assert crowd.states(blast_id) == {"sent": 2, "canceled": 1}
    assert "robin@friends.test" not in {one.recipients[0] for one in crowd.platform.messages}
    assert crowd.progress(blast_id).canceled == 1


@pytest.fixture
def own() -> Iterator[MailServer]:
    """A server that may become Acme's own."""
    with MailServer() as server:
        yield server


@pytest.mark.parametrize("what", ["unsubscribed", "suspended", "another server"])
def test_what_changes_while_a_slow_server_keeps_claimed_letters_waiting_is_heeded(
    crowd: Crowd, own: MailServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    crowd.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{own.port}")
    monkeypatch.setattr(lane, "FRESH", 0.0, raising=False)  # as if each letter took seconds
    crowd.add(200)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    has_one, go_on = threading.Event(), threading.Event()

    def answer(verb: str, _argument: str) -> None:
        if verb == "DATA" and not has_one.is_set():
            has_one.set()
            go_on.wait(100)

    crowd.platform.answer = answer
    worker = threading.Thread(target=crowd.drain)
    worker.start()
    try:
        assert has_one.wait(60)
        claimed = [one for one in crowd.letters(blast_id) if one.lease_until is not None]
        waiting = claimed[-1]
        assert len(claimed) > 5
        _change(crowd, what, waiting.to_address, own.port)
    finally:
        go_on.set()
        worker.join(120)
    assert not worker.is_alive()
    by_platform = {one.recipients[0] for one in crowd.platform.messages}
    assert waiting.to_address not in by_platform
    states = crowd.states(blast_id)
    if what == "unsubscribed":
        assert states == {"sent": 199, "canceled": 1}
    elif what == "suspended":
        assert set(states) == {"sent", "held"}
        assert states["sent"] < len(claimed)
    else:
        assert states == {"sent": 200}
        assert len(own.messages) == 200 - len(by_platform)


def _change(crowd: Crowd, what: str, address: str, port: int) -> None:
    world = crowd.world
    if what == "suspended":
        with db.system_scope("tests"):
            accounts.suspend(world.acme, suspended=True)
        return
    with world.acme_scope():
        if what == "unsubscribed":
            suppressions.add(address, campaign_id=crowd.campaign_id, reason="unsubscribed")
            return
        default = addresses.default()
        assert default is not None
        entry = servers.Entry(
            preset="other", host="127.0.0.1", port=port, security="none", auth="auto", username="", password=""
        )
        servers.note_passed(default.id, entry)
        servers.save(default.id, entry, servers.By())


AUDIENCES: list[tuple[dict[str, object], int]] = [
    ({"who": "all"}, 6),
    ({"who": "referrers"}, 4),
    ({"who": "friends"}, 3),
    ({"who": "all", "referrals": "none"}, 4),
    ({"who": "all", "referrals": "some"}, 2),
    ({"who": "all", "referrals": "some", "at_least": 3}, 1),
    ({"who": "all", "since": days_ago(2).date()}, 5),
    ({"who": "all", "before": days_ago(2).date()}, 1),
    ({"who": "all", "search": "special"}, 1),
    ({"who": "all", "search": "100%"}, 0),
    ({"who": "friends", "referrals": "some", "search": "both"}, 1),
]


def test_it_goes_to_those_who_are_meant(crowd: Crowd) -> None:
    [first, *_] = crowd.add(2)
    crowd.add(1, made_at=days_ago(10), first_name="Special")
    crowd.add(1, kind="friend", referred_by=first, referral_state="created")
    crowd.add(1, kind="friend", referred_by=first, referral_state="created", referral_count=1)
    crowd.add(1, email="both@friends.test", referred_by=first, referral_state="created", referral_count=3)
    for audience, count in AUDIENCES:
        blast_id = crowd.draft(EVERYBODY, **audience)
        crowd.send(blast_id)
        assert len(crowd.letters(blast_id)) == crowd.blast(blast_id).recipients == count, audience


def test_it_takes_nobody_of_another_campaign_or_account(crowd: Crowd) -> None:
    from panel.campaigns import service as campaigns

    mine = crowd.add(2)
    with crowd.world.acme_scope():
        other = campaigns.create(campaigns.Details(name="Autumn", company_name="Acme", referral_url="https://a.test/"))
        participants.ensure_referrer(other.id, "autumn@friends.test")
    with crowd.world.app.app_context(), db.account_scope(crowd.world.other.id):
        theirs = campaigns.create(
            campaigns.Details(name="Spring", company_name="Other", referral_url="https://o.test/")
        )
        participants.ensure_referrer(theirs.id, "theirs@friends.test")
    blast_id = crowd.draft(EVERYBODY, who="all")
    crowd.send(blast_id)
    assert {one.participant_id for one in crowd.letters(blast_id)} == set(mine)


def test_many_who_press_send_at_once_send_once(crowd: Crowd) -> None:
    crowd.add(50)
    blast_id = crowd.draft()
    said: list[bool] = []
    threads = [threading.Thread(target=lambda: said.append(crowd.send(blast_id))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [False] * 5 + [True]
    assert len(crowd.letters(blast_id)) == 50


def test_a_crash_in_mid_queueing_leaves_nothing(crowd: Crowd) -> None:
    crowd.add(20)
    blast_id = crowd.draft()

    class Crash(BaseException):
        pass

    def send_and_crash() -> None:
        with crowd.world.acme_scope(), db.transaction():
            assert blasts.send(blast_id)
            raise Crash

    with pytest.raises(Crash):
        send_and_crash()
    assert crowd.letters(blast_id) == []
    assert crowd.blast(blast_id).state == "draft"
    assert crowd.send(blast_id)
    assert len(crowd.letters(blast_id)) == 20


def test_it_sends_only_the_words_that_were_seen(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    seen = crowd.blast(blast_id).version_id
    with crowd.world.acme_scope():
        blasts.save(blast_id, EVERYBODY, blasts.audience_of(blasts.get(blast_id)))
        with pytest.raises(NotNow):
            blasts.send(blast_id, version_id=seen)
        with pytest.raises(NotNow):
            blasts.schedule(blast_id, days_ago(-1), version_id=seen)
    assert crowd.letters(blast_id) == []
    assert crowd.blast(blast_id).state == "draft"


def test_only_a_draft_is_changed_or_thrown_away(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        audience = blasts.audience_of(blasts.get(blast_id))
        with pytest.raises(NotNow):
            blasts.save(blast_id, EVERYBODY, audience)
        with pytest.raises(NotNow):
            blasts.remove(blast_id)
    with crowd.world.acme_scope():
        assert blasts.words_of(blasts.get(blast_id)).subject == WORDS.subject


def test_a_blast_to_nobody_is_done_at_once(crowd: Crowd) -> None:
    blast_id = crowd.draft()
    assert crowd.send(blast_id)
    blast = crowd.blast(blast_id)
    assert (blast.state, blast.recipients) == ("done", 0)
    assert blast.finished_at is not None


def test_the_copy_of_a_blast_goes_to_everybody_again(crowd: Crowd) -> None:
    crowd.add(3)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        copy = blasts.duplicate(blast_id)
    assert copy.state == "draft"
    crowd.send(copy.id)
    assert len(crowd.letters(copy.id)) == 3


def test_no_row_of_another_account_can_be_inserted(crowd: Crowd) -> None:
    crowd.add(1)
    stolen = select(
        Participant.id.label("participant_id"), Participant.email.label("to_address"), Participant.account_id
    )
    with crowd.world.app.app_context(), db.account_scope(crowd.world.other.id), db.transaction() as session:
        statement = insert(Delivery).from_select(["participant_id", "to_address", "account_id"], stolen)
        with pytest.raises(db.CrossAccount):
            session.execute(statement)
        plain = select(Participant.id.label("id"), Participant.email.label("email"))
        assert db.insert_selected(Participant, plain.where(Participant.id != uuid.uuid4())) == 0


def test_a_letter_that_a_person_sends_again_is_whole_and_counts_beside_the_blast(crowd: Crowd) -> None:
    crowd.add(1, email="robin@friends.test", referral_code="ROBIN42")
    blast_id = crowd.draft()
    crowd.send(blast_id)
    [first] = crowd.letters(blast_id)
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == first.id).values(state="failed"))
    with crowd.world.acme_scope():
        again = deliveries.resend(first.id)
    crowd.drain()
    [letter] = crowd.platform.wait_for(1)
    assert b"https://acme.test/r/ROBIN42" in letter.content
    assert b"List-Unsubscribe: <http://127.0.0.1:8000/u/" in letter.content
    with crowd.world.acme_scope() as session:
        assert session.get_one(Delivery, again.id).blast_id is None
    assert crowd.states(blast_id) == {"failed": 1}
