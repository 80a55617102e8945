"""A drain serves several servers at once: one that stalls costs only its own letters."""

from __future__ import annotations

import threading
import uuid

from panel import db
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.servers import service as servers
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.wait import wait_for


def _second_campaign(post: Post, port: int) -> uuid.UUID:
    """A campaign with an address and a server of its own."""
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=port, security="none", auth="auto", username="", password=""
    )
    with post.world.acme_scope():
        with db.transaction() as session:
            address = OutboundAddress(id=uuid.uuid4(), email="second@acme.test", confirmed_at=db.now())
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
        hang_up.wait(20)

    with ScriptedServer(stall) as stalled, MailServer() as working:
        post.use(stalled.port)
        stuck = post.welcome("stuck@friends.test")
        second = _second_campaign(post, working.port)
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{stalled.port},127.0.0.1:{working.port}")
        drain = threading.Thread(target=post.send)
        drain.start()
        wait_for(lambda: stalled.connections == 1, 10, what="the stalled connection")
        post.campaign_id = second
        quick = post.welcome("quick@friends.test")
        [letter] = working.wait_for(1, timeout=5)
        assert letter.recipients == ("quick@friends.test",)
        assert letter.sender == "second@acme.test"
        assert post.get(stuck).state == "queued"
        hang_up.set()
        drain.join(20)
    assert not drain.is_alive()
    assert post.get(quick).state == "sent"
