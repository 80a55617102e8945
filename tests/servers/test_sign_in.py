"""How often a stored password is tried: counted in the database, over all workers."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import update

from panel import db
from panel.servers import service as servers
from panel.servers.models import MailServer
from panel.servers.service import Route
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from tests.deliveries.conftest import Post, platform, post

__all__ = ["platform", "post"]

REFUSED = Outcome(
    verdict=Verdict.PERMANENT, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_FAILED, code=535
)
AWAY = Outcome(
    verdict=Verdict.TEMPORARY, about=About.SERVER, phase=Phase.CONNECT, failure=FailureCode.CONNECT_FAILED
)  # fmt: skip
HUNG_UP = Outcome(
    verdict=Verdict.NOT_SENT, about=About.SERVER, phase=Phase.AUTH, failure=FailureCode.PROTOCOL_ERROR
)  # fmt: skip
LATER = Outcome(
    verdict=Verdict.TEMPORARY, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_TEMPORARY, code=454
)
FULL = Outcome(
    verdict=Verdict.TEMPORARY, about=About.SERVER, phase=Phase.AUTH, failure=FailureCode.SERVER_BUSY, code=432
)
NO_TLS = Outcome(
    verdict=Verdict.PERMANENT, about=About.SERVER, phase=Phase.AUTH, failure=FailureCode.AUTH_NEEDS_TLS
)  # fmt: skip


class Own:
    """Acme's server, and what its row says."""

    def __init__(self, post: Post) -> None:
        self.post = post

    @contextmanager
    def scope(self) -> Iterator[Route]:
        with self.post.world.acme_scope():
            yield servers.route_of(self.post.address_id)

    def may(self) -> bool:
        with self.scope() as route:
            return servers.may_sign_in(route)

    def row(self) -> MailServer:
        with self.post.world.acme_scope():
            row = servers.for_address(self.post.address_id)
            assert row is not None
            return row

    def succeed(self) -> None:
        with self.scope() as route:
            assert servers.may_sign_in(route)
            servers.signed_in(route)

    def set(self, **row: object) -> None:
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(MailServer).values(**row))


@pytest.fixture
def own(post: Post) -> Own:
    post.use(2525, username="u", password="secret-canary")
    return Own(post)


def test_one_at_a_time_until_the_first_success_of_these_settings(own: Own) -> None:
    assert own.may()
    assert not own.may()
    with own.scope() as route:
        servers.sign_in_ended(route, AWAY)
    own.succeed()
    assert (own.row().proven_version, own.row().auth_tries) == (own.row().version, 0)
    assert [own.may() for _ in range(4)] == [True, True, True, False]
    with own.scope() as route:
        servers.signed_in(route)
    assert own.may()
    own.post.use(2525, username="u", password="another-canary")
    assert own.row().proven_version != own.row().version
    assert [own.may(), own.may()] == [True, False]


def test_a_success_uncounts_itself_alone_as_the_others_under_way_may_be_refused(own: Own) -> None:
    own.succeed()
    assert [own.may() for _ in range(3)] == [True, True, True]
    with own.scope() as route:
        servers.signed_in(route)
    # Two are under way and the password changes now: with a third there are as many refusals as there may be.
    assert [own.may(), own.may()] == [True, False]
    for _ in range(3):
        with own.scope() as route:
            servers.sign_in_ended(route, REFUSED)
    assert not own.may()


def test_a_refused_password_stays_counted_until_it_is_changed(own: Own) -> None:
    own.succeed()
    for _ in range(3):
        with own.scope() as route:
            assert servers.may_sign_in(route)
            servers.sign_in_ended(route, REFUSED)
    assert not own.may()
    own.post.use(2525, username="u", password="another-canary")
    assert own.may()


def test_a_passed_test_of_the_stored_settings_lets_it_try_again(own: Own) -> None:
    with own.scope() as route:
        assert servers.may_sign_in(route)
        servers.sign_in_ended(route, REFUSED)
    assert not own.may()
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=2525, security="none", auth="auto", username="u",
        password="secret-canary",
    )  # fmt: skip
    with own.post.world.acme_scope():
        servers.note_passed(own.post.address_id, entry)
    assert own.may()


