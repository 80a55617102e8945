"""The pace of letters: real processes, a real Redis that is flushed and killed, and both databases."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from sqlalchemy import select, update

from panel import db, queue
from panel.addresses import service as addresses
from panel.outbox.models import Attempt, Delivery
from panel.servers import service
from panel.servers.counters import Counter
from panel.servers.models import MailServer
from panel.smtp.limits import NO_LIMITS, Limits
from tests.servers.pacing import PORT, Pace
from tests.support.redisserver import RedisServer
from tests.support.wait import wait_for


@contextmanager
def workers(own: Pace, count: int) -> Iterator[None]:
    """So many processes that claim, take, send and release as lanes do, for as long as the body lasts."""
    context = multiprocessing.get_context("fork")
    environ, over = own.mail.world.environ, context.Event()
    where = (environ["DATABASE_URL"], environ["REDIS_URL"], own.mail.world.acme.id, own.mail.address.id)
    db.engine().dispose()
    running = [context.Process(target=work, args=(*where, seed, over)) for seed in range(count)]
    for one in running:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in running:
            one.join(30)
        ends = [one.exitcode for one in running]
        for one in running:
            one.kill()
    assert ends == [0] * count


def work(url: str, redis_url: str, account_id: uuid.UUID, address_id: uuid.UUID, seed: int, over: Any) -> None:
    """A worker process: lanes one after another, which heed no rest."""
    db.connect(url)
    queue.configure(redis_url)
    chance, end = random.Random(seed), time.monotonic() + 90
    while not over.is_set() and time.monotonic() < end:
        with db.account_scope(account_id):
            claimed = claim(chance.randint(1, 20))
            route = service.route_of(address_id)
            allowance = service.take(route, len(claimed)) if claimed else service.Allowance(0)
            # Now and then something comes in between, and the last ones are not sent after all.
            kept = allowance.granted - min(allowance.granted, chance.choice((0, 0, 0, 2)))
            send(claimed[:kept], route, chance)
            service.give_back(route, allowance.granted - kept, of=allowance)
            change(claimed[kept:], lease_until=None)
        time.sleep(chance.uniform(0, 0.05))


def went(own: Pace) -> int:
    """How many letters were sent."""
    return own.count(Delivery.state == "sent")


def claim(count: int) -> list[int]:
    with db.transaction() as session:
        free = select(Delivery.id).where(Delivery.state == "queued", Delivery.lease_until.is_(None))
        ids = list(session.scalars(free.order_by(Delivery.id).limit(count).with_for_update(skip_locked=True)))
        change(ids, lease_until=db.clock(60.0))
    return ids


def send(ids: list[int], route: service.Route, chance: random.Random) -> None:
    for one in ids:
        change([one], state="sending", server_id=route.server_id)
        db.release()
        time.sleep(chance.uniform(0, 0.01))
        change([one], state="sent", sent_at=db.clock(), lease_until=None)


def change(ids: list[int], **values: Any) -> None:
    if ids:
        with db.transaction() as session:
            statement = update(Delivery).where(Delivery.id.in_(ids)).values(**values)
            session.execute(statement.execution_options(synchronize_session=False))


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_server_nobody_knows_has_no_limits(own: Pace):
    assert service.pace_limits(own.route) == NO_LIMITS
    assert own.take(200).granted == 200
    assert not queue.connection().keys("ownpost:pace:*")


def test_the_platform_server_has_no_limit_of_its_own(own: Pace):
    with own.mail.world.acme_scope():
        route = service.platform_route(own.mail.address.id)
        assert service.pace_limits(route) == Limits(connections=20)
        assert service.take(route, 200).granted == 200


def test_entered_limits_go_before_the_providers(own: Pace):
    with own.mail.world.acme_scope(), db.transaction() as session:
        session.execute(update(MailServer).values(preset="microsoft-365", host="smtp.office365.com"))
    assert service.pace_limits(own.route) == Limits(connections=3, per_minute=30, per_day=10_000)
    own.limit(per_minute=0, per_day=70, connections=2)
    assert service.pace_limits(own.route) == Limits(connections=2, per_day=70)


# -- taking -----------------------------------------------------------------------------------------------------------


def test_it_lets_go_no_more_than_the_limit(own: Pace):
    own.limit(per_day=10)
    assert [own.take(4).granted for _ in range(4)] == [4, 4, 2, 0]


def test_a_full_server_rests(own: Pace):
    own.limit(per_day=10)
    assert own.take(7).again_at is None
    assert own.rests_until() is None
    assert own.take(7).granted == 3
    assert own.rests_until() is not None
    allowance = own.take(5)
    assert allowance.granted == 0
    assert own.rests_until() == allowance.again_at
    with db.system_scope("tests"):
        lanes = service.resting()
    # It is the account's default address too, so letters that name none take its lane.
    assert lanes == {own.mail.address.id: allowance.again_at, own.mail.world.acme.id: allowance.again_at}


def test_an_address_that_is_not_the_default_rests_alone(own: Pace):
    with own.mail.world.acme_scope(), own.mail.world.app.test_request_context():
        other = addresses.add(email="other@acme.test", display_name="Other")
        addresses.make_default(other.id)
    own.limit(per_day=1)
    own.take(1)
    own.take(1)
    with db.system_scope("tests"):
        assert list(service.resting()) == [own.mail.address.id]


def test_a_server_that_is_off_rests_nobody(own: Pace):
    own.limit(per_day=1)
    own.take(1)
    own.take(1)
    with own.mail.world.acme_scope():
        service.disable(own.mail.address.id, service.By())
    with db.system_scope("tests"):
        assert service.resting() == {}


def test_what_is_given_back_ends_the_rest(own: Pace):
    own.limit(per_day=10)
    allowance = own.take(10)
    own.take(1)
    own.give_back(3, of=allowance)
    assert own.rests_until() is None
    assert own.take(10).granted == 3


def test_saving_other_settings_ends_the_rest(own: Pace):
    own.limit(per_day=1)
    own.take(1)
    own.take(1)
    own.mail.saved(PORT)
    assert own.rests_until() is None


def test_a_changed_limit_holds_for_what_went_before_it(own: Pace):
    own.sent(8, ago=3000)
    own.limit(per_day=10)
    assert own.take(10).granted == 2


# -- counting anew ----------------------------------------------------------------------------------------------------


def test_lost_counts_are_made_from_what_went(own: Pace, redis_client: redis.Redis):
    own.limit(per_minute=600, per_hour=30, per_day=100)
    own.sent(20, ago=10)
    own.sent(5, ago=4000)
    own.sent(7, ago=100_000)
    redis_client.flushall()
    assert own.take(100).granted == 10
    with own.mail.world.acme_scope():
        _, found = service.usage(own.route)
    assert [(one.window.name, one.used) for one in found] == [("minute", 30), ("hour", 30), ("day", 35)]


def test_what_may_have_gone_counts(own: Pace):
    own.limit(per_day=20)
    for ago in (10, 100_000):
        [one] = own.queue(1, state="uncertain", server_id=own.route.server_id, fence=3)
        at = db.now() - dt.timedelta(seconds=ago)
        with own.mail.world.acme_scope() as session, db.transaction():
            session.add(Attempt(delivery_id=one, fence=3, server="mail:25", started_at=at))
    own.sent(2, state="bounced")
    own.queue(3, state="failed", server_id=own.route.server_id)
    own.queue(3, state="canceled")
    assert own.take(20).granted == 17


def test_claims_of_others_count_until_they_are_released(own: Pace, redis_client: redis.Redis):
    own.limit(per_day=10)
    mine = own.queue(4, lease_until=db.now() + dt.timedelta(seconds=60))
    others = own.queue(7, lease_until=db.now() + dt.timedelta(seconds=60))
    assert own.take(len(mine)).granted == 3
    with own.mail.world.acme_scope():
        change(others, lease_until=None)
        change(mine, lease_until=None)
    # They are looked for again some seconds later, not in a day.
    full = own.take(4)
    assert full.again_at is not None
    assert full.again_at < db.now() + dt.timedelta(seconds=30)
    key = next(iter(redis_client.keys("ownpost:pace:*")))
    redis_client.hset(key, "check", 0)
    assert own.take(20).granted == 10


def test_what_a_killed_worker_took_is_found_out(own: Pace, redis_client: redis.Redis):
    own.limit(per_day=10)
    own.take(10)
    own.sent(4)
    full = own.take(1)
    assert full.again_at is not None
    assert full.again_at < db.now() + dt.timedelta(seconds=125)
    redis_client.hset(next(iter(redis_client.keys("ownpost:pace:*"))), "check", 0)
    assert own.take(10).granted == 6
    # Now that it has been looked at, and is full, it is believed.
    own.sent(6)
    own.take(1)
    redis_client.hset(next(iter(redis_client.keys("ownpost:pace:*"))), "check", 0)
    full = own.take(1)
    assert full.again_at is not None
    assert full.again_at > db.now() + dt.timedelta(hours=23)


def test_one_at_a_time_counts_anew(own: Pace, redis_client: redis.Redis):
    own.limit(per_day=10)
    route = own.route
    assert route.server_id is not None
    assert route.server_version is not None
    counter = Counter(server_id=route.server_id, version=route.server_version)
    turn = counter.may_count()
    assert turn
    waits = own.take(5)
    assert waits.granted == 0
    assert waits.again_at is not None
    assert waits.again_at < db.now() + dt.timedelta(seconds=2)
    counter.counted(turn)
    assert own.take(5).granted == 5


# -- many processes, and what may happen to Redis ---------------------------------------------------------------------


def test_eight_processes_keep_to_the_limit_together(own: Pace):
    own.limit(per_minute=600, per_hour=90, per_day=100)
    own.give_back(1, of=own.take(1))
    own.queue(250)
    with workers(own, 8):
        # What one gives back another takes, so in the end every place is used.
        wait_for(lambda: went(own) >= 90, 60, what="as many letters as the limit lets go")
        time.sleep(0.5)
    assert went(own) == 90


def test_a_flush_in_the_middle_lets_no_letter_too_many_go(own: Pace, redis_client: redis.Redis):
    chance = random.Random(1)
    own.limit(per_hour=40)
    own.queue(400)
    with workers(own, 4):
        wait_for(lambda: went(own) > 2, 60, what="some letters")
        for _ in range(25):
            time.sleep(chance.uniform(0, 0.12))
            redis_client.flushall()
    count = went(own)
    assert 2 < count <= 40
    # Nothing is claimed now, so a last count is exact.
    redis_client.flushall()
    assert own.take(200).granted == 40 - count


def test_without_redis_the_database_counts(
    own: Pace, redis_server: RedisServer, redis_client: redis.Redis, restarted: Callable[[], None]
):
    own.limit(per_hour=60)
    own.queue(300)
    with workers(own, 4):
        wait_for(lambda: went(own) > 5, 60, what="some letters with Redis")
        redis_server.stop()
        wait_for(lambda: went(own) >= 50, 60, what="nearly as many letters as the limit lets go, without Redis")
        time.sleep(0.5)
        restarted()
        time.sleep(0.5)
    count = went(own)
    assert 50 <= count <= 60
    # Nothing is claimed now, so a last count is exact.
    redis_client.flushall()
    assert own.take(200).granted == 60 - count


def test_without_redis_a_full_server_rests_until_there_is_room(
    own: Pace, redis_server: RedisServer, restarted: Callable[[], None]
):
    own.limit(per_day=10)
    own.sent(10, ago=3600)
    redis_server.stop()
    full = own.take(5)
    assert full.granted == 0
    assert own.rests_until() == full.again_at
    assert full.again_at is not None
    assert abs((full.again_at - db.now()).total_seconds() - 23 * 3600) <= 700
    restarted()


def test_what_went_without_redis_counts_when_it_is_back(
    own: Pace, redis_server: RedisServer, restarted: Callable[[], None]
):
    own.limit(per_day=10)
    assert own.take(2).granted == 2
    own.sent(2)
    redis_server.stop()
    assert own.take(5).granted == 5
    own.sent(5)
    restarted()
    assert own.take(10).granted == 3


def test_a_redis_that_hangs_keeps_nobody_waiting(own: Pace, redis_server: RedisServer, hanging: Callable[[], None]):
    own.limit(per_day=10)
    own.take(1)
    own.sent(1)
    hanging()
    started = time.monotonic()
    assert own.take(5).granted == 5
    assert time.monotonic() - started < 20  # it would hang for as long as Redis does


@pytest.fixture
def restarted(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Starts Redis again; at the end of the test in any case."""

    def start() -> None:
        redis_server.stop()
        redis_server.start()

    yield start
    start()


@pytest.fixture
def hanging(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Lets Redis hang: it accepts and never answers."""
    process = redis_server._process
    assert process is not None
    yield lambda: os.kill(process.pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGCONT)
