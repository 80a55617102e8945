"""The delivery queue's job."""

from __future__ import annotations

from panel.deliveries import service as deliveries


def drain() -> None:
    """Sends what is due; rung by whoever queued something, by the ticker, and by itself while more is due."""
    deliveries.drain()
