"""Test connection: what is in the form is tested by a worker and shown step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jobs import connection_test
from panel import live, livesteps
from panel.servers import testing
from tests.servers.conftest import PASSWORD, Mail, audit, result, steps
from tests.support.mailserver import MailServer as RealServer
from tests.support.mailserver import Peer
from tests.support.wait import wait_for

ORDER = ["resolve", "connect", "greeting", "tls", "hello", "auth", "sender", "recipient", "quit"]


def stall_after_greeting(peer: Peer) -> None:
    peer.greet("STARTTLS")
    peer.stall()


def ask(mail: Mail, port: int, **changed: Any) -> str:
    """Presses *Test connection*, with no worker there, and returns the task."""
    mail.browser.get(mail.url)
    answer = mail.browser.post(mail.url, {**mail.fields(port), **changed, "action": "test"})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return str(answer.location.rpartition("/")[2])


@contextmanager
def working(mail: Mail, task: str) -> Iterator[threading.Thread]:
    """A worker that does the test while the block goes on."""

    def work() -> None:
        with mail.world.app.app_context():
            connection_test.run(str(mail.world.acme.id), task)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def running_step(mail: Mail, task: str, step: str) -> bool:
    snapshot = live.latest(mail.world.acme.id, task)
    assert snapshot is not None
    return any(one["step"] == step and one["state"] == "running" for one in snapshot.data["steps"])


def ended(mail: Mail, task: str) -> dict[str, Any]:
    snapshot = live.latest(mail.world.acme.id, task)
    assert snapshot is not None
    assert snapshot.over
    return snapshot.data


def test_it_shows_each_step_in_order(mail: Mail, real: RealServer) -> None:
    task = ask(mail, real.port)
    mail.world.work("interactive")

    page = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)
    assert list(steps(page)) == ORDER
    assert set(steps(page).values()) == {("ok", None)}
    assert result(page) == "ok"
    assert "TLS 1.3, certificate valid until" in page
    assert real.messages == []


def test_it_streams_the_steps_as_they_happen(mail: Mail, real: RealServer) -> None:
    answer = mail.press("test", real.port)

    stream = mail.browser.get(f"{answer.location}/stream").get_data(as_text=True)

    messages = [message for message in stream.split("\n\n") if "data-live-task" in message]
    assert len(messages) >= len(ORDER)
    assert all("id: " in message for message in messages)
    assert [result(message) for message in messages] == [None] * (len(messages) - 1) + ["ok"]
    assert "event: done" in stream
    assert steps(messages[0]) == {}
    assert "Look up the server’s name" in messages[0]


def test_it_resumes_a_stream_where_it_was(mail: Mail, real: RealServer) -> None:
    answer = mail.press("test", real.port)
    whole = mail.browser.get(f"{answer.location}/stream").get_data(as_text=True)
    ids = [line.removeprefix("id: ") for line in whole.splitlines() if line.startswith("id: ")]

    rest = mail.browser.get(f"{answer.location}/stream", headers={"Last-Event-ID": ids[-2]}).get_data(as_text=True)

    assert [line.removeprefix("id: ") for line in rest.splitlines() if line.startswith("id: ")] == ids[-1:]


def test_it_asks_for_the_signed_in_persons_address_as_recipient(mail: Mail) -> None:
    asked: list[tuple[str, str]] = []

    def note(verb: str, argument: str) -> None:
        asked.append((verb, argument))

    with RealServer(security="none", answer=note) as server:
        mail.allow(server.port)
        mail.press("test", server.port, security="none", auth="none", username="", password="")

    assert asked == [("MAIL", "hello@acme.test"), ("RCPT", "owner@acme.test")]


def test_it_saves_nothing(mail: Mail, real: RealServer) -> None:
    mail.press("test", real.port)

    assert mail.server() is None
    assert mail.route().kind == "platform"


def test_it_marks_saved_settings_as_verified_when_they_pass(mail: Mail, real: RealServer) -> None:
    mail.drafted(real.port)
    assert mail.server().verified_at is None

    mail.press("test", real.port, password="")

    server = mail.server()
    assert server.verified_at is not None
    assert not server.enabled
    assert mail.confirmed()


@pytest.mark.parametrize(
    ("changed", "step", "code"),
    [
        ({"password": "wrong-canary"}, "auth", "auth_failed"),
        ({"security": "tls"}, "tls", "wrong_security"),
        ({"host": "127.0.0.2", "port": 587}, "resolve", "destination_not_allowed"),
        ({"host": "10.1.2.3", "port": 587}, "resolve", "destination_not_allowed"),
    ],
)
def test_it_says_what_failed_why_and_what_to_do(
    mail: Mail, real: RealServer, changed: dict[str, Any], step: str, code: str
) -> None:
    answer = mail.press("test", real.port, **changed)

    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert steps(page)[step] == ("failed", code)
    after = list(steps(page))[list(steps(page)).index(step) + 1 :]
    assert {steps(page)[later][0] for later in after} == {"skipped"}
    assert result(page) == "failed"
    assert "What to do:" in page
    assert f"#{code}" in page
    assert "wrong-canary" not in page
    assert audit(mail) == ["address.added"]


def test_it_shows_the_servers_own_words_cleaned(mail: Mail) -> None:
    def refuse(verb: str, _argument: str) -> str | None:
        return "550 5.7.1 <script>alert(1)</script> not you" if verb == "MAIL" else None

    with RealServer(security="none", answer=refuse) as server:
        mail.allow(server.port)
        answer = mail.press("test", server.port, security="none", auth="none", username="", password="")

    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert steps(page)["sender"] == ("failed", "sender_refused")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; not you" in page
    assert "<script>alert" not in page


def test_it_never_lets_the_password_out(
    mail: Mail, real: RealServer, redis_client: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    def everything_in_redis() -> bytes:
        values = []
        for key in redis_client.keys("*"):
            kind = redis_client.type(key)
            read = {
                b"string": redis_client.get,
                b"hash": redis_client.hgetall,
                b"list": lambda name: redis_client.lrange(name, 0, -1),
                b"set": redis_client.smembers,
                b"zset": lambda name: redis_client.zrange(name, 0, -1),
                b"stream": redis_client.xrange,
            }[kind]
            values.append(repr((key, read(key))).encode())
        return b"".join(values)

    task = ask(mail, real.port)
    before = everything_in_redis()
    assert b"jobs.connection_test.run" in before
    mail.work()
    page = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)
    stream = mail.browser.get(f"{mail.url}/tests/{task}/stream").get_data(as_text=True)
    mail.press("save", real.port)
    shown = mail.browser.get(mail.url).get_data(as_text=True)
    out, err = capfd.readouterr()

    assert result(page) == "ok"
    for place in (before.decode(), everything_in_redis().decode(), page, stream, shown, out, err):
        assert PASSWORD not in place


def test_it_ends_at_once_when_canceled(mail: Mail, scripted: Callable[..., Any]) -> None:
    with scripted(stall_after_greeting) as server:
        task = ask(mail, server.port)
        with working(mail, task):
            wait_for(lambda: running_step(mail, task, "tls"))
            answer = mail.browser.post(f"{mail.url}/tests/{task}/cancel", headers={"HX-Request": "true"})
            assert answer.status_code == 204

    data = ended(mail, task)
    assert data["result"] == "canceled"
    assert {step["state"] for step in data["steps"]} == {"ok", "canceled"}


def test_it_ends_by_itself_when_the_server_is_silent(mail: Mail, scripted: Callable[..., Any]) -> None:
    with scripted(stall_after_greeting) as server:
        mail.world.reconfigure(OWNPOST_TEST_DEADLINE_SECONDS="4", OWNPOST_SMTP_ALLOW=f"127.0.0.1:{server.port}")
        mail.browser = mail.world.client(mail.world.owner)
        task = ask(mail, server.port)
        mail.work()

    data = ended(mail, task)
    assert data["result"] == "failed"
    assert [step["code"] for step in data["steps"] if step["state"] == "failed"] == ["timed_out"]


def test_it_can_be_canceled_before_a_worker_begins(mail: Mail, real: RealServer) -> None:
    task = ask(mail, real.port)

    answer = mail.browser.post(f"{mail.url}/tests/{task}/cancel")

    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert result(page) == "canceled"
    mail.work()
    assert real.connections == 0


def test_it_ends_when_its_page_is_left(
    mail: Mail, scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "_COMES_BACK_WITHIN", 0.2)
    with scripted(stall_after_greeting) as server:
        task = ask(mail, server.port)
        with working(mail, task):
            wait_for(lambda: running_step(mail, task, "tls"))
            assert mail.browser.post(f"{mail.url}/tests/{task}/cancel", {"left": "1"}).status_code == 303

    assert ended(mail, task)["result"] == "canceled"


def test_it_goes_on_when_its_page_comes_back(
    mail: Mail, scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "_COMES_BACK_WITHIN", 60.0)
    with scripted(stall_after_greeting) as server:
        task = ask(mail, server.port)
        with working(mail, task) as worker:
            wait_for(lambda: running_step(mail, task, "tls"))
            mail.browser.post(f"{mail.url}/tests/{task}/cancel", {"left": "1"})
            page = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)
            monkeypatch.setattr(testing, "_COMES_BACK_WITHIN", 0.0)
            worker.join(1.2)
            assert worker.is_alive()
            mail.browser.post(f"{mail.url}/tests/{task}/cancel")

    assert steps(page)["tls"] == ("running", None)


def test_it_says_so_when_no_worker_takes_it_up(mail: Mail, real: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livesteps, "NO_WORKER_AFTER", 0.3)
    task = ask(mail, real.port)

    stream = mail.browser.get(f"{mail.url}/tests/{task}/stream").get_data(as_text=True)

    last = [message for message in stream.split("\n\n") if "data-live-task" in message][-1]
    assert steps(last)["resolve"] == ("failed", "no_worker")
    assert result(last) == "failed"
    mail.work()
    assert real.connections == 0


def test_it_says_so_on_the_plain_page_too(mail: Mail, real: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ask(mail, real.port)
    waiting = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)
    assert result(waiting) is None
    assert 'http-equiv="refresh"' in waiting
    monkeypatch.setattr(livesteps, "NO_WORKER_AFTER", 0.0)

    page = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)

    assert steps(page)["resolve"] == ("failed", "no_worker")
    assert 'http-equiv="refresh"' not in page


def test_it_ends_a_test_whose_worker_died(mail: Mail, real: RealServer, monkeypatch: pytest.MonkeyPatch) -> None:
    task = ask(mail, real.port)
    assert live.claim(mail.world.acme.id, task)
    monkeypatch.setattr(livesteps, "SILENT_AFTER", 0.0)

    page = mail.browser.get(f"{mail.url}/tests/{task}").get_data(as_text=True)

    assert result(page) == "failed"


def test_it_answers_htmx_with_the_live_part_alone(mail: Mail, real: RealServer) -> None:
    mail.browser.get(mail.url)
    answer = mail.browser.post(mail.url, {**mail.fields(real.port), "action": "test"}, headers={"HX-Request": "true"})

    fragment = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "<html" not in fragment
    assert 'hx-sse:connect="' in fragment
    assert answer.headers["HX-Replace-Url"].startswith(f"{mail.url}/tests/")


def test_it_answers_htmx_with_the_form_when_something_is_wrong(mail: Mail, real: RealServer) -> None:
    mail.browser.get(mail.url)
    answer = mail.browser.post(
        mail.url, {**mail.fields(real.port), "host": "http://x", "action": "test"}, headers={"HX-Request": "true"}
    )

    assert answer.status_code == 422
    assert answer.headers["HX-Retarget"] == "#server"
    assert "without http://" in answer.get_data(as_text=True)
    assert PASSWORD not in answer.get_data(as_text=True)


def test_it_names_the_ports_that_may_be_used(mail: Mail) -> None:
    for port in (22, 6379, 8080):
        answer = mail.press("test", port)

        assert answer.status_code == 422
        assert "25, 465, 587, 2525" in answer.get_data(as_text=True)


def test_it_refuses_what_is_no_host(mail: Mail) -> None:
    for host in ("a\r\nb", "a\0b", "me@acme.test", "mail.acme.test:22", "[::1]", "http://x", "x" * 256, ""):
        answer = mail.press("test", 587, host=host)

        assert answer.status_code == 422, host
        assert 'aria-invalid="true"' in answer.get_data(as_text=True)


def test_it_wants_a_username_with_a_password(mail: Mail) -> None:
    answer = mail.press("test", 587, username="")

    assert answer.status_code == 422
    assert "Enter the username" in answer.get_data(as_text=True)


def test_it_fills_in_a_preset_without_javascript(mail: Mail) -> None:
    answer = mail.press("draft", 25, preset="gmail", host="")

    assert answer.status_code == 303
    server = mail.server()
    assert (server.host, server.port, server.security) == ("smtp.gmail.com", 587, "starttls")


def test_it_says_when_to_come_back_after_too_many(mail: Mail, real: RealServer) -> None:
    mail.world.reconfigure(OWNPOST_LIMIT_TESTS="2/minute", OWNPOST_SMTP_ALLOW=f"127.0.0.1:{real.port}")
    mail.browser = mail.world.client(mail.world.owner)
    for _ in range(2):
        assert mail.press("test", real.port).status_code == 303

    answer = mail.press("test", real.port)

    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert "Test again in" in answer.get_data(as_text=True)


def test_it_is_for_owners_to_start_and_cancel_and_for_members_to_see(mail: Mail, real: RealServer) -> None:
    task = ask(mail, real.port)
    member = mail.world.client(mail.world.member)

    assert member.post(mail.url, {**mail.fields(real.port), "action": "test"}).status_code == 403
    assert member.post(f"{mail.url}/tests/{task}/cancel").status_code == 403
    assert member.get(f"{mail.url}/tests/{task}").status_code == 200


def test_it_is_not_there_for_a_stranger(mail: Mail, real: RealServer) -> None:
    task = ask(mail, real.port)
    stranger = mail.world.client(mail.world.stranger)

    assert stranger.get(f"{mail.url}/tests/{task}").status_code in (303, 404)
    assert stranger.get(f"{mail.url}/tests/{task}/stream").status_code == 404
    assert stranger.post(f"{mail.url}/tests/{task}/cancel").status_code == 404
    assert not live.is_canceled(mail.world.acme.id, task)


def test_it_wants_a_sign_in(mail: Mail, real: RealServer) -> None:
    task = ask(mail, real.port)
    nobody = mail.world.client()

    answer = nobody.get(f"{mail.url}/tests/{task}/stream", headers={"Accept": "text/event-stream"})

    assert answer.status_code == 401
