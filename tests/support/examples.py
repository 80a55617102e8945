"""How many examples property-based tests try, and which.

The suite tries the same ones each time, so that it passes or fails for a reason. `RANDOM_EXAMPLES=50` tries fifty times
as many, and others each time: for whoever has changed what they are about.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("RANDOM_EXAMPLES", "0"))


def install() -> None:
    """Sets what holds for all such tests."""
    settings.register_profile("ownpost", derandomize=not _TIMES, database=None, deadline=None, print_blob=bool(_TIMES))
    settings.load_profile("ownpost")


def examples(count: int) -> settings:
    """Settings of a test that tries so many examples in the suite."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much] if _TIMES else []
    return settings(max_examples=count * (_TIMES or 1), suppress_health_check=slow)
