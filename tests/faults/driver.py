"""Drives real processes of Ownpost against a sink: starts them, does things to them, and waits for what must come."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from sqlalchemy import func, select, text, update

from panel import db
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.events.models import Event
from panel.outbox.models import Attempt, Delivery
from panel.participants import service as participants
from panel.servers.models import MailServer
from tests.deliveries.conftest import Post
from tests.faults.sink import Sink
from tests.faults.zygote import Zygote
from tests.support.wait import wait_for

LETTERS = 200
WORKERS = 4
LEASE = 2.0
LONG_LEASE = 30.0
"""For tests in which no worker is lost: nothing may have to wait until a lease has lapsed."""
TICKER = 0.3
SEEDS = range(1, int(os.environ.get("OWNPOST_FAULT_SEEDS", "1")) + 1)
LONG = len(SEEDS) > 1
"""Whether this is the long run of `make faults`."""

UNSETTLED = ("queued", "sending", "deferred", "held")


@dataclass(slots=True)
class Process:
    """An `ownpost` process; a worker says EHLO with its name."""

    name: str
    arguments: tuple[str, ...]
    pid: int
    poll: Callable[[], int | None]

    @property
    def running(self) -> bool:
        return self.poll() is None

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP; returns once the kernel has stopped all its threads."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self._state() in "TZX", 5, what=f"{self.name} to stop")

    def _state(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    def wait(self, timeout: float) -> int:
        wait_for(lambda: self.poll() is not None, timeout, what=f"the end of {self.name}")
        code = self.poll()
        assert code is not None
        return code


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done to one worker's process, or to all workers at once; it may cost its open connections' letters."""

    what: str
    at: float
    until: float = math.inf
    worker: str | None = None


