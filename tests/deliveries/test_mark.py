"""The mark of an installation: which database is the one that was here before, and which is an older one."""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, update

from panel import db, mark
from panel.blasts import service as blasts
from panel.blasts.models import Blast
from panel.blasts.service import ask_about_due
from panel.deliveries import restored
from panel.deliveries import service as deliveries
from panel.mark import Installation
from panel.outbox.models import Delivery
from tests.deliveries.conftest import Post


class Marks:
    """The ticker's rounds, and the marks wherever they are."""

    def __init__(self, post: Post, redis_client: redis.Redis) -> None:
        self.post = post
        self._redis = redis_client

    @property
    def file(self) -> Path:
        return self.post.world.settings.data_dir / mark.FILE

    def turn(self) -> bool:
        with self.post.world.app.app_context():
            return deliveries.may_go_on(blasts_wait=blasts.is_any_scheduled)

    def may_send(self) -> bool:
        with self.post.world.app.app_context(), db.system_scope("tests"):
            return mark.may_send()

    def restart(self) -> None:
        """Other processes, which have seen nothing yet."""
        self.post.world.reconfigure()

    def flush_redis(self) -> None:
        self._redis.flushdb()

    def lose_file(self) -> None:
        self.file.unlink()

    def row(self) -> Installation:
        with db.system_scope("tests") as session:
            return session.scalars(select(Installation)).one()

    def back_to(self, generation: int) -> None:
        """As if a backup of that time had been restored."""
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Installation).values(generation=generation))

    def because(self) -> str | None:
        with db.system_scope("tests"):
            stopped = mark.stop()
        return stopped.because if stopped else None


@pytest.fixture
def marks(post: Post, redis_client: redis.Redis) -> Marks:
    """An installation that has sent a letter, and whose ticker has gone round a few times."""
    made = Marks(post, redis_client)
    post.welcome()
    post.send()
    assert len(post.platform.messages) == 1
    for _ in range(3):
        assert made.turn()
    return made


def test_a_first_start_goes_on(post: Post, redis_client: redis.Redis):
    marks = Marks(post, redis_client)
    assert marks.may_send()  # before any ticker
    assert marks.turn()
    assert marks.may_send()
    assert json.loads(marks.file.read_text()) == {"uid": str(marks.row().uid), "generation": 1}
    assert redis_client.get(mark.KEY) == marks.file.read_bytes()


def test_an_installation_that_is_updated_goes_on(post: Post, redis_client: redis.Redis):
    # It has sent before, and had no mark then.
    post.welcome()
    post.send()
    assert Marks(post, redis_client).turn()


def test_either_mark_is_enough(marks: Marks):
    marks.flush_redis()
    marks.restart()
    assert marks.may_send()
    assert marks.turn()
    marks.lose_file()  # another machine, with the same Redis
    marks.restart()
    assert marks.may_send()
    assert marks.turn()
    assert marks.file.exists()


def test_whoever_has_no_mark_waits_for_the_tickers_word(marks: Marks):
    # A worker on another machine, just after Redis was emptied.
    content = marks.file.read_text()
    marks.flush_redis()
    marks.lose_file()
    marks.restart()
    assert not marks.may_send()
    marks.file.write_text(content)
    assert marks.turn()
    assert marks.may_send()


@pytest.mark.parametrize("lost", ["redis", "file", "neither"])
def test_an_older_database_sends_nothing(marks: Marks, lost: str):
    if lost == "redis":
        marks.flush_redis()
    if lost == "file":
        marks.lose_file()
    marks.restart()
    marks.back_to(1)
    number = marks.post.join("late@friends.test")[0]
    marks.post.send()  # before the ticker has noticed
    assert len(marks.post.platform.messages) == 1
    assert not marks.turn()
    assert marks.because() == mark.OLDER
    marks.post.send()
    assert len(marks.post.platform.messages) == 1
    assert marks.post.get(number).state == "queued"
    assert not marks.turn()  # nor does time make it right


def test_an_older_database_under_processes_that_run_sends_nothing(marks: Marks):
    assert marks.may_send()
    marks.flush_redis()
    marks.lose_file()
    marks.back_to(1)
    assert not marks.may_send()
    assert not marks.turn()
    assert marks.because() == mark.OLDER


