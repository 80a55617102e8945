"""A clock that jumps an hour, ahead and back: leases may lapse, nothing is sent twice."""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, SEEDS
from tests.faults.reconcile import reconcile
from tests.faults.sink import Sink
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

HOUR = 3600.0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_clock_jumps_an_hour_ahead_and_again(build: Build, seed: int) -> None:
    chance = random.Random(seed)
    with Sink(pause=0.004) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        for count in sorted(chance.sample(range(10, LETTERS - 20), 3)):
            rig.wait_for_accepted(count)
            rig.note("clock + 1 h")
            rig.jump(HOUR)
        rig.wait_until_settled()
        # Every lease has lapsed at once; those who hold them live, and still know what they have heard.
        wait_for(lambda: rig.states()["uncertain"] == 0, 20, what="what the workers knew")
        reconcile(rig, what="the clock jumps an hour ahead, three times", uncertain_at_most=0, seed=seed)


def test_the_clock_jumps_an_hour_back_and_is_put_right(build: Build) -> None:
    with Sink(pause=0.004) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        rig.wait_for_accepted(60)
        rig.note("clock - 1 h")
        rig.jump(-HOUR)
        # What was queued lies in the future now; what comes in new does not.
        rig.queue(20, prefix="late")
        wait_for(
            lambda: {state for one, state in rig.states_by_recipient().items() if one.startswith("late")} == {"sent"},
            30,
            what="the new letters",
        )
        rig.note("clock + 1 h")
        rig.jump(HOUR)
        rig.wait_until_settled()
        wait_for(lambda: rig.states()["uncertain"] == 0, 20, what="what the workers knew")
        reconcile(rig, what="the clock jumps an hour back, and ahead again", uncertain_at_most=0)
