"""An authenticator app as second factor, over HTTP, with codes computed from its key."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine

from panel.accounts.models import AuditEntry
from panel.crypto import new_key
from panel.outbox.models import Delivery
from panel.signin import service
from panel.signin.models import RecoveryCode, TotpKey
from tests.signin.kit import codes_of, give_password, set_up_app, totp
from tests.support.world import PASSWORD, Browser, World

STEP = 30


def in_a_while(steps: int = 2):
    """The app has gone on to other codes since it was set up, and shows the present one for another 25 seconds."""
    return time_machine.travel((time.time() // STEP + steps) * STEP + 5)


def near(secret: str) -> set[str]:
    """The codes that are taken now, or could be in a moment."""
    return {totp(secret, time.time() + step * STEP) for step in range(-2, 3)}


def wrong(secret: str, count: int = 1) -> list[str]:
    """Codes that look right and are not."""
    return [code for number in range(count + 5) if (code := f"{number:06}") not in near(secret)][:count]


def from_afar(secret: str, step: int) -> str:
    """A code that was right, or will be, so many steps away."""
    return next(
        code for n in range(10, 20) if (code := totp(secret, time.time() + step * n * STEP)) not in near(secret)
    )


def test_it_asks_for_the_code_after_the_password(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while():
        browser = give_password(world, world.owner)
        assert not browser.signed_in()
        assert browser.post("/login/second", {"code": totp(secret)}).location == "/"
        assert browser.signed_in()


def test_it_lets_nobody_in_with_another_code(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while():
        browser = give_password(world, world.owner)
        for code in (*wrong(secret), "", "nonsense", from_afar(secret, -1), from_afar(secret, 1)):
            answer = browser.post("/login/second", {"code": code})
            assert answer.status_code == 422
            assert not browser.signed_in()


def test_it_takes_a_code_once(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while():
        code = totp(secret)
        assert give_password(world, world.owner).post("/login/second", {"code": code}).status_code == 303
        assert give_password(world, world.owner).post("/login/second", {"code": code}).status_code == 422


def test_it_takes_the_code_that_set_it_up_no_more(world: World):
    before = time.time()
    secret, _ = set_up_app(world.client(world.owner))
    assert give_password(world, world.owner).post("/login/second", {"code": totp(secret, before)}).status_code == 422


def test_it_takes_a_code_with_a_blank_and_of_a_clock_that_is_a_little_off(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while(4):
        late = totp(secret, time.time() - STEP)
        browser = give_password(world, world.owner)
        assert browser.post("/login/second", {"code": f" {late[:3]} {late[3:]} "}).status_code == 303


def test_it_lets_codes_be_tried_a_few_times_only(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while():
        browser = give_password(world, world.owner)
        for code in wrong(secret, 5):
            assert browser.post("/login/second", {"code": code}).status_code == 422
        refused = browser.post("/login/second", {"code": totp(secret)})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        # Neither by another browser.
        assert give_password(world, world.owner).post("/login/second", {"code": totp(secret)}).status_code == 429


def test_it_waits_ten_minutes_for_the_code(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    browser = give_password(world, world.owner)
    with time_machine.travel(time.time() + 601):
        assert browser.post("/login/second", {"code": totp(secret)}).location == "/login"
        assert not browser.signed_in()


def test_it_takes_no_code_after_the_password_has_changed(world: World):
    here = world.client(world.owner)
    secret, _ = set_up_app(here)
    with in_a_while():
        browser = give_password(world, world.owner)
        here.submit(
            "/settings/security/password",
            password=PASSWORD,
            new_password="a new password",
            new_password_confirm="a new password",
        )
        assert browser.post("/login/second", {"code": totp(secret)}).location == "/login"


def test_it_leads_where_the_person_wanted_to_go(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with in_a_while():
        browser = world.client()
        browser.get("/login?next=/deliveries?state%3Dfailed")
        form = {"email": world.owner.email, "password": PASSWORD, "remember": "y"}
        browser.post("/login?next=/deliveries?state%3Dfailed", form)
        browser.get("/login/second")
        assert browser.post("/login/second", {"code": totp(secret)}).location == "/deliveries?state=failed"
        cookie = browser.client.get_cookie("ownpost")
        assert cookie.max_age or cookie.expires  # kept, as was asked for with the password


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "/\\evil.example", "https:evil.example", "/\t/evil.example", "https://evil.example/"],
)
def test_it_leads_nobody_to_another_site(world: World, elsewhere: str):
    secret, _ = set_up_app(world.client(world.owner))
    browser = world.client()
    form = {"email": world.owner.email, "password": PASSWORD}
    browser.get("/login")
    browser.post("/login", {**form, "next": elsewhere}, query_string={"next": elsewhere})
    browser.post("/login", form)  # where that was refused
    with in_a_while():
        browser.get("/login/second")
        assert browser.post("/login/second", {"code": totp(secret)}).location == "/"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_has_no_second_step_without_the_first(world: World):
    browser = world.client()
    assert browser.get("/login/second").location == "/login"
    assert browser.post("/login/second", {"code": "123456"}).location == "/login"


def test_it_seals_the_key_in_the_database(world: World):
    secret, _ = set_up_app(world.client(world.owner))
    with world.acme_scope() as session:
        key = session.query(TotpKey).one()
    assert key.secret_sealed.startswith("v1.")
    assert secret not in key.secret_sealed


def test_it_shows_the_key_only_until_it_is_set_up(world: World):
    browser = world.client(world.owner)
    secret, _ = set_up_app(browser)
    answer = browser.get("/settings/security/authenticator")
    assert answer.location == "/settings/security"
    assert secret not in browser.get("/settings/security").get_data(as_text=True)
    # Nor does asking for another one put it out of use.
    browser.post("/settings/security/authenticator")
    with in_a_while():
        assert give_password(world, world.owner).post("/login/second", {"code": totp(secret)}).status_code == 303


def key_shown(browser: Browser) -> str | None:
    """The key on the page that sets an app up; None where the way leads back."""
    answer = browser.get("/settings/security/authenticator")
    found = re.search(r"<code>([A-Z2-7]{32})</code>", answer.get_data(as_text=True))
    assert bool(found) == (answer.location != "/settings/security")
    return found[1] if found else None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestKeyThatNobodyConfirmed:
    def test_it_is_of_the_sign_in_that_asked_for_it(self, world: World):
        here, there = world.client(world.owner), world.client(world.owner)
        here.post("/settings/security/authenticator")
        secret = key_shown(here)
        assert secret
        assert key_shown(there) is None
        there.post("/settings/security/authenticator/confirm", {"code": totp(secret)})
        assert not there.get("/settings/security").get_data(as_text=True).count("Remove the app")

    def test_it_is_shown_and_taken_for_ten_minutes(self, world: World):
        browser = world.client(world.owner)
        browser.post("/settings/security/authenticator")
        secret = key_shown(browser)
        with time_machine.travel(time.time() + 9 * 60):
            assert key_shown(browser) == secret
        with time_machine.travel(time.time() + 601):
            assert key_shown(browser) is None
            answer = browser.post("/settings/security/authenticator/confirm", {"code": totp(secret)})
            assert answer.location == "/settings/security"
            assert "for ten minutes" in browser.get("/settings/security").get_data(as_text=True)
            set_up_app(browser)

    def test_it_is_not_shown_when_the_password_was_given_a_while_ago(self, world: World):
        browser = world.client(world.owner)
        with time_machine.travel(time.time() + 14 * 60):
            browser.post("/settings/security/authenticator")
            assert key_shown(browser)
        with time_machine.travel(time.time() + 16 * 60):
            assert key_shown(browser) is None


def test_it_changes_nothing_until_a_code_has_proved_the_app(world: World):
    browser = world.client(world.owner)
    browser.post("/settings/security/authenticator")
    page = browser.get("/settings/security/authenticator").get_data(as_text=True)
    (code,) = wrong(re.search(r"<code>([A-Z2-7]{32})</code>", page)[1])
    answer = browser.post("/settings/security/authenticator/confirm", {"code": code})
    assert answer.status_code == 422
    assert "not right" in answer.get_data(as_text=True)
    assert world.client(world.owner).signed_in()


def test_it_draws_the_key_without_asking_anybody(world: World):
    browser = world.client(world.owner)
    browser.post("/settings/security/authenticator")
    page = browser.get("/settings/security/authenticator").get_data(as_text=True)
    assert 'src="data:image/svg+xml' in page


def test_it_signs_out_everywhere_else_when_it_is_added_and_removed(world: World):
    here, there = world.client(world.owner), world.client(world.owner)
    secret, _ = set_up_app(here)
    assert here.signed_in()
    assert not there.signed_in()
    with in_a_while():
        there = give_password(world, world.owner)
        there.post("/login/second", {"code": totp(secret)})
        here.post("/settings/security/authenticator/remove")
        assert here.signed_in()
        assert not there.signed_in()
    assert world.client(world.owner).signed_in()


def test_it_tells_the_person_and_the_audit_log(world: World):
    browser = world.client(world.owner)
    set_up_app(browser)
    browser.post("/settings/security/recovery-codes")
    browser.post("/settings/security/authenticator/remove")
    with world.acme_scope() as session:
        letters = [letter.values for letter in session.query(Delivery).order_by(Delivery.id)]
        actions = {entry.action for entry in session.query(AuditEntry)}
        assert len(session.query(RecoveryCode).all()) == 0
    told = ["was added", "New recovery codes were made", "was removed"]
    assert [words in letter["text"] for words, letter in zip(told, letters, strict=True)] == [True] * 3
    assert {"authenticator.added", "authenticator.removed", "recovery_codes.made"} <= actions


def test_it_says_nothing_of_one_persons_app_to_another(world: World):
    set_up_app(world.client(world.owner))
    colleague = world.client(world.member)
    assert "Set up an app" in colleague.get("/settings/security").get_data(as_text=True)
    colleague.post("/settings/security/authenticator/remove")
    assert give_password(world, world.owner)


def test_it_lets_one_in_of_many_who_send_the_same_code_at_once(world: World):
    secret, codes = set_up_app(world.client(world.owner))
    by = service.By(world.owner)
    with in_a_while():
        code = totp(secret)
        assert at_once(world, lambda: service.takes_code(world.owner.id, code)) == 1
    assert at_once(world, lambda: service.takes_recovery_code(by, codes[0])) == 1


def at_once(world: World, take: Callable[[], bool], count: int = 6) -> int:
    """How many of so many who try at the same time are let in."""
    start = threading.Barrier(count)

    def one(_number: int) -> bool:
        with world.acme_scope():
            start.wait(20)
            return take()

    with ThreadPoolExecutor(count) as pool:
        return sum(pool.map(one, range(count)))


def test_it_is_not_gone_around_by_a_new_password(world: World):
    set_up_app(world.client(world.owner))
    browser = world.client()
    browser.submit("/forgot", email=world.owner.email)
    with world.acme_scope() as session:
        text = session.query(Delivery).order_by(Delivery.id.desc()).first().values["text"]
    path = re.search(r"http://127\.0\.0\.1:8000(/forgot/\S+)", text)[1]
    browser.submit(path, password="quite a new password", password_confirm="quite a new password")
    assert not browser.signed_in()
    answer = browser.submit("/login", email=world.owner.email, password="quite a new password")
    assert answer.location == "/login/second"
    assert not browser.signed_in()


class TestRecoveryCodes:
    def test_each_lets_its_owner_in_once(self, world: World):
        _, codes = set_up_app(world.client(world.owner))
        assert len(set(codes)) == 10
        for status in (303, 422):
            answer = give_password(world, world.owner).post("/login/second", {"recovery_code": codes[3]})
            assert answer.status_code == status
        plain = codes[4].replace("-", " ").upper()
        assert give_password(world, world.owner).post("/login/second", {"recovery_code": plain}).status_code == 303

    def test_they_are_kept_as_hashes(self, world: World):
        _, codes = set_up_app(world.client(world.owner))
        with world.acme_scope() as session:
            kept = " ".join(code.hash for code in session.query(RecoveryCode))
        assert not any(code in kept or code.replace("-", "") in kept for code in codes)

    def test_they_are_shown_once(self, world: World):
        browser = world.client(world.owner)
        _, codes = set_up_app(browser)
        page = browser.get("/settings/security").get_data(as_text=True)
        assert "You have 10 left" in page
        assert not any(code in page for code in codes)

    def test_new_ones_put_the_old_ones_out_of_use(self, world: World):
        browser = world.client(world.owner)
        _, codes = set_up_app(browser)
        newer = codes_of(browser.post("/settings/security/recovery-codes"))
        assert len(newer) == 10
        assert give_password(world, world.owner).post("/login/second", {"recovery_code": codes[0]}).status_code == 422
        assert give_password(world, world.owner).post("/login/second", {"recovery_code": newer[0]}).status_code == 303

    def test_they_let_in_somebody_whose_key_cannot_be_read(self, world: World):
        """A lost encryption key must not lock people out."""
        secret, codes = set_up_app(world.client(world.owner))
        world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())
        with in_a_while():
            browser = give_password(world, world.owner)
            assert browser.post("/login/second", {"code": totp(secret)}).status_code == 422
            assert browser.post("/login/second", {"recovery_code": codes[0]}).status_code == 303

    def test_they_are_tried_a_few_times_only(self, world: World):
        _, codes = set_up_app(world.client(world.owner))
        browser = give_password(world, world.owner)
        for _ in range(5):
            assert browser.post("/login/second", {"recovery_code": "wrong"}).status_code == 422
        assert browser.post("/login/second", {"recovery_code": codes[0]}).status_code == 429

    def test_its_owner_is_told(self, world: World):
        _, codes = set_up_app(world.client(world.owner))
        give_password(world, world.owner).post("/login/second", {"recovery_code": codes[0]})
        with world.acme_scope() as session:
            last = session.query(Delivery).order_by(Delivery.id.desc()).first()
        assert re.search("9 are left", last.values["text"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_asks_for_the_password_again_before_it_is_removed(world: World):
    browser = world.client(world.owner)
    set_up_app(browser)
    with time_machine.travel(time.time() + 16 * 60):
        assert browser.post("/settings/security/authenticator/remove").status_code == 422
    with world.acme_scope() as session:
        assert len(session.query(TotpKey).all()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_signs_out_everywhere_else_on_demand(world: World):
    here, there, colleague = world.client(world.owner), world.client(world.owner), world.client(world.member)
    here.post("/settings/security/sign-out-elsewhere")
    assert here.signed_in()
    assert not there.signed_in()
    assert colleague.signed_in()
