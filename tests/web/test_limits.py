"""Limits on what costs others something."""

from __future__ import annotations

import uuid

import pytest
import time_machine
from limits import parse

from panel import rates, windows
from panel.web import limits
from tests.support.redisserver import RedisServer
from tests.support.world import World


def test_it_lets_an_account_test_as_often_as_the_setting_says(world: World):
    world.reconfigure(OWNPOST_LIMIT_TESTS="2/minute;100/day")
    with world.app.app_context():
        assert limits.hit_tests(world.acme.id) is None
        assert limits.hit_tests(world.acme.id) is None
        assert 1 <= limits.hit_tests(world.acme.id) <= 60


def test_it_counts_each_account_for_itself(world: World):
    world.reconfigure(OWNPOST_LIMIT_TESTS="1/minute")
    with world.app.app_context():
        assert limits.hit_tests(world.acme.id) is None
        assert limits.hit_tests(world.acme.id) is not None
        assert limits.hit_tests(world.other.id) is None


def test_it_says_when_the_longer_window_opens_again(world: World):
    world.reconfigure(OWNPOST_LIMIT_TESTS="1/day;5/minute")
    with world.app.app_context():
        assert limits.hit_tests(world.acme.id) is None
        assert 86_000 < limits.hit_tests(world.acme.id) <= 86_400


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_lets_everybody_pass_while_redis_is_away(world: World, redis_server: RedisServer):
    world.reconfigure(OWNPOST_LIMIT_TESTS="1/minute")
    with world.app.app_context():
        assert limits.hit_tests(world.acme.id) is None
        redis_server.stop()
        try:
            assert limits.hit_tests(world.acme.id) is None
        finally:
            redis_server.start()


def test_it_counts_each_key_for_itself(world: World):
    world.reconfigure(OWNPOST_LIMIT_API="2/minute")
    with world.app.app_context():
        one, other = uuid.uuid4(), uuid.uuid4()
        assert [limits.hit_api(one) is None for _ in range(3)] == [True, True, False]
        assert limits.hit_api(other) is None


def test_it_looks_without_counting(world: World):
    with world.app.app_context():
        assert [rates.spent("1/minute", "x") for _ in range(3)] == [None] * 3
        assert rates.hit("1/minute", "x") is None
        assert 1 <= rates.spent("1/minute", "x") <= 60


class TestWindows:
    """What this process keeps count of by itself."""

    RATE = parse("3/minute")

    def test_it_lets_as_many_pass_as_the_rate_says(self):
        kept = windows.Windows()
        with time_machine.travel(1_000_000.0, tick=False) as clock:
            assert [kept.hit(self.RATE, ("x",)) for _ in range(3)] == [None] * 3
            clock.shift(20)
            assert kept.hit(self.RATE, ("x",)) == 40
            assert kept.hit(self.RATE, ("y",)) is None
            clock.shift(40)
            assert kept.hit(self.RATE, ("x",)) is None

    def test_it_takes_back(self):
        kept = windows.Windows()
        for _ in range(3):
            kept.note(self.RATE, ("x",))
        kept.give_back(self.RATE, ("x",))
        assert [kept.hit(self.RATE, ("x",)) is None for _ in range(2)] == [True, False]
        kept.forget(self.RATE, ("x",))
        assert kept.hit(self.RATE, ("x",)) is None

    def test_it_has_room_for_so_many_of_each_kind(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(windows, "MOST", 10)
        kept = windows.Windows()
        for who in ("code", "mine"), ("name", "first"), ("name", "watched"):
            for _ in range(3):
                kept.hit(self.RATE, who)
        for number in range(100):
            kept.hit(self.RATE, ("name", str(number)))
            assert kept.hit(self.RATE, ("name", "watched")) is not None
        assert {kind: len(held) for kind, held in kept._kinds.items()} == {"code": 1, "name": 10}
        assert kept.hit(self.RATE, ("code", "mine")) is not None
        assert kept.hit(self.RATE, ("name", "first")) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"), (59, "59 seconds"), (60, "60 seconds"), (61, "2 minutes"), (3600, "60 minutes"),
        (3601, "2 hours"), (86_400, "24 hours"),
    ],
)  # fmt: skip
def test_it_says_how_long_to_wait(seconds: int, words: str):
    assert limits.in_words(seconds) == words
