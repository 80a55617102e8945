"""Whether somebody has a login cannot be told from the time that a sign-in takes."""

from __future__ import annotations

import time

import pytest
from argon2 import PasswordHasher

from panel import db
from panel.accounts.models import User
from tests.support.world import World

# A tenth of a second of work: what else a sign-in does is small beside it.
COST = {"time_cost": 3, "memory_cost": 65_536, "parallelism": 1}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_works_as_hard_for_a_name_that_nobody_has(world: World):
    world.app.extensions["security"].pwd_context.update(**{f"argon2__{name}": value for name, value in COST.items()})
    with world.acme_scope(), db.transaction():
        db.owned(User, world.owner.id).password = PasswordHasher(**COST).hash("what it is")
        db.owned(User, world.member.id).password = None
    effort = {
        email: least_effort(world, email) for email in (world.owner.email, world.member.email, "nobody@acme.test")
    }
    assert max(effort.values()) < 2 * min(effort.values()), effort


def least_effort(world: World, email: str) -> float:
    """Seconds of this process's own work, so that what else the machine does counts for nothing."""
    browser = world.client()
    browser.get("/login")
    taken = []
    for _ in range(3):
        began = time.process_time()
        answer = browser.post("/login", {"email": email, "password": "not the password"})
        taken.append(time.process_time() - began)
        assert answer.status_code == 200
    return min(taken)
