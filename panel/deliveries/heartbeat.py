"""Renews a worker's leases while it talks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Heartbeat:
    """Calls `renew` four times a lease, from a thread of its own, until it is left."""

    def __init__(self, renew: Callable[[], None], lease: float) -> None:
        self._renew = renew
        self._every = lease / 4
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            started = time.monotonic()
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - a beat that fails is followed by another; leases are long
                log.warning("leases not renewed", error=type(error).__name__, after=time.monotonic() - started)
