"""Letters and their server's limits, from the queue to the server and on the pages."""

from __future__ import annotations

import datetime as dt
import re

import pytest
import redis
from sqlalchemy import func, select, update

from panel import db
from panel.deliveries import claims, decide
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer as MailServerRow
from panel.smtp.outcome import Renewal
from panel.stats import vitals
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer
from tests.support.wait import wait_for


def limit(post: Post, **limits: int) -> None:
    with post.world.acme_scope(), db.transaction() as session:
        session.execute(
            update(MailServerRow).values(limits=limits, version=MailServerRow.version + 1, rests_until=None)
        )


def states(post: Post) -> dict[str, int]:
    with post.world.acme_scope() as session:
        # The notes to the owner are switched off.
        counted = select(Delivery.state, func.count()).where(Delivery.state != "canceled")
        rows = session.execute(counted.group_by(Delivery.state))
        return dict(rows.all())


def send_until(post: Post, wanted: dict[str, int]) -> None:
    """A worker remembers for a moment which servers wait; the ticker rings again."""

    def done() -> bool:
        post.send()
        return states(post) == wanted

    wait_for(done, what=f"{wanted}")


@pytest.mark.parametrize("limits", [{"per_day": 5}, {"per_hour": 5}, {"per_minute": 5}])
def test_no_more_letters_go_than_the_server_takes(post: Post, limits: dict[str, int]) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, **limits)
        letters = [post.welcome(f"r{number}@friends.test") for number in range(9)]
        post.send()
        post.send()

        assert len(own.messages) == 5
        assert states(post) == {"sent": 5, "queued": 4}
        # None was spent on it, and the oldest went first.
        assert [len(post.attempts(one)) for one in letters] == [1] * 5 + [0] * 4
        page = post.world.client(post.world.owner).get(f"/deliveries/{letters[-1]}").get_data(as_text=True)
        assert re.search(r"Waits for its server’s limit of 5 (a|an) (day|hour|minute); letters go on", page)


def test_what_waits_for_a_limit_alarms_nobody(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, per_day=1)
        for number in range(3):
            post.welcome(f"r{number}@friends.test")
        post.send()
        with db.system_scope("tests") as session, db.transaction():
            session.execute(update(Delivery).where(Delivery.state == "queued").values(next_attempt_at=db.clock(-900)))
        post.send()
        with db.system_scope("tests"):
            assert vitals.oldest_due_seconds() == 0.0
        assert post.world.client(post.world.owner).get("/readyz").get_json()["oldest_due_seconds"] == 0.0


def test_a_higher_limit_lets_the_rest_go(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, per_day=2)
        for number in range(5):
            post.welcome(f"r{number}@friends.test")
        post.send()
        assert len(own.messages) == 2

        limit(post, per_day=20)
        post.due_now()
        send_until(post, {"sent": 5})
        assert len(own.messages) == 5


def test_system_letters_go_while_the_default_address_waits(post: Post, platform: MailServer) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, per_day=1)
        for number in range(3):
            post.welcome(f"r{number}@friends.test")
        post.send()
        with db.system_scope("tests"):
            assert post.world.acme.id in servers.resting()

        with post.world.acme_scope():
            outbox.put_system_letter(
                to_address="owner@acme.test", subject="Reset", text="Link", html=None, from_domain="localhost"
            )
        with db.system_scope("tests"):
            # The lane that waits is left alone all the same.
            [due] = claims.lanes_due(busy=servers.resting().keys(), limit=9)
            assert due.system
            with db.transaction() as session:
                waiting = update(Delivery).where(Delivery.kind == "system")
                session.execute(waiting.values(next_attempt_at=db.clock(-100)))
            assert vitals.oldest_due_seconds() >= 100
        wait_for(lambda: post.send() or platform.messages, what="the system letter")
        assert len(platform.messages) == 1
        assert len(own.messages) == 1
        with db.system_scope("tests"):
            assert post.world.acme.id in servers.resting()


def test_a_letter_that_was_refused_takes_no_room_for_long(post: Post, redis_client: redis.Redis) -> None:
    def answer(verb: str, argument: str) -> str | None:
        return "550 5.1.1 nobody of that name" if verb == "RCPT" and "nobody" in argument else None

    with MailServer(answer=answer) as own:
        post.use(own)
        limit(post, per_day=4)
        for name in ("nobody1", "r1", "nobody2", "r2", "r3", "r4", "r5"):
            post.welcome(f"{name}@friends.test")
        post.send()
        assert states(post) == {"failed": 2, "sent": 2, "queued": 3}

        # Two minutes later, when what was counted is compared with what went.
        redis_client.hset(next(iter(redis_client.keys("ownpost:pace:*"))), "check", 0)
        with db.system_scope("tests") as session, db.transaction():
            session.execute(update(MailServerRow).values(rests_until=None))
        post.due_now()
        send_until(post, {"failed": 2, "sent": 4, "queued": 1})
        assert len(own.messages) == 4


def test_a_server_that_says_too_fast_is_left_alone_for_as_long_as_it_takes(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decide.SHORT_RESTS, Renewal.SECOND, 60.0)  # seconds that three looks may take
    refused = 0

    def answer(verb: str, _argument: str) -> str | None:
        nonlocal refused
        if verb != "DATA" or len(own.messages) < 20:
            return None
        refused += 1
        return "454 Throttling failure: Maximum sending rate exceeded."

    with MailServer(answer=answer) as own:
        post.use(own)
        limit(post, per_hour=1000, connections=2)
        for number in range(60):
            post.welcome(f"r{number}@friends.test")
        for _ in range(3):
            post.send()
        # What was granted and not sent is given back, which ends no rest that the server asked for.
        assert 0 < refused <= 2
        assert len(own.messages) == 20
        assert states(post) == {"sent": 20, "queued": 40 - refused, "deferred": refused}
        with db.system_scope("tests"):
            assert post.address_id in servers.resting()


def test_another_lane_of_a_server_that_said_too_fast_waits_too(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        post.welcome()
        with db.system_scope("tests") as session, db.transaction():
            session.execute(update(MailServerRow).values(told_to_wait_until=db.clock(60)))
        with post.world.acme_scope():
            route = servers.route_of(post.address_id)
            allowance = servers.take(route, 5)
            assert allowance.granted == 0
            assert allowance.again_at == route.told_to_wait_until
            servers.give_back(route, 1)
        post.send()
        assert own.messages == []
        assert states(post) == {"queued": 1}


def test_a_longer_wait_is_never_made_shorter_by_our_own_counts(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, per_minute=1)
        with post.world.acme_scope():
            route = servers.route_of(post.address_id)
            assert route.server_id is not None
            assert route.server_version is not None
            until = db.now() + dt.timedelta(hours=1)
            servers.rest(route.server_id, route.server_version, until=until)
            servers.rest(route.server_id, route.server_version, until=db.now())
            servers.take(route, 1)
            servers.take(route, 1)
        with db.system_scope("tests"):
            assert servers.resting()[post.address_id] == until