def test_a_database_that_has_sent_and_that_nobody_knows_asks(marks: Marks):
    marks.flush_redis()
    marks.lose_file()
    marks.restart()
    assert not marks.turn()
    assert marks.because() == mark.UNKNOWN
    assert not marks.may_send()


@pytest.mark.parametrize("what", ["a letter", "a blast"])
def test_a_database_in_which_something_waits_and_that_nobody_knows_asks(
    post: Post, redis_client: redis.Redis, what: str
):
    """A dump of before the very first sending: what waits in it may have gone out since."""
    marks = Marks(post, redis_client)
    assert marks.turn()
    if what == "a letter":
        post.welcome()
    else:
        with post.world.acme_scope():
            blasts.schedule(blasts.create(post.campaign_id).id, db.now() + dt.timedelta(days=1))
    marks.flush_redis()
    marks.lose_file()
    marks.restart()
    assert not marks.turn()
    assert marks.because() == mark.UNKNOWN
    post.send()
    assert post.platform.messages == []


def test_a_first_round_that_was_broken_off_asks_nobody(post: Post, redis_client: redis.Redis):
    marks = Marks(post, redis_client)
    assert marks.turn()
    marks.flush_redis()
    marks.lose_file()
    marks.restart()
    assert marks.turn()


def test_another_installations_marks_do_not_vouch(marks: Marks):
    text = json.dumps({"uid": str(uuid.uuid4()), "generation": 9_999})
    marks.file.write_text(text)
    marks.flush_redis()
    marks.restart()
    assert not marks.turn()
    assert marks.because() == mark.UNKNOWN


def test_a_backup_of_before_the_first_round_asks(marks: Marks):
    with db.system_scope("tests"), db.transaction() as session:
        session.delete(session.scalars(select(Installation)).one())
    marks.restart()
    assert not marks.may_send()
    assert not marks.turn()
    assert marks.because() == mark.UNKNOWN


def test_a_damaged_mark_is_none(marks: Marks):
    marks.file.write_text('{"uid": 1')
    marks.restart()
    assert marks.turn()  # Redis knows


def test_a_new_database_beside_old_marks_goes_on(post: Post, redis_client: redis.Redis):
    # As when somebody begins anew with the same Redis: it has nothing that was sent.
    marks = Marks(post, redis_client)
    marks.file.write_text(json.dumps({"uid": str(uuid.uuid4()), "generation": 7}))
    assert marks.turn()
    assert marks.may_send()


def test_two_tickers_do_no_harm(marks: Marks):
    other = Marks(marks.post, marks._redis)
    for _ in range(3):
        assert marks.turn()
        other.restart()
        assert other.turn()
    assert marks.row().generation == 9


def test_a_mark_that_cannot_be_written_anywhere_stops_nothing(marks: Marks):
    marks.restart()
    # A file where the folder should be.
    folder = marks.post.world.settings.data_dir
    marks.post.world.reconfigure(OWNPOST_DATA_DIR=str(folder / mark.FILE))
    assert marks.turn()
    assert marks.may_send()


def _restored(marks: Marks) -> tuple[int, int]:
    """A letter that waited in the backup, and one that came in since."""
    old = marks.post.join("old@friends.test")[0]
    marks.back_to(1)
    assert not marks.turn()
    new = marks.post.join("new@friends.test")[0]
    return old, new


def _stop(marks: Marks) -> mark.Stop:
    with db.system_scope("tests"):
        found = mark.stop()
    assert found is not None
    return found


def test_a_person_says_that_nothing_was_sent(marks: Marks):
    old, new = _restored(marks)
    with marks.post.world.app.app_context(), db.system_scope("tests"):
        assert restored.doubtful(_stop(marks)) == 1
        restored.go_on()
    assert marks.turn()
    marks.post.send()
    assert [marks.post.get(number).state for number in (old, new)] == ["sent", "sent"]
    assert marks.row().stopped_at is None
    marks.restart()
    assert marks.turn()
    assert marks.may_send()


