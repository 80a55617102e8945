"""Who acts at this moment: said at the door (a page, the API, a command), heard by the audit log.

Whoever changes something need not hand through who wanted it; what no door has opened is the program's own doing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

USER: Final = "user"
KEY: Final = "key"
OPERATOR: Final = "operator"
VISITOR: Final = "visitor"
PROGRAM: Final = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """`name` is what a person reads: an address, a key's label, the operator's login; never a secret."""

    kind: str
    name: str = ""
    user_id: uuid.UUID | None = None
    ip: str = ""


_PROGRAM: Final = Actor(kind=PROGRAM)
_actor: ContextVar[Actor] = ContextVar("ownpost_actor", default=_PROGRAM)


def current() -> Actor:
    """Who acts."""
    return _actor.get()


@contextmanager
def acting(who: Actor) -> Iterator[None]:
    """What is done in here is done by them."""
    token = _actor.set(who)
    try:
        yield
    finally:
        _actor.reset(token)
