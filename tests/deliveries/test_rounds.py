"""The ticker's rounds: whom a quick one leaves out, and that nobody is left out for whom something is to be done."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Compiled, event, or_, select, update
from sqlalchemy.sql.compiler import SQLCompiler

from panel import db
from panel.accounts.service import Account
from panel.addresses.models import OutboundAddress
from panel.deliveries import holds, upkeep
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting

HOLD = 7 * 86_400.0


@pytest.fixture
def resting(post: Post) -> Post:
    """Acme's server rests for a long time, and letters wait for it that say so."""
    post.use(2525)
    with post.world.acme_scope():
        waiting(5, state="held", reason="server", held_at=db.now(), address_id=post.address_id)
    change(Row, state="paused", paused_reason="server", paused_until=db.clock(3600))
    return post


def change(table: type[Row | Delivery | OutboundAddress], **values: object) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(table).values(**values).execution_options(synchronize_session=False))


def looked_after(post: Post, *, thorough: bool = False) -> bool:
    with db.system_scope("tests"):
        found = dict(upkeep._accounts_that_wait(HOLD, thorough=thorough))
    return post.world.acme.id in found


def test_a_quick_round_leaves_out_who_waits_for_a_rest_that_goes_on(resting: Post) -> None:
    assert not looked_after(resting)
    assert looked_after(resting, thorough=True)


def test_letters_that_name_no_address_wait_for_the_default_ones_server(resting: Post) -> None:
    change(Delivery, address_id=None)
    assert not looked_after(resting)
    change(OutboundAddress, is_default=False)
    assert looked_after(resting)


@pytest.mark.parametrize(
    "happens",
    [
        lambda: change(Row, paused_until=db.clock(-1)),
        lambda: change(Row, paused_reason="password_unreadable", paused_until=None),
        lambda: change(Row, state="ready", paused_reason=None, paused_until=None),
        lambda: change(Row, enabled=False),
        lambda: change(Row, fallback_to_platform=True),
        lambda: change(Row, paused_reason="quota"),
        lambda: change(Delivery, reason=outbox.PLATFORM_LIMIT),
        lambda: change(Delivery, reason=None),
        lambda: change(Delivery, state="queued", reason=None, held_at=None, next_attempt_at=db.clock(-1)),
        lambda: change(Delivery, held_at=db.clock(-HOLD + 3600)),
    ],
    ids=[
        "the rest is over", "the key may be back", "it was resumed", "it was turned off", "the platform stands in",
        "it rests for something else", "they wait for something else", "they do not say", "some are due",
        "they expire within a day",
    ],
)  # fmt: skip
def test_a_quick_round_looks_after_whom_something_changed_for(resting: Post, happens: Callable[[], None]) -> None:
    happens()
    assert looked_after(resting)


def test_what_waits_for_an_address_that_was_removed_is_looked_after(resting: Post) -> None:
    change(Delivery, address_id=uuid.uuid4())
    assert looked_after(resting)


def test_what_is_due_by_a_server_that_works_is_no_reason(post: Post) -> None:
    post.use(2525)
    with post.world.acme_scope():
        waiting(3, address_id=post.address_id)
    assert not looked_after(post)
    assert not looked_after(post, thorough=True)


def test_a_campaign_that_somebody_paused_is_no_reason(resting: Post) -> None:
    change(Delivery, reason=outbox.BLAST_PAUSED)
    change(Row, state="ready", paused_reason=None, paused_until=None)
    assert not looked_after(resting)


def test_a_quick_round_looks_up_what_is_due_in_the_index_and_only_where_a_server_rests(post: Post) -> None:
    post.use(2525)
    with post.world.acme_scope():
        for lane in [post.address_id, *(uuid.uuid4() for _ in range(29))]:
            waiting(100, address_id=lane)
    count_rows()  # an empty table that was counted is read by any index: autovacuum counts when it likes
    with db.system_scope("tests"):
        found = select(Account.id).where(or_(*upkeep._something_to_do()))
        compiled = found.compile(db.engine(), compile_kwargs={"render_postcompile": True})
        lines = explained(str(compiled), _values(compiled))
    looked_up = [line for line in lines if "ix_deliveries_due" in line]
    assert looked_up
    assert not [line for line in looked_up if line.startswith("SCAN")]
    assert not [line for line in lines if "Seq Scan on deliveries" in line]


def _values(compiled: Compiled) -> Any:
    assert isinstance(compiled, SQLCompiler)
    given = {name: value() if callable(value) else value for name, value in compiled.params.items()}
    return tuple(given[name] for name in compiled.positiontup) if compiled.positiontup else given


@pytest.mark.parametrize("look", ["wait_for", "hold", "free"])
def test_a_round_reads_no_table_from_end_to_end_to_find_nothing(resting: Post, look: str) -> None:
    with resting.world.acme_scope():
        waiting(3_000, state="held", reason="server", held_at=db.now(), address_id=resting.address_id)
        waiting(3_000, state="sent", address_id=resting.address_id, sent_at=db.now())
    count_rows()
    with resting.world.acme_scope():
        which, others = holds.of_lanes([resting.address_id]), holds.of_lanes([uuid.uuid4()])
        with statements() as seen:
            done = {
                "wait_for": lambda: holds.wait_for(which, reason="server", limit=10),
                "hold": lambda: holds.hold(which, reason="server", limit=10),
                "free": lambda: holds.free(others, limit=10),
            }[look]()
    assert done == 0
    lines = plan_of(seen)
    assert not [line for line in lines if line.startswith("SCAN") or "Seq Scan" in line], lines


@pytest.mark.parametrize(
    ("look", "index"),
    [
        (lambda: upkeep.expire_useless(time.monotonic()), "ix_deliveries_expires"),
        (upkeep.settle_lapsed, "ix_deliveries_claimed"),
    ],
    ids=["what expires", "what lapsed"],
)
def test_a_round_finds_what_expires_and_what_lapsed_by_an_index(
    resting: Post, look: Callable[[], int], index: str
) -> None:
    with resting.world.acme_scope():
        waiting(3_000, address_id=resting.address_id)
    # Of rows that nobody has counted PostgreSQL takes a third for lapsed: that is when it would rather read them all.
    if look is not upkeep.settle_lapsed:
        count_rows()
    with db.system_scope("tests"), statements() as seen:
        done = look()
    assert done == 0
    lines = plan_of(seen)
    assert any(index in line for line in lines), lines


def count_rows() -> None:
    """Tells PostgreSQL's planner how many rows there are."""
    if db.engine().dialect.name == "postgresql":
        with db.engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("ANALYZE deliveries, mail_servers, outbound_addresses, accounts")


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What the database is asked meanwhile, and with which values."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, values))

    event.listen(db.engine(), "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine(), "before_cursor_execute", note)


def plan_of(seen: list[tuple[str, Any]]) -> list[str]:
    """How the first look at the deliveries among these is done."""
    statement, values = next(one for one in seen if "FROM deliveries" in one[0])
    with db.system_scope("tests"):
        return explained(statement, values)


def explained(statement: str, values: Any) -> list[str]:
    """The database's plan, line by line. In a system scope."""
    explain = "EXPLAIN QUERY PLAN " if db.engine().dialect.name == "sqlite" else "EXPLAIN "
    plan = db.session().connection().exec_driver_sql(explain + statement, values).all()
    return [str(row[-1]) for row in plan]
