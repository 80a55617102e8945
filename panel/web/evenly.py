"""Answers that take the same time whatever came of them, so that the time tells nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_LEAST = 0.3
"""Seconds: more than the work behind such an answer takes."""


def evenly(view: Callable[P, T]) -> Callable[P, T]:
    """Lets the view's answer, or its error, wait until `AT_LEAST` has passed. The view must hold no connection then."""

    @wraps(view)
    def slowly(*args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            return view(*args, **kwargs)
        finally:
            time.sleep(max(0.0, began + AT_LEAST - time.monotonic()))

    return slowly
