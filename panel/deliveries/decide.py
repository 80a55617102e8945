"""What becomes of a delivery after an attempt. Nobody here reads SMTP text: the engine says what an answer is about."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass

from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Renewal, Verdict

# Waits after the first, second, … temporary refusal, in seconds: 1, 5, 15, 30 min, 1, 2 h, then every 4 h.
SCHEDULE = (60, 300, 900, 1800, 3600, 7200, 14_400)
GIVE_UP_AFTER = dt.timedelta(hours=72)
JITTER = 0.1

# A connection that broke before the letter can have left sent nothing; it is tried again soon.
AFTER_A_BREAK = 15.0
# The first rests of a server that does not work, in seconds; each is twice as long as the one before.
FIRST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0
FAILURES_BEFORE_PAUSE = 5
# A limit by the second or the minute is waited for without holding anything.
SHORT_RESTS = {Renewal.SECOND: 5.0, Renewal.MINUTE: 60.0}
SHORT_REST = 90.0
# The platform server is all accounts' own: what is wrong with it is the operator's to mend, and letters wait a minute.
PLATFORM_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The delivery's next state.

    `wait` is how long until the next attempt, in seconds, for `deferred` and `queued`. `spent` says whether the attempt
    counts against the delivery. `pause` says why its server should rest, if it should: "rate" for a moment, in which
    nothing is held, else one of the reasons of `panel.servers.pauses`.
    """

    state: str
    reason: str | None = None
    wait: float | None = None
    spent: bool = True
    pause: str | None = None


def decide(
    outcome: Outcome, *, attempts: int, trying: dt.timedelta, began: bool, own_server: bool, misfit: bool = False
) -> Decision:
    """Turns an outcome into a decision.

    attempts: how many were spent before this one; trying: see `trying_time`; began: whether the body may have begun to
    flow (the row says `sending`); own_server: whether it is the account's, which may be paused; misfit: whether what
    the server said of itself is about this letter (`misfits.py`).
    """
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return Decision("sent")
        case Verdict.UNKNOWN:
            # A server that dies at each final dot would make a whole campaign uncertain. A shutdown is not its doing.
            blamed = own_server and outcome.failure is not FailureCode.CANCELED
            return Decision("uncertain", "no_reply", pause="server" if blamed else None)
    # What broke after the body began goes back to its queue; a row that never said `sending` stays what it was.
    broke = "queued" if began and outcome.verdict is Verdict.NOT_SENT else "deferred"
    if outcome.failure is FailureCode.CANCELED:
        return Decision(broke, "interrupted", wait=0.0, spent=False)
    if misfit:
        return _not_now(outcome, attempts=attempts, trying=trying)
    if outcome.about in (About.SERVER, About.CREDENTIALS, About.QUOTA, About.SENDER):
        return _about_the_server(outcome, broke=broke) if own_server else _about_the_platform(outcome, broke=broke)
    if outcome.verdict is Verdict.PERMANENT:
        return Decision("failed", _reason(outcome))
    if outcome.verdict is Verdict.NOT_SENT:
        return Decision(broke, _reason(outcome), wait=AFTER_A_BREAK, spent=False)
    return _not_now(outcome, attempts=attempts, trying=trying)


def _not_now(outcome: Outcome, *, attempts: int, trying: dt.timedelta) -> Decision:
    if trying > GIVE_UP_AFTER:
        return Decision("failed", "gave_up")
    return Decision("deferred", _reason(outcome), wait=max(wait_after(attempts), outcome.come_back or 0.0))


def trying_time(*, since: dt.datetime | None, held_at: dt.datetime | None, now: dt.datetime) -> dt.timedelta:
    """How long a delivery has been trying on its own account: since its first temporary refusal, holds left out."""
    if since is None:
        return dt.timedelta(0)
    return max(dt.timedelta(0), min(now, held_at or now) - since)


def _about_the_platform(outcome: Outcome, *, broke: str) -> Decision:
    return Decision(broke, _reason(outcome), wait=PLATFORM_PAUSE, spent=False)


def _about_the_server(outcome: Outcome, *, broke: str) -> Decision:
    # None of these is the recipient's doing: the letter waits, and no attempt is spent.
    if outcome.about is About.QUOTA:
        short = short_rest(outcome)
        if short is not None:
            return Decision(broke, "quota", wait=short, spent=False, pause="rate")
        return Decision("held", "quota", spent=False, pause="quota")
    mend = _to_be_mended(outcome)
    if mend is not None:
        return Decision("held", mend, spent=False, pause=mend)
    return Decision(broke, _reason(outcome), wait=AFTER_A_BREAK, spent=False, pause="server")


def _to_be_mended(outcome: Outcome) -> str | None:
    """What only a person can mend, if that is what it is."""
    if outcome.failure is FailureCode.DESTINATION_NOT_ALLOWED:
        return "destination_not_allowed"
    if outcome.verdict is not Verdict.PERMANENT:
        return None
    if outcome.about is About.CREDENTIALS:
        # The server was not even dialled: there is no password to sign in with.
        return "password_unreadable" if outcome.phase is Phase.CLOSED else "credentials"
    return "sender_refused" if outcome.about is About.SENDER else None


def short_rest(outcome: Outcome) -> float | None:
    """How many seconds a quota takes to renew, if it is so short that nothing need be held."""
    wait = outcome.come_back or SHORT_RESTS.get(outcome.renews or Renewal.UNKNOWN)
    return wait if wait is not None and wait <= SHORT_REST else None


def wait_after(attempts: int) -> float:
    """How long to wait after that many spent attempts and one more, in seconds, with 0–10 % added by chance."""
    base = SCHEDULE[min(attempts, len(SCHEDULE) - 1)]
    return base * (1 + random.random() * JITTER)  # noqa: S311 - spreads retries; nothing secret


def pause_length(failures: int) -> float:
    """How long a server rests after that many failures in a row, in seconds."""
    over = max(0, failures - FAILURES_BEFORE_PAUSE)
    return min(LONGEST_PAUSE, FIRST_PAUSE * float(1 << min(over, 10)))


def _reason(outcome: Outcome) -> str:
    return str(outcome.failure or outcome.about)
