"""The counters of letters in Redis, on a clock of the test's own: no span of time ever holds more than its limit."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panel import queue
from panel.servers import windows
from panel.servers.counters import Check, Counter, Lost, Taken
from panel.servers.windows import WINDOWS
from panel.smtp.limits import Limits
from tests.servers.pacing import put

BEGIN = 1_800_000_000.25

rates = st.one_of(st.none(), st.integers(1, 60))
limits = st.builds(Limits, per_minute=rates, per_hour=rates, per_day=rates).filter(lambda some: some.limited)
# A little less than a window's length is where one that were counted too short would let too much go.
nearly = st.sampled_from(WINDOWS).flatmap(lambda window: st.floats(window.length - window.width, window.length))
pauses = st.one_of(st.floats(0, 2), st.floats(0, 4000), nearly)
asks = st.lists(st.tuples(pauses, st.integers(1, 80)), min_size=1, max_size=40)
sloppy = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def counter(redis_client: redis.Redis, redis_url: str) -> Iterator[Counter]:
    """Counts of nothing yet."""
    queue.configure(redis_url)
    made = Counter(server_id=uuid.uuid4(), version=1, now=BEGIN)
    put(made, {})
    yield made
    queue.prompt_connection().close()


def fresh(counter: Counter) -> Counter:
    made = replace(counter, server_id=uuid.uuid4())
    put(made, {})
    return made


def taken(counter: Counter, wanted: int, some: Limits) -> Taken:
    """As a worker asks, for whom the counts are true."""
    while True:
        match counter.take(wanted, some):
            case Taken() as found:
                return found
            case Check() as check:
                look = counter.look()
                assert look is not None
                assert counter.replace(look[1], after=check, check_in=None)
            case Lost():
                pytest.fail("the counts were lost")


def most_in(sent: list[tuple[float, int]], length: float) -> int:
    """The most letters in any span of that length: one that begins with a letter holds as many as any."""
    return max((sum(n for at, n in sent if begin <= at < begin + length) for begin, _ in sent), default=0)


@sloppy
@given(some=limits, asked=asks)
def test_it_never_grants_more_than_any_limit_in_any_span(
    counter: Counter, some: Limits, asked: list[tuple[float, int]]
):
    counter, now, sent = fresh(counter), BEGIN, []
    for pause, wanted in asked:
        now += pause
        found = taken(replace(counter, now=now), wanted, some)
        assert 0 <= found.granted <= wanted
        sent.append((now, found.granted))
    for window, rate in zip(WINDOWS, some.rates, strict=True):
        assert rate is None or most_in(sent, window.length) <= rate


@sloppy
@given(some=limits, asked=asks)
def test_there_is_room_at_the_time_it_names_and_not_before(
    counter: Counter, some: Limits, asked: list[tuple[float, int]]
):
    counter, now = fresh(counter), BEGIN
    for pause, wanted in asked:
        now += pause
        found = taken(replace(counter, now=now), wanted, some)
        if found.granted:
            continue
        # The first answer may be to come back for a check, which is soon.
        while found.again_at is not None:
            assert found.again_at > now
            early = taken(replace(counter, now=max(now, found.again_at - 0.5)), 1, some)
            assert early.granted == 0
            now = found.again_at
            found = taken(replace(counter, now=now), 1, some)
            if found.granted:
                break
        assert found.granted == 1


@sloppy
@given(some=limits, asked=asks)
def test_it_agrees_with_the_words_of_the_page(counter: Counter, some: Limits, asked: list[tuple[float, int]]):
    counter, now = fresh(counter), BEGIN
    for pause, wanted in asked:
        now += pause
        here = replace(counter, now=now)
        look = here.look()
        assert look is not None
        room = windows.room(windows.usages(look[1], some, now))
        assert room is not None
        found = taken(here, wanted, some)
        assert found.granted <= room
        if found.granted == 0:
            assert room == 0


def test_a_limit_by_the_minute_is_granted_a_sixth_at_a_time(counter: Counter):
    some = Limits(per_minute=30)
    assert [taken(counter, 200, some).granted for _ in range(7)] == [5, 5, 5, 5, 5, 5, 0]
    assert taken(counter, 200, some).again_at is not None


def test_what_is_given_back_may_be_taken_again(counter: Counter):
    some = Limits(per_day=10, per_hour=10)
    first = taken(counter, 10, some)
    assert counter.give_back(4, first.made)
    assert taken(counter, 10, some).granted == 4


def test_what_was_taken_from_other_counts_is_not_given_back(counter: Counter):
    some = Limits(per_day=10)
    old = taken(counter, 4, some)
    put(counter, {86_400: {windows.DAY.bucket(BEGIN): 4}})
    assert not counter.give_back(4, old.made)
    assert taken(counter, 10, some).granted == 6


def test_counts_of_other_settings_are_lost(counter: Counter):
    assert isinstance(replace(counter, version=2).take(1, Limits(per_day=10)), Lost)


def test_counts_are_lost_with_the_run_of_redis(counter: Counter, redis_client: redis.Redis):
    taken(counter, 5, Limits(per_day=10))
    key = next(iter(redis_client.keys("ownpost:pace:*")))
    # As after a restart that brought an old dump back.
    redis_client.hset(key, "mark", "0" * 40 + ":1")
    assert isinstance(counter.take(1, Limits(per_day=10)), Lost)
    assert counter.look() is None


def test_a_full_window_is_checked_before_it_is_believed_for_long(counter: Counter):
    some = Limits(per_day=5)
    taken(counter, 5, some)
    full = counter.take(1, some)
    assert isinstance(full, Taken)
    assert full.again_at == pytest.approx(BEGIN + 120, abs=1)
    later = replace(counter, now=BEGIN + 121)
    check = later.take(1, some)
    assert isinstance(check, Check)
    # Only one is asked to compare; the others go on.
    assert isinstance(later.take(1, some), Taken)
    assert later.replace({86_400: {windows.DAY.bucket(BEGIN): 3}}, after=check, check_in=None)
    assert taken(later, 5, some).granted == 2


def test_a_comparison_that_came_late_changes_nothing(counter: Counter):
    some = Limits(per_day=5)
    taken(counter, 2, some)
    check = replace(counter, now=BEGIN + 901).take(1, some)
    assert isinstance(check, Check)
    assert taken(counter, 2, some).granted == 2
    assert not counter.replace({}, after=check, check_in=None)
    assert taken(counter, 5, some).granted == 1


def test_a_comparison_with_counts_that_were_lost_meanwhile_changes_nothing(counter: Counter, redis_client: redis.Redis):
    some = Limits(per_day=5)
    taken(counter, 2, some)
    check = replace(counter, now=BEGIN + 901).take(1, some)
    assert isinstance(check, Check)
    redis_client.flushall()
    put(counter, {86_400: {windows.DAY.bucket(BEGIN): 2}})
    # As many grants as the lost counts had seen.
    assert taken(counter, 2, some).granted == 2
    assert not counter.replace({}, after=check, check_in=None)
    assert taken(counter, 5, some).granted == 1


def test_one_that_counted_before_redis_lost_its_turn_changes_nothing(counter: Counter, redis_client: redis.Redis):
    some = Limits(per_day=5)
    redis_client.flushall()
    early = counter.may_count()
    assert early
    assert counter.may_count() is None
    redis_client.flushall()
    assert not counter.replace({}, after=early, check_in=None)
    put(counter, {86_400: {windows.DAY.bucket(BEGIN): 1}})
    assert taken(counter, 3, some).granted == 3
    # Whoever began before knows nothing of those three.
    assert not counter.replace({}, after=early, check_in=None)
    assert taken(counter, 5, some).granted == 1


def test_a_turn_that_began_when_somebody_had_just_counted_changes_nothing(counter: Counter):
    some = Limits(per_day=5)
    turn = counter.may_count()
    assert turn
    assert taken(counter, 3, some).granted == 3
    assert not counter.replace({}, after=turn, check_in=None)
    assert taken(counter, 5, some).granted == 2


def test_whoever_forgets_the_counts_ends_the_turn_of_who_may_have_read_too_early(counter: Counter):
    counter.forget()
    turn = counter.may_count()
    assert turn
    counter.forget()
    assert not counter.replace({}, after=turn, check_in=None)


def test_nobody_ends_the_turn_of_somebody_else(counter: Counter, redis_client: redis.Redis):
    early = counter.may_count()
    assert early
    redis_client.flushall()
    later = counter.may_count()
    assert later
    counter.counted(early)
    assert counter.may_count() is None
    assert counter.replace({}, after=later, check_in=None)


def test_counts_expire(counter: Counter, redis_client: redis.Redis):
    taken(counter, 1, Limits(per_day=5))
    keys = redis_client.keys("ownpost:pace:*")
    assert keys
    assert all(86_400 < redis_client.ttl(key) <= 90_000 for key in keys)