@dataclass
class Rig:
    """Acme's campaign, a sink as its own server, and `ownpost` processes that send."""

    post: Post
    sink: Sink
    zygote: Zygote
    redis: redis.Redis
    folder: Path
    lease: float = LEASE
    environ: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    gone: list[Process] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    restarts: int = 0
    began: float = field(default_factory=time.monotonic)

    # Processes

    def start(self, *arguments: str, name: str = "", **environ: str) -> Process:
        """Starts an `ownpost` process."""
        name = name or f"{arguments[0]}-{len(self.processes)}"
        env = {
            **os.environ, **self.post.world.environ, "OWNPOST_EHLO_NAME": f"{name}.test", "OWNPOST_SLICE_SECONDS": "20",
            "OWNPOST_LEASE_SECONDS": f"{self.lease:g}", "OWNPOST_TICKER_SECONDS": f"{TICKER:g}",
            **self.environ, **environ,
        }  # fmt: skip
        log = self.folder / "processes.log"
        if LONG:
            # As systemd would: an interpreter of its own.
            with log.open("ab") as out:
                command = [sys.executable, "-m", "panel.cli", *arguments]
                popen = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
            process = Process(f"{name}.test", arguments, popen.pid, popen.poll)
        else:
            pid = self.zygote.start(*arguments, environ=env, log=log)
            process = Process(f"{name}.test", arguments, pid, lambda: self.zygote.poll(pid))
        self.processes.append(process)
        return process

    def worker(self, **environ: str) -> Process:
        """Starts a delivery worker."""
        return self.start("worker", "--queue", "delivery", **environ)

    def crew(self, count: int = WORKERS) -> list[Process]:
        """Starts the ticker and some delivery workers; returns these."""
        self.start("ticker")
        return [self.worker() for _ in range(count)]

    def workers(self) -> list[Process]:
        """The delivery workers that run."""
        return [one for one in self.processes if one.arguments[0] == "worker" and one.running]

    def named(self, name: str) -> Process:
        """The process that says EHLO with this name. What it had written may be heard when it is gone."""

        def find() -> Process | None:
            return next((one for one in (*self.processes, *self.gone) if one.name == name), None)

        # It may have said so before whoever started it has it in the list.
        return wait_for(find, what=name)

    def kill(self, process: Process) -> None:
        """kill -9."""
        self.note("kill -9", process)
        process.signal(signal.SIGKILL)
        process.wait(10)

    def note(self, what: str, process: Process | None = None, *, since: float | None = None) -> None:
        """Remembers what is about to be done to this process, or what was done to all until now."""
        now = time.time()
        if process is not None:
            self.deeds.append(Deed(what, now, worker=process.name))
        else:
            self.deeds.append(Deed(what, since or now, until=now))

    def open_connections(self) -> int:
        """How many connections there were whose letters may have become uncertain by what was done."""
        return sum(self.sink.open_between(deed.at, deed.until, deed.worker) for deed in self.deeds)

    def restart_dead(self) -> None:
        """What `ownpost up` and systemd do: starts again what has died."""
        for process in list(self.processes):
            if not process.running:
                self.gone.append(process)
                self.processes.remove(process)
                self.start(*process.arguments, name=f"again-{self.restarts}")
                self.restarts += 1

    def close(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(10)

    # Letters

    def queue(self, count: int = LETTERS, *, prefix: str = "p") -> None:
        """Queues so many welcomes, each to somebody else, by the services that an event goes through."""
        with self.post.world.acme_scope(), db.transaction():
            self._owners_note_off()
            for number in range(count):
                self._join(f"{prefix}{number}@friends.test")

    def _owners_note_off(self) -> None:
        note = next(one for one in campaigns.notifications(self.post.campaign_id) if one.kind == "new_referrer")
        if note.enabled:
            campaigns.switch(note.id, enabled=False)

    def _join(self, email: str) -> None:
        campaign = campaigns.get(self.post.campaign_id)
        person, _ = participants.ensure_referrer(campaign.id, email, "Robin", "Meyer")
        event = Event(
            id=uuid.uuid4(), account_id=db.account_id(), campaign_id=campaign.id, type="referrer.joined",
            natural_key=str(uuid.uuid4()), payload={}, occurred_at=db.now(),
        )  # fmt: skip
        db.session().add(event)
        db.session().flush()
        deliveries.queue_for(campaign=campaign, event_id=event.id, event_type="referrer.joined", referrer=person)

    def states(self) -> Counter[str]:
        """How many of the campaign's deliveries are in each state."""
        wanted = select(Delivery.state, func.count()).where(Delivery.kind != "system", Delivery.state != "canceled")
        with db.system_scope("tests") as session:
            return Counter({row[0]: row[1] for row in session.execute(wanted.group_by(Delivery.state))})

    def states_by_recipient(self) -> dict[str, str]:
        """The state of each recipient's delivery."""
        wanted = select(Delivery.to_address, Delivery.state).where(Delivery.kind != "system")
        with db.system_scope("tests") as session:
            return {row[0]: row[1] for row in session.execute(wanted)}

    def story(self, recipient: str) -> str:
        """What is known of the delivery to this address, for somebody who has to find out what went wrong."""
        with db.system_scope("tests") as session:
            row = session.scalars(select(Delivery).where(Delivery.to_address == recipient)).one()
            attempts = session.scalars(select(Attempt).where(Attempt.delivery_id == row.id).order_by(Attempt.fence))
            tries = [(one.fence, one.started_at, one.ended_at, one.phase, one.outcome, one.reply) for one in attempts]
            bodies = [body for body in self.sink.bodies if body.recipient == recipient]
            return f"{row.id}: {row.state}, {row.reason}, fence {row.fence}; {tries}; {bodies}"

    def letters_to_owner(self) -> list[str]:
        """The subjects of what the platform has written to the owner."""
        with db.system_scope("tests") as session:
            found = session.scalars(select(Delivery).where(Delivery.kind == "system").order_by(Delivery.id))
            return [row.values["subject"] for row in found]

    def server(self) -> MailServer:
        """Acme's own server, as it is stored now."""
        with self.post.world.acme_scope() as session:
            return session.scalars(select(MailServer)).one()

    def unsettled(self) -> int:
        """How many deliveries may still go out by themselves."""
        states = self.states()
        return sum(states[state] for state in UNSETTLED)

    def wait_for_accepted(self, count: int, timeout: float = 90) -> None:
        """Waits until the sink has taken so many letters."""
        wait_for(lambda: len(self.sink.accepted) >= count, timeout, what=f"{count} letters; {self._account()}")

    def wait_until_settled(self, timeout: float = 120, *, but: int = 0, time_passes: bool = False) -> None:
        """Waits until no delivery (but so many) may still go out by itself, starting again whatever has died.

        time_passes: the waits of minutes that a server's refusals bring are over at once.
        """
        end = time.monotonic() + timeout
        while self.unsettled() > but:
            self.restart_dead()
            if time.monotonic() > end:
                raise TimeoutError(f"not settled within {timeout:g} s: {self._account()}")
            if time_passes:
                self.pass_time()
            time.sleep(0.2 if time_passes else 0.05)

    def go_on(self, seconds: float) -> None:
        """Lets a fault last so long, starting again whatever it kills."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.restart_dead()
            time.sleep(0.1)

    def _account(self) -> str:
        log = self.folder / "processes.log"
        tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        return f"{dict(self.states())}, {len(self.sink.accepted)} accepted, {self.deeds}\n{tail}"

    # Time

    def pass_time(self, *, but: Collection[uuid.UUID] = (), rests: bool = True) -> None:
        """As if enough time had gone by for whatever waits: for its next attempt, or for a server's rest to end.

        but: accounts for which no time goes by; rests: whether servers' rests end, too.
        """
        waits = (Delivery.state.in_(("queued", "deferred")), Delivery.next_attempt_at > db.clock())
        # Never waits for a row that somebody has locked: workers lock them in an order of their own.
        free = select(Delivery.id).where(*waits, Delivery.account_id.not_in(but)).with_for_update(skip_locked=True)
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(
                update(Delivery)
                .where(Delivery.id.in_(list(session.scalars(free))))
                .values(next_attempt_at=db.clock(-1))
                .execution_options(synchronize_session=False)
            )
            if rests:
                session.execute(
                    update(MailServer)
                    .where(MailServer.paused_until > db.clock(), MailServer.account_id.not_in(but))
                    .values(paused_until=db.clock(-1))
                    .execution_options(synchronize_session=False)
                )

    def shorten_rests(self, most: float) -> None:
        """Servers that rest for longer than `most` seconds rest no longer than that, each for a time of its own."""
        with db.system_scope("tests"), db.transaction() as session:
            longer = select(MailServer.id).where(MailServer.paused_until > db.clock(most)).with_for_update()
            resting = list(session.scalars(longer))
            for number, one in enumerate(resting, 1):
                until = db.clock(most * number / len(resting))
                session.execute(
                    update(MailServer)
                    .where(MailServer.id == one)
                    .values(paused_until=until)
                    .execution_options(synchronize_session=False)
                )

    def jump(self, seconds: float) -> None:
        """The database's clock jumps ahead, or back. It is the times stored that move, the other way, which is the same
        to all who compare them with the clock."""
        columns = {"deliveries": ("lease_until", "next_attempt_at"), "mail_servers": ("paused_until",)}
        path = self.sqlite_path()
        for table, names in columns.items():
            if path is not None:
                moved = "strftime('%Y-%m-%d %H:%M:%f000', {}, ?1 || ' seconds')"
                changes = ", ".join(f"{name} = {moved.format(name)}" for name in names)
                with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
                    connection.execute(f"UPDATE {table} SET {changes}", (-seconds,))
                continue
            changes = ", ".join(f"{name} = {name} + make_interval(secs => :by)" for name in names)
            with db.engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                # Row by row, each for itself: workers lock them in an order of their own.
                for (row,) in connection.execute(text(f"SELECT id FROM {table}")).all():
                    moving = text(f"UPDATE {table} SET {changes} WHERE id = :row")
                    connection.execute(moving, {"by": -seconds, "row": row})

    def sqlite_path(self) -> Path | None:
        """The database's file, if it is SQLite."""
        url = self.post.world.settings.database_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else None

    def database_is_free(self) -> bool:
        """Whether nobody holds SQLite's one write lock. On PostgreSQL whoever is frozen loses its locks."""
        path = self.sqlite_path()
        if path is None:
            return True
        with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
        return True

    def change(self, email: str, **values: object) -> None:
        """Changes the row of the delivery to this address by hand."""
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Delivery).where(Delivery.to_address == email).values(**values))
