"""What a failure means for the delivery, for its server and for its owner."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import func, select, update

from panel import db
from panel.deliveries.decide import FAILURES_BEFORE_PAUSE
from panel.outbox import service as outbox
from panel.servers import service as servers
from tests.deliveries.conftest import Post
from tests.faults.sink import HangUp, Passing, Sink
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.ports import free_port


def _refuse(verb: str, reply: str, times: int = 1000) -> MailServer:
    left = [times]

    def answer(asked: str, _argument: str) -> str | None:
        if asked != verb or not left[0]:
            return None
        left[0] -= 1
        return reply

    return MailServer(answer=answer)


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_a_temporary_refusal_of_the_recipient_waits_by_the_schedule(post: Post, verb: str) -> None:
    with _refuse(verb, "451 4.2.1 Mailbox busy", times=2) as own:
        post.use(own)
        welcome = post.welcome()
        for minutes in (1, 5):
            post.due_now()
            before = db.now()
            post.send()
            after, row = db.now(), post.get(welcome)
            assert row.state == "deferred"
            # Up to a tenth longer, so that not all come at once.
            assert before + dt.timedelta(minutes=minutes) <= row.next_attempt_at
            assert row.next_attempt_at <= after + dt.timedelta(minutes=1.1 * minutes)
        post.due_now()
        post.send()
    assert post.get(welcome).state == "sent"
    assert [one.outcome for one in post.attempts(welcome)] == ["deferred", "deferred", "sent"]
    assert len(own.messages) == 1


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_a_permanent_refusal_of_the_recipient_fails(post: Post, verb: str) -> None:
    with _refuse(verb, "550 5.1.1 No such user here") as own:
        post.use(own)
        welcome = post.welcome()
        post.send()
    row = post.get(welcome)
    assert row.state == "failed"
    assert row.reply is not None
    assert "No such user here" in row.reply
    [attempt] = post.attempts(welcome)
    assert (attempt.code, attempt.enhanced_code, attempt.about) == (550, "5.1.1", "recipient")


def _after_the_dot(peer: Peer) -> None:
    peer.greet("8BITMIME")
    peer.take_envelope()
    peer.hear_letter()


def _before_the_dot(peer: Peer) -> None:
    peer.greet("8BITMIME")
    peer.hear("MAIL")
    peer.say("250 ok")
    peer.hear("RCPT")
    peer.say("250 ok")
    peer.hear("DATA")


def test_a_server_that_hangs_up_after_the_final_dot_leaves_it_uncertain_and_it_is_never_sent_again(post: Post) -> None:
    with ScriptedServer(_after_the_dot) as own:
        post.use(own.port)
        welcome = post.welcome()
        post.send()
        assert post.get(welcome).state == "uncertain"
        for _ in range(3):
            post.due_now()
            post.world.tick()
            post.send()
        assert own.connections == 1
    assert post.get(welcome).state == "uncertain"
    assert [one.outcome for one in post.attempts(welcome)] == ["uncertain"]


def test_a_server_that_hangs_up_before_the_final_dot_has_got_nothing_and_is_tried_again(post: Post) -> None:
    with ScriptedServer(_before_the_dot) as own:
        post.use(own.port)
        welcome = post.welcome()
        post.send()
        row = post.get(welcome)
    assert row.state in ("queued", "deferred")
    assert row.attempts == 0


def _server(post: Post) -> servers.MailServer:
    with post.world.acme_scope():
        server = servers.for_address(post.address_id)
        assert server is not None
        return server


def _end_of_the_rest(post: Post) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(servers.MailServer).values(paused_until=db.clock(-1)))
    post.world.tick()


def test_a_server_that_hangs_up_after_every_final_dot_leaves_few_uncertain_and_rests(post: Post) -> None:
    works = 50

    def dies(passing: Passing) -> None:
        if passing.point == "dot" and passing.count > works:
            raise HangUp

    with Sink(play=dies, pause=0.005) as own:
        post.use(own.port)
        for number in range(works + 50):
            post.welcome(f"p{number}@friends.test")
        post.send()
        uncertain = _count(post, "uncertain")
        assert own.most_open > 1
        assert FAILURES_BEFORE_PAUSE <= uncertain <= FAILURES_BEFORE_PAUSE + own.most_open
        assert _count(post, "sent") == len(own.accepted) == works
        # One whose body was about to leave when the server was paused was withdrawn, and is held once it is due again.
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(outbox.Delivery).values(next_attempt_at=db.clock(-1)))
        post.world.tick()
        assert _count(post, "held") == 50 - uncertain
        server = _server(post)
        assert (server.state, server.paused_reason) == ("paused", "server")
        _end_of_the_rest(post)
        post.send()
    # The one that tried it is uncertain, too, and the rest after it is longer.
    assert _count(post, "uncertain") == uncertain + 1
    server = _server(post)
    assert (server.state, server.failures_in_a_row) == ("paused", FAILURES_BEFORE_PAUSE + 1)


def test_a_platform_server_that_hangs_up_after_the_final_dot_gets_no_other_letter_for_a_while(post: Post) -> None:
    with ScriptedServer(_after_the_dot) as platform:
        url = f"smtp://127.0.0.1:{platform.port}?security=none"
        post.world.reconfigure(OWNPOST_PLATFORM_SMTP_URL=url, OWNPOST_SLICE_SECONDS="4")
        for number in range(20):
            post.welcome(f"p{number}@friends.test")
        post.send()
        assert platform.connections == 1
    assert (_count(post, "uncertain"), _count(post, "queued")) == (1, 19)


def _count(post: Post, state: str) -> int:
    with post.world.acme_scope() as session:
        wanted = select(func.count()).where(outbox.Delivery.kind == "notification", outbox.Delivery.state == state)
        return session.scalar(wanted) or 0


def test_a_person_may_send_an_uncertain_one_again(post: Post) -> None:
    from panel.deliveries import service as deliveries

    with ScriptedServer(_after_the_dot) as own:
        post.use(own.port)
        welcome = post.welcome()
        post.send()
    with post.world.acme_scope():
        again = deliveries.resend(welcome)
        assert outbox.get(welcome).state == "canceled"
        assert (again.resend_of, again.state) == (welcome, "queued")
        assert again.message_id != outbox.get(welcome).message_id


def test_a_person_may_mark_an_uncertain_one_as_sent_and_no_other(post: Post) -> None:
    from panel.deliveries import service as deliveries

    with ScriptedServer(_after_the_dot) as own:
        post.use(own.port)
        welcome = post.welcome()
        post.send()
    queued = post.join("two@friends.test")[0]
    with post.world.acme_scope():
        assert deliveries.mark_as_sent(welcome).state == "sent"
        with pytest.raises(outbox.WrongTransition):
            deliveries.mark_as_sent(queued)
        with pytest.raises(outbox.WrongTransition):
            deliveries.resend(queued)


def test_a_wrong_password_holds_everything_tells_the_owner_once_and_all_goes_out_after_the_fix(post: Post) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="hunter-2-canary")
        held = [post.welcome(f"p{number}@friends.test") for number in range(5)]
        post.send()
        post.due_now()
        post.send()
        assert {post.get(one).state for one in held} == {"held"}
        assert own.sign_ins <= 3
        letters = [one for one in post.platform.messages if one.recipients == ("owner@acme.test",)]
        assert len(letters) == 1
        assert b"hunter-2-canary" not in letters[0].content
        post.world.tick()
        assert {post.get(one).state for one in held} == {"held"}
        post.use(own, username="u", password="right")
        post.world.tick()
        post.send()
        own.wait_for(5)
    assert {post.get(one).state for one in held} == {"sent"}
    assert {post.get(one).attempts for one in held} == {1}


def test_a_server_that_is_not_there_rests_and_its_deliveries_are_held_until_it_is_back(post: Post) -> None:
    with MailServer(port=free_port()) as own:
        post.use(own)
        port = own.port
    welcome = post.welcome()
    for _ in range(6):
        post.due_now()
        post.send()
    assert post.get(welcome).state == "held"
    assert post.get(welcome).attempts == 0
    with post.world.acme_scope():
        server = servers.for_address(post.address_id)
        assert server is not None
        assert (server.state, server.paused_reason) == ("paused", "server")
        assert server.paused_until is not None
    with MailServer(port=port) as own:
        with db.system_scope("tests"), db.transaction() as session:
            from sqlalchemy import update

            from panel.servers.models import MailServer as Row

            session.execute(update(Row).values(paused_until=db.clock(-1)))
        post.world.tick()
        post.send()
        own.wait_for(1)
    assert post.get(welcome).state == "sent"


def test_with_the_fallback_chosen_a_resting_server_is_stood_in_for_by_the_platform_server(post: Post) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="hunter-2-canary")
        with post.world.acme_scope():
            servers.choose_fallback(post.address_id, fallback=True, by=servers.By())
        welcome = post.welcome()
        post.send()
        post.world.tick()
        post.send()
    row = post.get(welcome)
    assert (row.state, row.server_id) == ("sent", None)
    assert row.sent_from == {
        "from_name": "Acme Coffee via Ownpost",
        "from_address": "notifications@localhost",
        "reply_to": "hello@acme.test",
    }
    assert [one.server for one in post.attempts(welcome)][-1] == "platform server"


def test_the_platform_server_takes_an_accounts_daily_limit_and_holds_the_rest(post: Post) -> None:
    from panel.accounts import service as accounts

    with db.system_scope("tests"):
        accounts.limit_platform(post.world.acme, 2)
    made = [post.welcome(f"p{number}@friends.test") for number in range(4)]
    post.send()
    assert sorted(post.get(one).state for one in made) == ["held", "held", "sent", "sent"]
    with db.system_scope("tests"):
        accounts.limit_platform(post.world.acme, 10)
    post.world.tick()
    post.send()
    assert {post.get(one).state for one in made} == {"sent"}


def test_a_suspended_account_sends_nothing_until_it_is_resumed(post: Post) -> None:
    from panel.accounts import service as accounts

    with db.system_scope("tests"):
        accounts.suspend(post.world.acme, suspended=True)
    welcome = post.welcome()
    post.send()
    post.world.tick()
    assert (post.get(welcome).state, post.get(welcome).reason) == ("held", "account_suspended")
    with db.system_scope("tests"):
        accounts.suspend(post.world.acme, suspended=False)
    post.world.tick()
    post.send()
    assert post.get(welcome).state == "sent"


def test_what_is_held_for_too_long_expires(post: Post) -> None:
    from panel.accounts import service as accounts

    post.world.reconfigure(OWNPOST_HOLD_SECONDS="1")
    with db.system_scope("tests"):
        accounts.suspend(post.world.acme, suspended=True)
    welcome = post.welcome()
    post.send()
    with db.system_scope("tests"), db.transaction() as session:
        from sqlalchemy import update

        session.execute(update(outbox.Delivery).values(held_at=db.clock(-2)))
    post.world.tick()
    assert (post.get(welcome).state, post.get(welcome).reason) == ("expired", "held_too_long")