def test_a_person_has_what_may_have_been_sent_canceled(marks: Marks):
    old, new = _restored(marks)
    with marks.post.world.app.app_context(), db.system_scope("tests"):
        assert restored.cancel_due(_stop(marks)) == 1
        restored.go_on()
    assert marks.turn()
    marks.post.send()
    assert [marks.post.get(number).state for number in (old, new)] == ["canceled", "sent"]
    page = marks.post.world.client(marks.post.world.owner).get(f"/deliveries/{old}").get_data(as_text=True)
    assert "It may have been sent since the backup was made." in page
    assert f"/deliveries/{old}/resend" in page


def test_what_was_leaving_when_the_backup_was_made_becomes_uncertain(marks: Marks):
    old = marks.post.join("old@friends.test")[0]
    with db.system_scope("tests"), db.transaction() as session:
        leaving = update(Delivery).where(Delivery.id == old)
        session.execute(leaving.values(state="sending", lease_owner="gone", lease_until=db.clock(-60)))
    marks.back_to(1)
    assert not marks.turn()
    with marks.post.world.app.app_context(), db.system_scope("tests"):
        assert restored.cancel_due(_stop(marks)) == 0
        restored.go_on()
    marks.post.world.tick()
    assert marks.post.get(old).state == "uncertain"


def test_a_blast_whose_time_has_come_meanwhile_asks_its_owner(marks: Marks):
    with marks.post.world.acme_scope():
        blast = blasts.create(marks.post.campaign_id)
        blasts.schedule(blast.id, db.now())
    with db.system_scope("tests"):
        assert ask_about_due() == 1
    marks.post.world.tick()
    with marks.post.world.acme_scope() as session:
        assert session.get_one(Blast, blast.id).state == "asking"


def test_the_pages_and_the_machines_are_told(marks: Marks):
    client = marks.post.world.app.test_client()
    _restored(marks)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["sending"] == "stopped: restored"
    home = marks.post.world.client(marks.post.world.owner).get("/").get_data(as_text=True)
    assert "Nothing is sent at the moment" in home


def test_a_backup_is_looked_at_before_any_ticker_has_run(marks: Marks):
    old = marks.post.join("old@friends.test")[0]
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Installation).values(stopped_at=db.now(), stopped_because=mark.BACKUP))
    with marks.post.world.app.app_context(), db.system_scope("tests"):
        assert restored.doubtful(_stop(marks)) == 1
        assert restored.cancel_due(_stop(marks)) == 1
        restored.go_on()
    assert marks.post.get(old).state == "canceled"
    assert marks.turn()


def stopped_as_unknown(marks: Marks) -> None:
    marks.flush_redis()
    marks.lose_file()
    marks.restart()
    assert not marks.turn()
    assert marks.because() == mark.UNKNOWN


def test_what_a_person_released_while_the_ticker_looked_stays_released(marks: Marks, monkeypatch: pytest.MonkeyPatch):
    stopped_as_unknown(marks)
    real = mark._Outside.of

    def of(outside: mark._Outside, uid: uuid.UUID | None, *, fresh: bool = False) -> int | None:
        found = real(outside, uid, fresh=fresh)
        monkeypatch.setattr(mark._Outside, "of", real)
        person = threading.Thread(target=release, args=(marks,))
        person.start()
        person.join(10)
        assert not person.is_alive()
        return found

    # It has seen that nobody knows the database, and has yet to read the row.
    monkeypatch.setattr(mark._Outside, "of", of)
    # The command is a process of its own: what it has seen, the ticker's has not.
    monkeypatch.setattr(mark._Outside, "note", lambda *_: None)
    assert marks.turn()
    assert marks.because() is None


def test_a_database_that_a_person_released_is_known_before_it_may_send(marks: Marks, monkeypatch: pytest.MonkeyPatch):
    stopped_as_unknown(marks)
    real, still = mark._tell, list[str | None]()

    def tell(uid: uuid.UUID, generation: int) -> None:
        real(uid, generation)
        other = threading.Thread(target=lambda: still.append(marks.because()))
        other.start()
        other.join(10)

    monkeypatch.setattr(mark, "_tell", tell)
    release(marks)
    assert still == [mark.UNKNOWN]
    assert marks.because() is None
    assert marks.turn()


def release(marks: Marks) -> None:
    with marks.post.world.app.app_context(), db.system_scope("tests"):
        mark.release()
