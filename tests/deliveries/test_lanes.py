"""A drain serves several servers at once: one that stalls costs only its own letters."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from sqlalchemy import event, update

from panel import db, queue
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.deliveries.drain import Drain
from panel.deliveries.lane import Lane
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post
from tests.deliveries.test_faults_of_ours import away
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.wait import wait_for


class Slow(ScriptedServer):
    """Hears a letter, and answers its final dot when it is let go; or greets nobody before that."""

    def __init__(self, *, greets: bool = True) -> None:
        self.has_it, self.let_go = threading.Event(), threading.Event()
        self._greets = greets
        super().__init__(self._take)

    def _take(self, peer: Peer) -> None:
        if not self._greets:
            self.has_it.set()
            self.let_go.wait(100)
        peer.greet("8BITMIME")
        peer.take_envelope()
        peer.hear_letter()
        self.has_it.set()
        self.let_go.wait(100)
        peer.say("250 taken")
        peer.hear("QUIT")


def second_campaign(post: Post, port: int, email: str = "second@acme.test") -> uuid.UUID:
    """A campaign with an address and a server of its own."""
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=port, security="none", auth="auto", username="", password=""
    )
    with post.world.acme_scope():
        with db.transaction() as session:
            address = OutboundAddress(id=uuid.uuid4(), email=email, confirmed_at=db.now())
            session.add(address)
        servers.note_passed(address.id, entry)
        servers.save(address.id, entry, servers.By())
        details = campaigns.Details(
            name="Second", company_name="Acme", referral_url="https://acme.test/r", address_id=address.id
        )
        return campaigns.create(details).id


def test_a_stalled_server_keeps_nobody_else_waiting(post: Post) -> None:
    hang_up = threading.Event()

    def stall(_peer: Peer) -> None:
        hang_up.wait(100)

    with ScriptedServer(stall) as stalled, MailServer() as working:
        post.use(stalled.port)
        stuck = post.welcome("stuck@friends.test")
        second = second_campaign(post, working.port)
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{stalled.port},127.0.0.1:{working.port}")
        drain = threading.Thread(target=post.send)
        drain.start()
        wait_for(lambda: stalled.connections == 1, 10, what="the stalled connection")
        post.campaign_id = second
        quick = post.welcome("quick@friends.test")
        [letter] = working.wait_for(1, timeout=30)
        assert letter.recipients == ("quick@friends.test",)
        assert letter.sender == "second@acme.test"
        assert post.get(stuck).state == "queued"
        hang_up.set()
        drain.join(20)
    assert not drain.is_alive()
    assert post.get(quick).state == "sent"


@pytest.mark.parametrize("greets", [True, False], ids=["at the final dot", "before its greeting"])
def test_a_system_letter_does_not_wait_for_the_accounts_own_server(post: Post, greets: bool) -> None:
    with Slow(greets=greets) as slow:
        post.use(slow.port)
        stuck = post.welcome("stuck@friends.test")
        drain = threading.Thread(target=post.send)
        drain.start()
        assert slow.has_it.wait(30)
        with post.world.acme_scope():
            letter = outbox.put_system_letter(
                to_address="owner@acme.test", subject="Reset", text="Link", html=None, from_domain="ownpost.test"
            )
        [sent] = post.platform.wait_for(1, timeout=30)
        assert sent.recipients == ("owner@acme.test",)
        assert post.get(stuck).state == ("sending" if greets else "queued")
        slow.let_go.set()
        drain.join(20)
    assert not drain.is_alive()
    assert {post.get(one).state for one in (letter.id, stuck)} == {"sent"}


def test_a_server_that_keeps_a_letter_waiting_at_a_slices_end_keeps_nobody_else_waiting(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    slice_over, end = threading.Event(), Lane.end

    def asked_to_end(lane: Lane) -> None:
        end(lane)
        if slow.has_it.is_set():
            slice_over.set()

    def send() -> None:
        post.send()
        while not slow.has_it.is_set():  # a slice so short may be over before a letter is claimed
            post.send()

    monkeypatch.setattr(Lane, "end", asked_to_end)
    with Slow() as slow, MailServer() as working:
        post.use(slow.port)
        stuck = post.welcome("stuck@friends.test")
        post.campaign_id = second_campaign(post, working.port)
        allowed = f"127.0.0.1:{slow.port},127.0.0.1:{working.port}"
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=allowed, OWNPOST_SLICE_SECONDS="0.5")
        drain = threading.Thread(target=send)
        drain.start()
        assert slow.has_it.wait(30)
        assert slice_over.wait(20)
        quick = post.welcome("quick@friends.test")
        working.wait_for(1, timeout=10)
        assert post.get(stuck).state == "sending"
        slow.let_go.set()
        drain.join(20)
    assert not drain.is_alive()
    assert [post.get(one).state for one in (stuck, quick)] == ["sent", "sent"]


def test_one_connection_too_many_is_not_asked_for_again_and_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker has the others that the server allows."""
    asked, as_it_is = list[bool](), servers.take_slot

    def take(*args: Any, **options: Any) -> bool:
        asked.append(as_it_is(*args, **options))
        return asked[-1]

    def takes_its_time(verb: str, _argument: str) -> None:
        if verb == "RCPT":
            time.sleep(0.02)

    with MailServer(answer=takes_its_time) as own:
        post.use(own)
        with post.world.acme_scope(), db.transaction() as session:
            session.execute(update(Row).values(limits={"connections": 2}, version=Row.version + 1))
        for number in range(60):
            post.welcome(f"r{number}@friends.test")
        with post.world.acme_scope():
            assert servers.take_slot(servers.route_of(post.address_id), "another", lasts=600)
        monkeypatch.setattr(servers, "take_slot", take)
        began = time.monotonic()
        post.send()
        assert len(own.messages) == 60
    assert False in asked
    assert asked.count(False) <= (time.monotonic() - began) / 0.25 + 2


