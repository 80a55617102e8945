"""Waiting for something to come true, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 10.0, *, what: str = "the condition") -> T:
    """Calls `condition` until it returns something true, and returns that.

    `timeout` is in seconds. Raises TimeoutError, with `what` in its text, when time is up.
    """
    end = time.monotonic() + timeout
    pause = 0.001
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise TimeoutError(f"{what} did not come true within {timeout:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