def test_a_worker_lost_in_the_middle_blocks_for_two_minutes_only(own: Own) -> None:
    assert own.may()
    own.set(auth_tried_at=db.clock(-119))
    assert not own.may()
    own.set(auth_tried_at=db.clock(-121))
    assert own.may()
    assert own.row().auth_tries == 1


def test_what_ended_otherwise_is_no_longer_counted_and_never_below_nothing(own: Own) -> None:
    with own.scope() as route:
        assert servers.may_sign_in(route)
        servers.sign_in_ended(route, AWAY)
        servers.sign_in_ended(route)
    assert own.row().auth_tries == 0
    assert own.may()


def _end(own: Own, outcome: Outcome) -> None:
    with own.scope() as route:
        assert servers.may_sign_in(route)
        servers.sign_in_ended(route, outcome)


@pytest.mark.parametrize("outcome", [HUNG_UP, LATER], ids=["hung up", "later"])
@pytest.mark.parametrize("proven", [False, True], ids=["never worked", "worked before"])
def test_a_password_that_was_not_answered_three_times_rests_for_an_hour(
    own: Own, outcome: Outcome, proven: bool
) -> None:
    if proven:
        own.succeed()
    own.set(failures_in_a_row=5)
    for _ in range(3):
        _end(own, outcome)
    assert not own.may()
    own.set(auth_tried_at=db.clock(-3590))
    assert not own.may()
    own.set(auth_tried_at=db.clock(-3601))
    _end(own, outcome)
    assert own.row().auth_tries == 1


def test_a_success_forgets_what_had_no_answer(own: Own) -> None:
    own.set(failures_in_a_row=5)
    _end(own, HUNG_UP)
    _end(own, LATER)
    own.succeed()
    assert own.row().auth_tries == 0


@pytest.mark.parametrize("outcome", [FULL, NO_TLS, AWAY], ids=["too many connections", "not said", "not reached"])
def test_what_says_nothing_of_the_password_is_not_counted(own: Own, outcome: Outcome) -> None:
    own.set(failures_in_a_row=5)
    for _ in range(4):
        _end(own, outcome)
    assert own.row().auth_tries == 0


def test_a_rest_is_as_long_as_the_password_may_not_be_tried(own: Own) -> None:
    tried = db.now() - dt.timedelta(minutes=10)
    rests = {"state": "paused", "paused_reason": "server", "failures_in_a_row": 7, "auth_tries": 3}
    own.set(**rests, paused_until=db.clock(-1), auth_tried_at=tried)
    own.post.world.tick()
    assert (own.row().state, own.row().paused_until) == ("paused", tried + dt.timedelta(hours=1))
    own.set(paused_until=db.clock(-1), auth_tried_at=db.clock(-3601))
    own.post.world.tick()
    assert own.row().state == "ready"


def test_no_sign_in_while_it_rests_nor_with_settings_that_are_gone(own: Own) -> None:
    with own.scope() as route:
        assert not servers.may_sign_in(replace(route, server_version=99))
        servers.signed_in(replace(route, server_version=99))
    assert own.row().proven_version is None
    own.set(state="paused")
    assert not own.may()


def test_a_server_without_a_password_never_waits_and_proves_itself(post: Post) -> None:
    post.use(2525)
    own = Own(post)
    assert [own.may() for _ in range(5)] == [True] * 5
    with own.scope() as route:
        servers.signed_in(route)
    assert own.row().proven_version == own.row().version


def test_the_platform_server_is_not_counted(post: Post) -> None:
    with post.world.acme_scope():
        route = servers.platform_route()
        assert servers.may_sign_in(route)
        servers.signed_in(route)
        servers.sign_in_ended(route, REFUSED)


@pytest.mark.parametrize(("proven", "most"), [(False, 1), (True, 3)])
def test_many_at_once_get_no_more_than_allowed(own: Own, proven: bool, most: int) -> None:
    if proven:
        own.succeed()
    granted: list[uuid.UUID] = []
    ready = threading.Barrier(12)

    def ask() -> None:
        ready.wait(10)
        if own.may():
            granted.append(uuid.uuid4())

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(granted) == most