def test_lanes_go_on_while_the_database_is_away_and_others_start_when_it_is_back(post: Post) -> None:
    failed = threading.Event()
    with Slow() as slow, MailServer() as working:
        post.use(slow.port)
        first = post.welcome("first@friends.test")
        post.campaign_id = second_campaign(post, working.port)
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{slow.port},127.0.0.1:{working.port}")
        drain = threading.Thread(target=post.send)
        drain.start()
        assert slow.has_it.wait(30)
        event.listen(db.engine(), "handle_error", lambda _context: failed.set())
        with away("deliveries"):
            assert failed.wait(10)
            drain.join(0.5)
        assert drain.is_alive()
        second = post.welcome("second@friends.test")
        working.wait_for(1, timeout=10)
        slow.let_go.set()
        drain.join(20)
    assert not drain.is_alive()
    assert [post.get(one).state for one in (first, second)] == ["sent", "sent"]


@pytest.mark.parametrize("heard", [True, False], ids=["at once", "when nobody rings"])
def test_a_worker_that_waits_for_a_server_hears_what_is_new(
    post: Post, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    # With this long between two looks it would be late if it were not for the ring.
    monkeypatch.setattr("panel.deliveries.drain._POLL_FOR_NEW", 120.0 if heard else 0.2)
    with Slow(greets=False) as slow, MailServer() as working:
        post.use(slow.port)
        stuck = post.welcome("stuck@friends.test")
        second = second_campaign(post, working.port)
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{slow.port},127.0.0.1:{working.port}")
        drain = Drain(post.world.app, post.world.settings)

        def run() -> None:
            with post.world.app.app_context():
                drain.run()

        running = threading.Thread(target=run)
        running.start()
        assert slow.has_it.wait(30)
        looked = drain._last_look
        wait_for(lambda: queue.ring_delivery() and drain._last_look > looked, what="it to listen")
        if not heard:
            monkeypatch.setattr(queue, "ring_delivery", lambda: True)
        post.campaign_id = second
        quick = post.welcome("quick@friends.test")
        [letter] = working.wait_for(1, timeout=30)
        assert letter.recipients == ("quick@friends.test",)
        slow.let_go.set()
        running.join(150)
        drain.close()
    assert not running.is_alive()
    assert [post.get(one).state for one in (stuck, quick)] == ["sent", "sent"]
