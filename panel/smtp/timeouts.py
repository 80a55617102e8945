"""How long a session waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. Each wait has a fixed end, however slowly octets drip in; RFC 5321 section 4.5.3.2 is the measure.

    `open` bounds everything from the look-up to the end of AUTH together, `session` everything from `open()` on but
    QUIT; `connect` is for one address, `reply` for one reply, `data` for the 354, `body` for the letter's octets.
    """

    session: float | None = None
    open: float = 60
    resolve: float = 10
    connect: float = 15
    greeting: float = 45
    tls: float = 20
    reply: float = 120
    data: float = 120
    body: float = 180
    final_dot: float = 600
    quit: float = 5

    @classmethod
    def for_test(cls) -> "Timeouts":
        """Return those of a connection test, which a person watches: it is over within 20 seconds."""
        return cls(session=17, open=15, resolve=5, connect=6, greeting=9, tls=6, reply=9, quit=2)
