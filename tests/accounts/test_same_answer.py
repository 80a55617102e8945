"""Whether somebody has a login cannot be told from the time that a sign-in takes."""

from __future__ import annotations

import time

import pytest
from argon2 import PasswordHasher

from panel import db
from panel.accounts.models import User
from tests.support.world import Browser, World

# A tenth of a second of work: what else a sign-in does is small beside it.
COST = {"time_cost": 3, "memory_cost": 65_536, "parallelism": 1}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_works_as_hard_for_a_name_that_nobody_has(world: World):
    world.app.extensions["security"].pwd_context.update(**{f"argon2__{name}": value for name, value in COST.items()})
    with world.acme_scope(), db.transaction():
        db.owned(User, world.owner.id).password = PasswordHasher(**COST).hash("what it is")
        db.owned(User, world.member.id).password = None
    # In turns, and the least of each: what else the machine does falls on all of them.
    effort = dict.fromkeys((world.owner.email, world.member.email, "nobody@acme.test"), float("inf"))
    browser = world.client()
    browser.get("/login")
    for _ in range(4):
        for email in effort:
            effort[email] = min(effort[email], sign_in(browser, email))
    assert max(effort.values()) < 2 * min(effort.values()), effort


def sign_in(browser: Browser, email: str) -> float:
    """Seconds of this process's own work."""
    began = time.process_time()
    answer = browser.post("/login", {"email": email, "password": "not the password"})
    taken = time.process_time() - began
    assert answer.status_code == 200
    return taken
