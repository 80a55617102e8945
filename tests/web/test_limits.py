"""Limits on what costs others something."""

from __future__ import annotations

import pytest

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
