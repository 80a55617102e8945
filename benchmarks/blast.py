"""How soon a blast to everybody in a campaign is queued."""

from __future__ import annotations

import time

from sqlalchemy import func, select

from benchmarks import letter
from benchmarks.figures import Line, spread
from benchmarks.ground import Ground, SqliteStore, opened
from benchmarks.sending import Bench
from panel import db
from panel.blasts import service as blasts
from panel.blasts.audience import Audience
from panel.message.drafting import Words
from panel.outbox.service import Delivery

_GOAL = 2.0  # seconds, on SQLite


def queued(bench: Bench) -> list[Line]:
    """The one transaction that makes the deliveries of a blast; with a goal on SQLite only."""
    count, lines = bench.sizes.blast, []
    for store in bench.stores:
        laid = store.lay("blast", port=9, people=count, letters=0)
        seconds = [_send(store.fresh("blast", laid), count) for _ in range(bench.sizes.turns)]
        bench.say(f"{store.kind}: {spread(seconds, '.2f')} s")
        has_goal = store.kind == SqliteStore.kind
        lines.append(
            Line(
                what=f"a blast to {count:,} participants queued, {store.kind}",
                goal=f"≤ {_GOAL:g} s" if has_goal else "",
                figure=f"{spread(seconds, '.2f')} s",
                reached=sorted(seconds)[len(seconds) // 2] <= _GOAL if has_goal else None,
                detail="`blasts.service.send`: one transaction, suppressions looked at",
                samples={"seconds": seconds},
            )
        )
    return lines


def _send(ground: Ground, count: int) -> float:
    words = Words(
        subject=letter.ours(letter.SUBJECT),
        preheader="",
        html=letter.ours(letter.HTML),
        text=letter.ours(letter.TEXT),
    )
    with opened(ground.environ), db.account_scope(ground.account_id) as session:
        blast = blasts.create(ground.campaign_id)
        blasts.save(blast.id, words, Audience(who="referrers"))
        began = time.perf_counter()
        if not blasts.send(blast.id):
            raise RuntimeError("the blast was not sent")
        seconds = time.perf_counter() - began
        made = session.scalar(select(func.count()).select_from(Delivery).where(Delivery.blast_id == blast.id))
    if made != count:
        raise RuntimeError(f"a blast to {count} people made {made} deliveries")
    return seconds
