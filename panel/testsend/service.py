"""Test sends: an email's letter to one of the account's own people, by the very path of campaign mail."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import redis
from flask import Flask, current_app

from panel import db, live, livesteps, queue
from panel.accounts import service as accounts
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.livesteps import StepBoard
from panel.outbox import service as outbox
from panel.outbox.service import Attempt, Delivery, Order
from panel.servers import service as servers
from panel.smtp.settings import Security
from panel.testsend.words import NO_ROOM, NO_WORKER, NOT_YET, headline_of, of_fault

# States in which a test send's page has nothing more to wait for.
OVER: Final = ("sent", "deferred", "held", "failed", "uncertain", "canceled", "expired", "bounced")
_BLAST: Final = "blast"  # in a test letter's values: the blast that it is of, which does not count it as its own
_WAIT_FOR_ANOTHER = 60.0  # seconds that the job watches a letter that a delivery worker got first
_LOOK = 0.2
_LOOK_AGAIN = 3.0


class NotYours(ValueError):
    """A test may only go to a confirmed address of somebody in this account."""


class TooOften(Exception):
    """Its mail server has been tested a lot; `wait` says after how many seconds to come back."""

    def __init__(self, wait: int) -> None:
        super().__init__(wait)
        self.wait = wait


def task_of(delivery_id: int) -> str:
    """The live task of a test send."""
    return f"delivery-{delivery_id}"


def start(notification_id: uuid.UUID, *, campaign_id: uuid.UUID, to_address: str) -> Delivery:
    """Queues a test of the notification as it was last saved, and asks a worker to send it now.

    Raises NotFound, NotYours and TooOften. A Redis that is away delays the letter, no more: a delivery worker finds
    its row.
    """
    notification = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    campaign = campaigns.get(campaign_id)
    values = blasts.sample_values(campaign)
    if campaigns.KINDS[notification.kind].recipient == "owner":
        values = deliveries.letter_values(values["tags"])
    return _start(campaign, to_address, values, notification.current_version_id, notification.id)


def start_of_blast(blast_id: uuid.UUID, *, campaign_id: uuid.UUID, to_address: str) -> Delivery:
    """The same of a blast, as it is saved."""
    blast = blasts.get(blast_id, campaign_id=campaign_id)
    campaign = campaigns.get(campaign_id)
    values = blasts.sample_values(campaign) | {_BLAST: str(blast.id)}
    return _start(campaign, to_address, values, blast.version_id, None)


def _start(
    campaign: campaigns.Campaign,
    to_address: str,
    values: dict[str, Any],
    version_id: uuid.UUID | None,
    notification_id: uuid.UUID | None,
) -> Delivery:
    if to_address not in accounts.confirmed_addresses():
        raise NotYours("Choose one of the addresses in the list: a test goes only to people of this account.")
    if wait := servers.count_test_send(campaign.address_id):
        raise TooOften(wait)
    with db.transaction():
        delivery = outbox.put(
            Order(
                kind="test",
                to_address=to_address,
                from_domain=deliveries.from_domain(campaign.address_id),
                values=values,
                campaign_id=campaign.id,
                address_id=campaign.address_id,
                notification_id=notification_id,
                notification_version_id=version_id,
            )
        )
        accounts.audit("test.sent", subject=to_address, delivery=delivery.id)
    _board(delivery).state("queued")
    queue.ring(queue.INTERACTIVE, "jobs.test_send.run", str(db.account_id()), delivery.id, timeout=-1)
    return delivery


def _board(delivery: Delivery, task: str | None = None) -> StepBoard:
    context = _context(delivery)
    return StepBoard(
        delivery.account_id,
        task or task_of(delivery.id),
        security=Security(context["security"]),
        sending=True,
        context=context,
        started_at=delivery.made_at.timestamp(),
    )


def _context(delivery: Delivery) -> dict[str, Any]:
    """What the explanation of a failure needs to know about the server by which the delivery goes."""
    route = deliveries.route_for(delivery)
    server = servers.for_address(route.address_id) if route.kind == "own" and route.address_id else None
    if server is not None:
        return {"preset": server.preset, "host": server.host, "port": server.port, "security": server.security}
    settings: Settings = current_app.extensions["ownpost"]
    platform = settings.platform_server
    return {"preset": None, "host": platform.host, "port": platform.port, "security": str(platform.security)}


def run(delivery_id: int) -> None:
    """Sends a test, in an interactive worker, and tells the page how it goes."""
    account_id, task = db.account_id(), task_of(delivery_id)
    delivery = outbox.get(delivery_id)
    if live.claim(account_id, task):
        board = StepBoard.again(account_id, task) or _board(delivery)
        board.state("sending")
    else:
        # The page was told that nobody came and watches the row; the steps are kept for the delivery's own page.
        board = _board(delivery, live.new_id())
    db.release()
    try:
        if not deliveries.send_now(delivery_id, board):
            _wait_for_another(account_id, delivery_id)
    except BaseException:
        board.finish(*of_fault(_fresh(account_id, delivery_id)))
        raise
    with db.account_scope(account_id):
        _finish(board, outbox.get(delivery_id))


def _fresh(account_id: uuid.UUID, delivery_id: int) -> Delivery:
    # In a scope of its own: what was loaded before the sending must not answer for what is there now.
    with db.account_scope(account_id):
        return outbox.get(delivery_id)


def _wait_for_another(account_id: uuid.UUID, delivery_id: int) -> None:
    end = time.monotonic() + _WAIT_FOR_ANOTHER
    while time.monotonic() < end and _fresh(account_id, delivery_id).state not in OVER:
        if deliveries.stopping.wait(_LOOK):
            return


def _finish(board: StepBoard, delivery: Delivery) -> None:
    if _waits(delivery, outbox.attempts(delivery.id)):
        board.finish("queued", NO_ROOM, waits=True, by_row=True, **_extra(delivery))
        return
    over = delivery.state in OVER
    # A connection that broke before the letter can have left puts the row back: for the page that is `deferred`.
    board.finish(delivery.state if over else "deferred", headline_of(delivery) if over else NOT_YET, **_extra(delivery))


def _waits(delivery: Delivery, attempts: Sequence[Attempt]) -> bool:
    """Whether somebody took it up and gave it back untried: a delivery worker takes it when its server has room."""
    return delivery.state == "queued" and delivery.fence > 0 and delivery.lease_until is None and not attempts


def _extra(delivery: Delivery) -> dict[str, Any]:
    return {"delivery": delivery.id, "message_id": delivery.message_id, "reply": delivery.reply}


def get(notification_id: uuid.UUID, delivery_id: int) -> Delivery:
    """A test send of this notification. Raises NotFound."""
    delivery = outbox.get(delivery_id)
    if delivery.kind != "test" or delivery.notification_id != notification_id:
        raise db.NotFound("no such test send of this notification")
    return delivery


def get_of_blast(blast_id: uuid.UUID, delivery_id: int) -> Delivery:
    """A test send of this blast. Raises NotFound."""
    delivery = outbox.get(delivery_id)
    if delivery.kind != "test" or delivery.values.get(_BLAST) != str(blast_id):
        raise db.NotFound("no such test send of this blast")
    return delivery


def snapshot(delivery: Delivery) -> dict[str, Any]:
    """How a test send stands: from its live task, or, once that is over or forgotten, from its row."""
    settle(delivery)
    try:
        newest = live.latest(delivery.account_id, task_of(delivery.id))
    except redis.RedisError:
        newest = None
    if newest is not None and newest.data["result"] in (None, delivery.state):
        return newest.data
    return _from_row(delivery)


def settle(delivery: Delivery) -> bool:
    """Ends the live task of a test that no worker will end: none took it up, or the one that did was lost.

    Returns whether the task is over. To be called now and then while somebody watches; a Redis that is away ends
    nothing.
    """
    account_id, task = delivery.account_id, task_of(delivery.id)
    try:
        board = StepBoard.again(account_id, task)
        if board is None:
            return True
        if delivery.state in OVER:
            _finish(board, delivery)
        elif not _is_late(delivery) or not live.claim(account_id, task):
            return False
        else:
            board.finish("queued", NO_WORKER, no_worker=True, by_row=True)
    except redis.RedisError:
        return False
    return True


def watch(app: Flask, account_id: uuid.UUID, delivery_id: int, closed: threading.Event) -> None:
    """Settles a test send while its stream is open, until the task is over or `closed` is set. In no scope."""
    while True:
        with app.app_context(), db.account_scope(account_id):
            over = settle(outbox.get(delivery_id))
        if over or closed.wait(_LOOK_AGAIN):
            return


def _is_late(delivery: Delivery) -> bool:
    return time.time() >= delivery.made_at.timestamp() + livesteps.NO_WORKER_AFTER


def _from_row(delivery: Delivery) -> dict[str, Any]:
    attempts = outbox.attempts(delivery.id)
    kept = attempts[-1].steps if attempts else None
    waits = _waits(delivery, attempts)
    no_worker = delivery.state == "queued" and not attempts and not waits and _is_late(delivery)
    words = NO_WORKER if no_worker else NO_ROOM if waits else headline_of(delivery)
    return {
        "kind": "test_send",
        "state": delivery.state,
        "steps": kept["steps"] if kept else [],
        # `queued` as a result: over as a live task, while the page goes on looking at the row.
        "result": delivery.state if delivery.state in OVER or no_worker or waits else None,
        "headline": words,
        "context": _context(delivery),
        "extra": {**_extra(delivery), "no_worker": no_worker, "waits": waits, "by_row": delivery.state not in OVER},
        "started_at": delivery.made_at.timestamp(),
    }
