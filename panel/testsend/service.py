"""Test sends: a notification's letter to one of the account's own people, by the very path of campaign mail."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import redis
from flask import current_app

from panel import db, live, livesteps, queue
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import KINDS
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.livesteps import StepBoard
from panel.outbox import service as outbox
from panel.outbox.service import Delivery, Order
from panel.servers import service as servers
from panel.smtp.settings import Security
from panel.testsend.words import NO_WORKER, headline_of, of_fault

# States in which a test send's page has nothing more to wait for.
OVER: Final = ("sent", "deferred", "held", "failed", "uncertain", "canceled", "expired", "bounced")
_WAIT_FOR_ANOTHER = 60.0  # seconds that the job watches a letter that a delivery worker got first
_LOOK = 0.2


class NotYours(ValueError):
    """A test may only go to a confirmed address of somebody in this account."""


def task_of(delivery_id: int) -> str:
    """The live task of a test send."""
    return f"delivery-{delivery_id}"


def start(notification_id: uuid.UUID, *, campaign_id: uuid.UUID, to_address: str) -> Delivery:
    """Queues a test of the notification as it was last saved, and asks a worker to send it now.

    Raises NotYours. A Redis that is away delays the letter, no more: a delivery worker finds its row.
    """
    if to_address not in accounts.confirmed_addresses():
        raise NotYours("Choose one of the addresses in the list: a test goes only to people of this account.")
    notification = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    campaign = campaigns.get(campaign_id)
    with db.transaction():
        delivery = outbox.put(
            Order(
                kind="test",
                to_address=to_address,
                from_domain=deliveries.from_domain(campaign.address_id),
                values=_values(campaign, notification),
                campaign_id=campaign.id,
                address_id=campaign.address_id,
                notification_id=notification.id,
                notification_version_id=notification.current_version_id,
            )
        )
    _board(delivery).state("queued")
    queue.ring(queue.INTERACTIVE, "jobs.test_send.run", str(db.account_id()), delivery.id, timeout=-1)
    return delivery


def _values(campaign: campaigns.Campaign, notification: campaigns.Notification) -> dict[str, Any]:
    settings: Settings = current_app.extensions["ownpost"]
    # The sample person has nothing to unsubscribe from; the page behind this link says so.
    unsubscribe = f"{settings.public_url}/u/test-email"
    tags = campaigns.sample(campaign) | {"unsubscribe_url": unsubscribe}
    if KINDS[notification.kind].recipient == "owner":
        return deliveries.letter_values(tags)
    return deliveries.letter_values(
        tags,
        company_name=campaign.company_name,
        postal_address=accounts.current().postal_address,
        unsubscribe_url=unsubscribe,
    )


def _board(delivery: Delivery) -> StepBoard:
    route = servers.route_of(delivery.address_id)
    context: dict[str, Any] = {"preset": None, "host": route.label, "port": 0, "security": str(Security.STARTTLS)}
    try:
        settings, _ = servers.smtp_settings(route)
    except servers.PasswordUnreadable:
        pass
    else:
        context |= {"host": settings.host, "port": settings.port, "security": str(settings.security)}
    return StepBoard(
        delivery.account_id,
        task_of(delivery.id),
        security=Security(context["security"]),
        sending=True,
        context=context,
    )


def run(delivery_id: int) -> None:
    """Sends a test, in an interactive worker. One that was taken up or given up already is left to the drain."""
    account_id = db.account_id()
    if not live.claim(account_id, task_of(delivery_id)):
        return
    board = StepBoard.again(account_id, task_of(delivery_id)) or _board(outbox.get(delivery_id))
    board.state("sending")
    db.release()
    try:
        if not deliveries.send_now(delivery_id, board):
            _wait_for_another(account_id, delivery_id)
    except BaseException:
        with db.account_scope(account_id):
            board.finish(*of_fault(outbox.get(delivery_id)))
        raise
    with db.account_scope(account_id):
        _finish(board, outbox.get(delivery_id))


def _wait_for_another(account_id: uuid.UUID, delivery_id: int) -> None:
    end = time.monotonic() + _WAIT_FOR_ANOTHER
    while time.monotonic() < end:
        with db.account_scope(account_id):
            if outbox.get(delivery_id).state in OVER:
                return
        time.sleep(_LOOK)


def _finish(board: StepBoard, delivery: Delivery) -> None:
    board.finish(_result(delivery), headline_of(delivery), **_extra(delivery))


def _result(delivery: Delivery) -> str:
    # A connection that broke before the letter can have left puts the row back: for the page that is `deferred`.
    return delivery.state if delivery.state in OVER else "deferred"


def _extra(delivery: Delivery) -> dict[str, Any]:
    return {"delivery": delivery.id, "message_id": delivery.message_id, "reply": delivery.reply}


def snapshot(delivery_id: int) -> dict[str, Any] | None:
    """How a test send of this account stands: from its live task, or, once that is forgotten, from its row.

    None for a delivery that is no test. Raises NotFound.
    """
    delivery = outbox.get(delivery_id)
    if delivery.kind != "test":
        return None
    try:
        newest = live.latest(db.account_id(), task_of(delivery_id))
    except redis.RedisError:
        newest = None
    if newest is not None and (newest.over or delivery.state not in OVER):
        return newest.data
    return _from_row(delivery)


def _from_row(delivery: Delivery) -> dict[str, Any]:
    attempts = outbox.attempts(delivery.id)
    kept = attempts[-1].steps if attempts and attempts[-1].steps else {"steps": []}
    host, _, port = (attempts[-1].server if attempts else "").rpartition(":")
    over = delivery.state in OVER
    return {
        "kind": "test_send",
        "state": delivery.state,
        "steps": kept["steps"],
        "result": delivery.state if over else None,
        "headline": headline_of(delivery) if over else None,
        "context": {
            "preset": None,
            "host": host or "the server",
            "port": int(port) if port.isdigit() else 0,
            "security": str(Security.STARTTLS),
        },
        "extra": _extra(delivery) if over else {},
        "started_at": delivery.made_at.timestamp(),
    }


def give_up(account_id: uuid.UUID, delivery_id: int) -> None:
    """Says that no worker took it up in time; the letter itself waits for one."""
    livesteps.give_up(account_id, task_of(delivery_id), result="queued", headline=NO_WORKER)
