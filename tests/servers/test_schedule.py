"""The forecast against a queue that is worked off letter by letter, and against the counters themselves."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panel import queue
from panel.servers.counters import Check, Counter, Taken
from panel.servers.schedule import done
from panel.servers.windows import DAY, HOUR, MINUTE, WINDOWS, Counts
from panel.smtp.limits import Limits
from tests.servers.pacing import put

BEGIN = 1_800_000_000.0
FAST = 1000.0

rates = st.one_of(st.none(), st.integers(1, 40))
limits = st.builds(Limits, per_minute=rates, per_hour=rates, per_day=rates).filter(lambda some: some.limited)
past = st.lists(st.tuples(st.floats(0, 90_000), st.integers(1, 20)), max_size=8)


def counts_of(sent: list[tuple[float, int]]) -> dict[int, dict[int, int]]:
    """The counts of letters that went so many seconds ago."""
    counts: dict[int, dict[int, int]] = {window.length: defaultdict(int) for window in WINDOWS}
    for ago, count in sent:
        for window in WINDOWS:
            counts[window.length][window.bucket(BEGIN - ago)] += count
    return counts


def one_by_one(count: int, some: Limits, counts: Mapping[int, Mapping[int, int]], speed: float) -> float:
    """A letter at a time, asking every window about every bucket: slow, and plainly right."""
    now, gone = BEGIN, {length: dict(buckets) for length, buckets in counts.items()}
    for _ in range(count):
        while True:
            waits = []
            for window, rate in zip(WINDOWS, some.rates, strict=True):
                if rate is None:
                    continue
                buckets = gone[window.length]
                oldest = window.bucket(now) - window.before
                used = sum(n for bucket, n in buckets.items() if bucket >= oldest)
                if used >= rate:
                    waits.append(
                        (min(bucket for bucket, n in buckets.items() if bucket >= oldest and n) + window.before + 1)
                        * window.width
                    )
            if not waits:
                break
            now = float(max(waits))
        for window in WINDOWS:
            bucket = window.bucket(now)
            gone[window.length][bucket] = gone[window.length].get(bucket, 0) + 1
        now += 1 / speed
    return now


@settings(max_examples=200, deadline=None)
@given(count=st.integers(1, 150), some=limits, sent=past)
def test_it_foretells_what_a_letter_by_letter_queue_does(count: int, some: Limits, sent: list[tuple[float, int]]):
    counts = counts_of(sent)
    foretold = done(count, limits=some, counts=counts, now=BEGIN, speed=FAST)
    assert foretold.at == pytest.approx(one_by_one(count, some, counts, FAST), abs=2)


@settings(max_examples=100, deadline=None)
@given(count=st.integers(2000, 20_000), some=limits, sent=past)
def test_what_it_reckons_without_playing_it_through_is_near(count: int, some: Limits, sent: list[tuple[float, int]]):
    counts = counts_of(sent)
    exact = done(count, limits=some, counts=counts, now=BEGIN, speed=FAST, steps=10_000_000)
    rough = done(count, limits=some, counts=counts, now=BEGIN, speed=FAST, steps=100)
    longest = max(window.length + window.width for window, rate in zip(WINDOWS, some.rates, strict=True) if rate)
    assert abs(rough.at - exact.at) <= max(1.5 * longest, 0.02 * (exact.at - BEGIN))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 150), some=limits)
def test_it_foretells_what_the_counters_let_go(redis_client: redis.Redis, redis_url: str, count: int, some: Limits):
    queue.configure(redis_url)
    counter, now, left = Counter(server_id=uuid.uuid4(), version=1, now=BEGIN), BEGIN, count
    put(counter, {})
    while left:
        here = replace(counter, now=now)
        match here.take(left, some):
            case Taken(granted=granted, again_at=again_at):
                left -= granted
                if left and again_at is not None:
                    now = again_at
            case Check() as check:
                look = here.look()
                assert look is not None
                here.replace(look[1], after=check, check_in=None)
    assert done(count, limits=some, counts={}, now=BEGIN, speed=1e6).at == pytest.approx(now, abs=2)


def test_two_thousand_three_hundred_at_five_hundred_a_day_take_four_days():
    found = done(2300, limits=Limits(per_day=500), counts={}, now=BEGIN, speed=10)
    assert found.binding is DAY
    assert 4 * 86_400 <= found.at - BEGIN <= 4 * (86_400 + DAY.width) + 60


def test_what_is_used_already_and_what_goes_before_count():
    counts: Counts = {DAY.length: {DAY.bucket(BEGIN - 43_200): 500}}
    found = done(1, limits=Limits(per_day=500), counts=counts, now=BEGIN, speed=10)
    assert 43_200 <= found.at - BEGIN <= 43_200 + 2 * DAY.width


@pytest.mark.parametrize(
    ("some", "binding"),
    [
        (Limits(per_day=500, per_minute=30), DAY),
        (Limits(per_day=1_000_000, per_minute=30), MINUTE),
        (Limits(per_hour=50, per_day=5000), HOUR),
        (Limits(per_minute=100_000), None),
        (Limits(), None),
    ],
)
def test_it_says_which_limit_keeps_them_waiting(some: Limits, binding: object):
    assert done(3000, limits=some, counts={}, now=BEGIN, speed=50).binding is binding


def test_a_million_letters_are_reckoned_while_a_page_is_made():
    import time

    started = time.process_time()
    found = done(1_000_000, limits=Limits(per_minute=30, per_day=10_000), counts={}, now=BEGIN, speed=15)
    assert time.process_time() - started < 1  # generous: it takes some hundredths
    assert (found.at - BEGIN) / 86_400 == pytest.approx(100, rel=0.02)
