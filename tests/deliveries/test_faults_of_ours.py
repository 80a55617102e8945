"""What goes wrong on our side leaves nothing behind: no connection, no place at a server, no sign-in, no claim."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text, update

from panel import db, queue
from panel.outbox import service as outbox
from panel.servers import service as servers
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer, Peer, ScriptedServer

_FORBID = {
    "sqlite": (
        "CREATE TRIGGER forbid BEFORE UPDATE OF {column} ON {table} BEGIN SELECT RAISE(ABORT, 'forbidden'); END",
        "DROP TRIGGER forbid",
    ),
    "postgresql": (
        "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'forbidden'; END $$; "
        "CREATE TRIGGER forbid BEFORE UPDATE OF {column} ON {table} FOR EACH ROW EXECUTE FUNCTION forbid()",
        "DROP FUNCTION forbid CASCADE",
    ),
}


@contextmanager
def forbidden(table: str, column: str) -> Iterator[None]:
    """Lets the database refuse every statement that sets this column."""
    begin, end = _FORBID[db.engine().dialect.name]
    with db.engine().begin() as connection:
        connection.execute(text(begin.format(table=table, column=column)))
    try:
        yield
    finally:
        with db.engine().begin() as connection:
            connection.execute(text(end))


@contextmanager
def away(table: str) -> Iterator[None]:
    """Takes a table away for a while."""
    with db.engine().begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO away"))
    try:
        yield
    finally:
        with db.engine().begin() as connection:
            connection.execute(text(f"ALTER TABLE away RENAME TO {table}"))


def test_a_sign_in_that_cannot_be_recorded_leaves_nothing_behind(post: Post) -> None:
    left = threading.Event()

    def see_it_leave(peer: Peer) -> None:
        peer.greet("8BITMIME", "AUTH PLAIN")
        peer.hear("AUTH")
        peer.say("235 welcome")
        try:
            peer.hear()
        finally:
            left.set()

    with ScriptedServer(see_it_leave) as own:
        post.use(own.port, username="u", password="p")
        with post.world.acme_scope():
            server = servers.for_address(post.address_id)
            assert server is not None
        welcome = post.welcome()
        with forbidden("mail_servers", "proven_version"):
            post.send()
        assert left.wait(20)
    assert queue.connection().zcard(f"ownpost:connections:{server.id}") == 0
    row = post.get(welcome)
    assert (row.state, row.reason, row.lease_owner, row.attempts) == ("deferred", "internal_error", None, 1)
    with post.world.acme_scope():
        again = servers.for_address(post.address_id)
        assert again is not None
        assert (again.state, again.auth_tries) == ("ready", 0)
    with MailServer() as works:
        post.use(works)
        post.due_now()
        post.send()
        works.wait_for(1)
    assert post.get(welcome).state == "sent"


def test_a_letter_whose_words_cannot_be_read_now_is_not_given_up(post: Post) -> None:
    welcome = post.welcome()
    with away("notification_versions"):
        post.send()
    row = post.get(welcome)
    assert (row.state, row.reason) == ("queued", None)
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(outbox.Delivery).values(lease_until=db.clock(-1)))
    post.world.tick()  # which gives back what a lane left behind
    post.due_now()
    post.send()
    assert post.get(welcome).state == "sent"


def test_a_letter_that_always_makes_us_fail_is_tried_by_the_schedule_and_given_up(post: Post) -> None:
    with MailServer(username="u", password="p") as own:
        post.use(own, username="u", password="p")
        welcome = post.welcome()
        with forbidden("mail_servers", "proven_version"):
            for attempts, minutes in ((1, 1), (2, 5), (3, 15)):
                post.send()
                row = post.get(welcome)
                assert (row.state, row.reason, row.attempts) == ("deferred", "internal_error", attempts)
                assert minutes - 0.5 < (row.next_attempt_at - db.now()) / dt.timedelta(minutes=1) < minutes * 1.1
                post.due_now()
            with db.system_scope("tests"), db.transaction() as session:
                session.execute(update(outbox.Delivery).values(trying_since=db.now() - dt.timedelta(hours=73)))
            post.send()
        row = post.get(welcome)
    assert (row.state, row.reason, row.attempts) == ("failed", "internal_error", 4)
