"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any

import pytest
import redis

from panel import db, queue
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.stats.vitals import TICKER_KEY
from tests.support.world import World

PARTS = ("database", "redis", "ticker", "sending")


@pytest.fixture
def ticking(world: World, redis_client: redis.Redis) -> None:
    redis_client.set(TICKER_KEY, str(time.time()))


def ready(world: World) -> tuple[int, dict[str, Any]]:
    answer = world.app.test_client().get("/readyz")
    return answer.status_code, answer.get_json()


def a_delivery(due_since: float) -> Delivery:
    delivery = outbox.put_system_letter(
        to_address="kim@example.com", subject="Hello", text="Hello", html=None, from_domain="ownpost.test"
    )
    with db.transaction():
        delivery.next_attempt_at = db.now() - dt.timedelta(seconds=due_since)
    return delivery


def test_it_knows_the_tickers_key() -> None:
    from jobs.ticker import ALIVE_KEY

    assert TICKER_KEY == ALIVE_KEY


def test_it_is_alive(world: World) -> None:
    answer = world.app.test_client().get("/healthz")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "ok")


def test_it_is_ready_when_all_is_there(world: World, ticking: None) -> None:
    assert ready(world) == (200, dict.fromkeys(PARTS, "ok") | {"oldest_due_seconds": 0.0})


def test_it_tells_how_long_the_oldest_waits(world: World, ticking: None) -> None:
    with world.acme_scope():
        a_delivery(due_since=-60)
        a_delivery(due_since=30)
        a_delivery(due_since=90)
        taken_up = a_delivery(due_since=500)
        with db.transaction():
            taken_up.lease_until = db.now() + dt.timedelta(seconds=60)
    status, body = ready(world)
    assert status == 200
    assert 90 <= body["oldest_due_seconds"] < 120


@pytest.mark.parametrize(("ticked", "word"), [(None, "never seen"), (61, "overdue"), (30, "ok")])
def test_it_misses_a_ticker(world: World, redis_client: redis.Redis, ticked: float | None, word: str) -> None:
    if ticked is not None:
        redis_client.set(TICKER_KEY, str(time.time() - ticked))
    status, body = ready(world)
    assert body["ticker"] == word
    assert status == (200 if word == "ok" else 503)


def test_it_is_not_ready_without_redis(world: World) -> None:
    queue.configure("redis://127.0.0.1:1")
    status, body = ready(world)
    assert (status, body["redis"], body["ticker"], body["database"]) == (503, "away", "unknown", "ok")


def test_it_is_not_ready_without_its_database(world: World, ticking: None) -> None:
    try:
        db.connect("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        status, body = ready(world)
    finally:
        db.connect(world.settings.database_url)
    assert (status, body["database"], body["oldest_due_seconds"], body["redis"]) == (503, "away", None, "ok")


def test_it_counts_for_this_machine(world: World) -> None:
    with world.acme_scope():
        a_delivery(due_since=30)
    client = world.app.test_client()
    client.get("/nothing-here")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'ownpost_deliveries{state="queued"} 1.0' in text
    assert 'ownpost_deliveries{state="sent"} 0.0' in text
    assert 'ownpost_http_requests_total{method="GET",status="404"}' in text
    oldest = re.search(r"^ownpost_oldest_due_seconds (\S+)$", text, re.M)
    assert oldest is not None
    assert 30 <= float(oldest[1]) < 130


def test_it_shows_figures_to_nobody_else(world: World) -> None:
    client = world.app.test_client()
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 404
    assert client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 404
    assert client.get("/metrics", headers={"Host": "panel.example.com"}).status_code == 404
