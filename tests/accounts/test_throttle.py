"""Passwords cannot be tried by the thousand, and nobody is locked out by somebody else's trying."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import structlog
import time_machine
from werkzeug.test import TestResponse

from panel import rates
from panel.web import limits, throttle
from tests.signin.kit import give_password, set_up_app
from tests.support.redisserver import RedisServer
from tests.support.world import PASSWORD, Browser, World

NAMES_A_MINUTE = 5
ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}


def guess(browser: Browser, email: str, password: str = "not the password", **options) -> TestResponse:
    return browser.post("/login", {"email": email, "password": password}, **options)


def sign_out(browser: Browser) -> None:
    browser.post("/logout")
    browser.get("/login")


def guess_until_refused(world: World, email: str) -> TestResponse:
    browser = world.client()
    for _ in range(NAMES_A_MINUTE):
        assert guess(browser, email).status_code == 200
    return guess(browser, email)


def test_it_slows_down_who_tries_a_name_again_and_again(world: World):
    refused = guess_until_refused(world, world.owner.email)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    page = refused.get_data(as_text=True)
    assert re.search(r"Try again in \d+ seconds", page)
    assert "Forgotten your password?" in page


def test_it_gives_the_same_answer_for_a_name_that_nobody_has(world: World):
    known, unknown = (guess_until_refused(world, email) for email in (world.owner.email, "nobody@acme.test"))
    assert known.status_code == unknown.status_code == 429
    alike = [re.sub(r"\d+ seconds|[\w.-]{60,}", "", answer.get_data(as_text=True)) for answer in (known, unknown)]
    assert alike[0] == alike[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("spelling", ["OWNER@acme.test", " owner@acme.test ", "owner@ACME.TEST"])
def test_it_takes_no_other_spelling_for_another_name(world: World, spelling: str):
    guess_until_refused(world, world.owner.email)
    assert guess(world.client(), spelling).status_code == 429


def test_it_refuses_the_right_password_too_while_it_waits(world: World):
    guess_until_refused(world, world.owner.email)
    browser = world.client()
    assert guess(browser, world.owner.email, PASSWORD).status_code == 429
    assert not browser.signed_in()


def test_it_lets_the_right_password_in_after_the_wait(world: World):
    refused = guess_until_refused(world, world.owner.email)
    with time_machine.travel(time.time() + int(refused.headers["Retry-After"])):
        assert guess(world.client(), world.owner.email, PASSWORD).status_code == 302


def test_it_never_locks_out_a_browser_that_was_let_in_before(world: World):
    at_home = world.client(world.owner)
    sign_out(at_home)
    guess_until_refused(world, world.owner.email)
    assert guess(at_home, world.owner.email, PASSWORD).status_code == 302


def test_it_knows_a_browser_for_its_own_names_only(world: World):
    strangers = world.client(world.stranger)
    sign_out(strangers)
    guess_until_refused(world, world.owner.email)
    assert guess(strangers, world.owner.email).status_code == 429


def test_it_counts_a_known_browser_too(world: World):
    at_home = world.client(world.owner)
    sign_out(at_home)
    for _ in range(NAMES_A_MINUTE):
        assert guess(at_home, world.owner.email).status_code == 200
    assert guess(at_home, world.owner.email, PASSWORD).status_code == 429
    # and a stranger's browser is another matter
    assert guess(world.client(), world.owner.email, PASSWORD).status_code == 302


def test_it_lets_in_by_a_new_password_whoever_is_waiting(world: World):
    """The way out for the owner on a new computer while somebody goes on trying."""
    browser = world.client()
    browser.submit("/forgot", email=world.owner.email)
    with world.acme_scope() as session:
        from panel.outbox.models import Delivery

        text = session.query(Delivery).one().values["text"]
    guess_until_refused(world, world.owner.email)
    path = re.search(r"http://127\.0\.0\.1:8000(/forgot/\S+)", text)[1]
    browser.submit(path, password="quite a new password", password_confirm="quite a new password")
    assert guess(browser, world.owner.email, "quite a new password").status_code == 302


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_slows_down_an_address_that_tries_many_names(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", "3/minute")
    browser = world.client()
    for number in range(3):
        assert guess(browser, f"somebody{number}@acme.test").status_code == 200
    assert guess(browser, "another@acme.test").status_code == 429
    assert guess(world.client(), "another@acme.test", environ_base=ELSEWHERE).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_does_not_count_sign_ins_that_succeed(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", "3/minute")
    for _ in range(7):
        assert world.client(world.owner).signed_in()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_slows_down_an_address_that_tries_many_names_at_once(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", "3/minute")
    browsers = [world.client() for _ in range(8)]
    for browser in browsers:
        browser.get("/login")
    start = threading.Barrier(len(browsers))

    def one(number: int) -> int:
        start.wait(20)
        return guess(browsers[number], f"somebody{number}@acme.test").status_code

    with ThreadPoolExecutor(len(browsers)) as pool:
        answers = sorted(pool.map(one, range(len(browsers))))
    assert answers == [200] * 3 + [429] * 5


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_counts_no_password_for_an_address_that_was_never_looked_at(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", "6/minute")
    guess_until_refused(world, world.owner.email)
    for _ in range(3):
        assert guess(world.client(), world.owner.email).status_code == 429
    assert guess(world.client(), "another@acme.test").status_code == 200
    assert guess(world.client(), "another@acme.test").status_code == 429


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
    ],
)
def test_it_takes_a_network_of_ipv6_for_one_address(world: World, one: str, other: str, alike: bool):
    def counted(address: str) -> str:
        with world.app.test_request_context(environ_base={"REMOTE_ADDR": address}):
            return limits.caller()

    assert (counted(one) == counted(other)) is alike


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_keeps_neither_names_nor_passwords_in_redis(world: World, redis_client):
    guess(world.client(), "canary@acme.test", "canary in the mine")
    stored = b" ".join(redis_client.keys())
    assert b"sign-in name" in stored
    assert b"canary" not in stored


@pytest.fixture(params=["away", "full"])
def without_redis(request: pytest.FixtureRequest, redis_server: RedisServer, redis_client: redis.Redis):
    """Redis is taken away, or takes nothing more; with the test's end it is back."""
    if request.param == "away":
        redis_server.stop()
        yield
        redis_server.start()
    else:
        redis_client.config_set("maxmemory", 1)
        yield
        redis_client.config_set("maxmemory", 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("without_redis")
class TestWithoutRedis:
    """Each process keeps count of what it saw itself."""

    def test_it_slows_down_who_tries_a_name(self, world: World):
        refused = guess_until_refused(world, world.owner.email)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert guess(world.client(), world.owner.email, PASSWORD).status_code == 429
        with time_machine.travel(time.time() + int(refused.headers["Retry-After"])):
            assert guess(world.client(), world.owner.email, PASSWORD).status_code == 302

    def test_it_locks_nobody_out_whose_browser_was_let_in(self, world: World):
        at_home = world.client(world.owner)
        sign_out(at_home)
        guess_until_refused(world, world.owner.email)
        assert guess(at_home, world.owner.email, PASSWORD).status_code == 302

    def test_it_lets_people_sign_in_again_and_again(self, world: World):
        for _ in range(NAMES_A_MINUTE + 1):
            assert world.client(world.owner).signed_in()

    def test_it_slows_down_an_address(self, world: World, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(throttle, "SIGN_IN_BY_ADDRESS", "3/minute")
        browser = world.client()
        for number in range(3):
            assert guess(browser, f"somebody{number}@acme.test").status_code == 200
        assert guess(browser, "another@acme.test").status_code == 429
        assert guess(world.client(), "another@acme.test", environ_base=ELSEWHERE).status_code == 200

    def test_it_slows_down_who_tries_the_password_again(self, world: World):
        browser = world.client(world.owner)
        browser.get("/settings/security/password")
        form = {"password": "wrong", "new_password": "a new password", "new_password_confirm": "a new password"}
        answers = [browser.post("/settings/security/password", form).status_code for _ in range(6)]
        assert answers == [200] * 5 + [429]

    def test_it_slows_down_who_tries_the_second_factor(self, world: World):
        set_up_app(world.client(world.owner))
        browser = give_password(world, world.owner)
        fields = ["code", "recovery_code"] * 3
        answers = [browser.post("/login/second", {field: "wrong"}).status_code for field in fields]
        assert answers == [422] * 5 + [429]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_goes_on_counting_when_redis_goes_away(world: World, redis_server: RedisServer):
    browser = world.client()
    for _ in range(NAMES_A_MINUTE):
        assert guess(browser, world.owner.email).status_code == 200
    redis_server.stop()
    try:
        assert guess(browser, world.owner.email).status_code == 429
    finally:
        redis_server.start()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_redis_that_hangs_is_waited_for_once_and_not_for_each_limit(
    world: World, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rates, "_AFTER_SILENCE", 60.0)  # seconds in which the second one has to come
    browser = world.client()
    browser.get("/login")
    process_id = redis_client.info("server")["process_id"]
    os.kill(process_id, signal.SIGSTOP)
    try:
        with structlog.testing.capture_logs() as logs:
            for name in ("nobody", "somebody"):
                assert guess(browser, f"{name}@acme.test").status_code == 200
    finally:
        os.kill(process_id, signal.SIGCONT)
    uncounted = [entry["error"] for entry in logs if entry["event"] == "limit not counted"]
    assert uncounted[0] == "TimeoutError"
    assert uncounted.count("TimeoutError") == 1
    assert len(uncounted) == 4  # by address and by name


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_takes_no_json_that_would_go_uncounted(world: World):
    browser = world.client()
    browser.get("/login")
    headers = {"X-CSRFToken": browser._token}
    for path in ("/login", "/forgot"):
        answer = browser.client.post(path, json={"email": world.owner.email, "password": PASSWORD}, headers=headers)
        assert answer.status_code == 415
    assert not browser.signed_in()


def test_it_asks_for_new_passwords_a_few_times_an_hour(world: World):
    for email, place in ((world.owner.email, {}), ("nobody@acme.test", ELSEWHERE)):
        browser = world.client()
        browser.get("/forgot")
        for _ in range(5):
            assert browser.post("/forgot", {"email": email}, environ_base=place).status_code == 200
        refused = browser.post("/forgot", {"email": email}, environ_base=place)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 3600
        assert "look for them in your mailbox" in refused.get_data(as_text=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_has_an_address_ask_for_a_few_new_passwords_only(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "FORGOT_BY_ADDRESS", "2/minute")
    browser = world.client()
    browser.get("/forgot")
    for number, status in enumerate((200, 200, 429)):
        assert browser.post("/forgot", {"email": f"somebody{number}@acme.test"}).status_code == status
    assert browser.post("/forgot", {"email": "x@acme.test"}, environ_base=ELSEWHERE).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_words_the_refusal_for_htmx_as_a_line(world: World):
    guess_until_refused(world, world.owner.email)
    answer = guess(world.client(), world.owner.email, headers={"HX-Request": "true"})
    assert answer.status_code == 429
    assert answer.mimetype == "text/plain"
    assert answer.get_data(as_text=True).startswith("That was a lot of sign-ins")
    assert int(answer.headers["Retry-After"]) >= 1
