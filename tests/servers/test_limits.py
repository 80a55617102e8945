"""A server's limits as a person meets them: in the form, on the page, in the log and on Home; and the forecast."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from sqlalchemy import update

from panel import db
from panel.accounts.models import Account
from panel.addresses.models import OutboundAddress
from panel.servers import service
from panel.smtp.limits import NO_LIMITS, Limits
from panel.smtp.presets import PRESETS, limits_for
from tests.servers.conftest import Mail
from tests.servers.pacing import PORT, Pace
from tests.support.mailserver import MailServer as RealServer


def page(own: Pace, path: str | None = None) -> str:
    answer = own.mail.browser.get(path or own.mail.url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.get_data(as_text=True))


# -- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "host", "username", "limits"),
    [
        ("gmail", "smtp.gmail.com", "a@gmail.com", Limits(connections=3, per_day=500)),
        ("google-workspace", "smtp.gmail.com", "a@acme.test", Limits(connections=5, per_day=2000)),
        # Entered by hand, it is known by its name, and whose mailbox it is by the user name.
        ("other", "SMTP.gmail.com.", "a@GMAIL.com", Limits(connections=3, per_day=500)),
        ("other", "smtp.gmail.com", "a@acme.test", Limits(connections=5, per_day=2000)),
        ("other", "smtp.mail.yahoo.com", "a@yahoo.com", Limits(connections=2, per_day=500)),
        # What was chosen at first may not be what it is now.
        ("gmail", "smtp.office365.com", "a@acme.test", Limits(connections=3, per_minute=30, per_day=10_000)),
        ("gmail", "mail.acme.test", "a", NO_LIMITS),
        ("no such preset", "mail.acme.test", "a", NO_LIMITS),
        ("amazon-ses", "email-smtp.eu-west-1.amazonaws.com", "AKIA", NO_LIMITS),
    ],
)
def test_the_limits_are_those_of_the_servers_provider(preset: str, host: str, username: str, limits: Limits):
    assert limits_for(preset=preset, host=host, username=username) == limits


def test_every_preset_has_limits_that_can_be_entered():
    for preset in PRESETS.values():
        assert 1 <= preset.limits.connections <= 10
        assert all(rate is None or rate > 0 for rate in preset.limits.rates)


# -- the form ---------------------------------------------------------------------------------------------------------


def test_limits_are_saved_with_the_settings(mail: Mail, real: RealServer):
    mail.press("save", real.port, per_minute="30", per_day="1,500", connections="3")
    server = mail.server()
    assert server is not None
    assert server.enabled
    assert server.limits == {"per_minute": 30, "per_day": 1500, "connections": 3}
    assert service.pace_limits(mail.route()) == Limits(connections=3, per_minute=30, per_day=1500)


def test_limits_alone_are_saved_without_another_test(mail: Mail, real: RealServer):
    mail.saved(real.port)
    connections = real.connections
    answer = mail.press("save", real.port, password="", per_hour="40")
    assert answer.status_code == 303
    server = mail.server()
    assert server is not None
    assert (server.enabled, server.limits) == (True, {"per_hour": 40})
    assert real.connections == connections


def test_a_field_that_is_emptied_is_the_providers_again(mail: Mail, real: RealServer):
    mail.saved(real.port, limits={"per_hour": 40, "per_day": 0})
    mail.press("save", real.port, per_day="0")
    server = mail.server()
    assert server is not None
    assert server.limits == {"per_day": 0}


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("per_day", "-1"),
        ("per_day", "many"),
        ("per_day", "1.5"),
        ("per_hour", "10000001"),
        ("per_minute", "9" * 400),
        ("per_minute", "²"),
        ("connections", "0"),
        ("connections", "51"),
    ],
)
def test_what_is_no_limit_is_refused_at_its_field(own: Pace, name: str, typed: str):
    answer = own.mail.press("save", PORT, **{name: typed})
    assert answer.status_code == 422
    text = answer.get_data(as_text=True)
    assert f'id="{name}-error"' in text
    assert "Enter a number from" in text
    assert '<details class="fold" open>' in text
    server = own.mail.server()
    assert server is not None
    assert server.limits == {}


@pytest.mark.parametrize(
    ("typed", "stored"), [("1,500", 1500), ("1.500", 1500), ("1 500", 1500), (" 7 ", 7), ("10 000 000", 10_000_000)]
)
def test_thousands_may_be_written_as_people_do(own: Pace, typed: str, stored: int):
    own.mail.press("draft", PORT, per_day=typed)
    server = own.mail.server()
    assert server is not None
    assert server.limits == {"per_day": stored}


def test_the_form_shows_what_is_stored_and_folds_away_what_is_not(own: Pace):
    assert '<details class="fold">' in page(own)
    own.limit(per_day=70)
    shown = page(own)
    assert re.search(r'name="per_day"[^>]*value="70"', shown)
    assert '<details class="fold" open>' in shown


def test_a_field_of_limits_is_checked_when_it_is_left(own: Pace):
    own.mail.browser.get(own.mail.url)
    answer = own.mail.browser.post(f"{own.mail.url}/check/per_day", {**own.mail.fields(PORT), "per_day": "x"})
    assert "Enter a number from 0 to 10,000,000, or nothing." in answer.get_data(as_text=True)


def test_a_reload_during_a_test_keeps_the_limits_that_were_typed(mail: Mail, real: RealServer):
    answer = mail.press("test", real.port, per_day="77")
    assert re.search(r'name="per_day"[^>]*value="77"', mail.browser.get(answer.location).get_data(as_text=True))


# -- what is used -----------------------------------------------------------------------------------------------------


def test_the_page_says_how_much_is_used(own: Pace):
    assert "What your server takes" not in page(own)
    own.limit(per_day=500, per_minute=60)
    own.sent(20, ago=3600)
    own.take(3)
    shown = page(own)
    assert 'data-limit="minute" data-used="3"' in shown
    assert 'data-limit="day" data-used="23"' in shown
    assert '<strong class="numeric">23</strong> of 500 in the last 24 hours' in shown


def test_the_part_about_it_looks_again_by_itself(own: Pace):
    own.limit(per_day=500)
    url = f"{own.mail.url}/usage"
    assert f'hx-get="{url}" hx-trigger="every 10s"' in page(own)
    own.take(4)
    assert 'data-used="4"' in page(own, url)
    # Members see it too; other accounts do not.
    assert own.mail.world.client(own.mail.world.member).get(url).status_code == 200
    assert own.mail.world.client(own.mail.world.stranger).get(url).status_code == 404


def test_what_waits_for_a_full_server_says_so_everywhere(own: Pace):
    own.limit(per_day=500)
    own.sent(500, ago=3600)
    [waiting, *_] = own.queue(1200, values={"subject": "Hello", "text": "", "html": ""})
    [due_later] = own.queue(
        1,
        state="deferred",
        next_attempt_at=db.now() + dt.timedelta(hours=1),
        values={"subject": "Later", "text": "", "html": ""},
    )
    own.take(5)
    words = r"Waits for its server’s limit of 500 a day; letters go on (tomorrow )?at \d\d:\d\d\."
    assert re.search(words, page(own, f"/deliveries/{waiting}"))
    assert not re.search(words, page(own, f"/deliveries/{due_later}"))
    assert len(re.findall(words, page(own, "/deliveries"))) == 49
    home = page(own, "/")
    assert re.search(r"notice-info.*hello@acme.test: its server’s limit of 500 a day is used up", home)
    assert re.search(r"1,201 letters wait: done on \w+ about \d\d:\d\d\. Letters go on (tomorrow )?at", home)
    assert "notice-danger" not in home
    assert re.search(r"used up; goes on (tomorrow )?at \d\d:\d\d", page(own))


def test_a_server_with_room_keeps_nobody_waiting_on_the_page(own: Pace):
    own.limit(per_day=500)
    own.queue(3, values={"subject": "Hello", "text": "", "html": ""})
    assert "Waits for its server" not in page(own, "/deliveries")
    assert "is used up" not in page(own, "/")


# -- the forecast -----------------------------------------------------------------------------------------------------


def forecast(own: Pace, count: int) -> service.Forecast:
    with own.mail.world.acme_scope():
        return service.forecast(service.route_of(own.mail.address.id), count)


def test_it_foretells_a_blast_over_days(own: Pace):
    own.limit(per_day=500)
    with db.system_scope("tests") as session, db.transaction():
        session.execute(update(Account).values(time_zone="Asia/Kolkata"))
    found = forecast(own, 2300)
    assert (found.per_day, found.binding) == (500, "day")
    days = (found.done_at - db.now()).total_seconds() / 86_400
    assert 4 <= days <= 4.05
    rounded = found.done_at + dt.timedelta(minutes=15)
    local = rounded.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    quarter = local.replace(minute=local.minute // 15 * 15)
    assert found.words == f"2,300 people, your server allows 500 a day: done on {quarter:%A} about {quarter:%H:%M}"


def test_what_is_used_and_what_waits_already_take_their_part(own: Pace):
    own.limit(per_day=500)
    own.sent(400, ago=43_200)
    own.queue(700)
    found = forecast(own, 100)
    # 100 now, 400 in half a day, 100 when today's first have been gone for a day, and the last 200 half a day later.
    assert 1.49 <= (found.done_at - db.now()).total_seconds() / 86_400 <= 1.55
    assert found.words.startswith("100 people after 700 letters that wait already, your server allows 500 a day: done")


def test_what_begins_at_a_set_time_is_foretold_from_there(own: Pace):
    own.limit(per_day=500)
    own.sent(500, ago=3600)
    own.queue(200)
    at = db.now() + dt.timedelta(days=3)
    with own.mail.world.acme_scope():
        found = service.forecast(service.route_of(own.mail.address.id), 800, at=at)
    # By then the 200 have gone a day or more before: 500 at once, and 300 a day later.
    assert 0.99 <= (found.done_at - at).total_seconds() / 86_400 <= 1.05
    assert found.words.startswith("800 people, your server allows 500 a day: done")


def test_letters_of_a_paused_blast_are_not_ahead(own: Pace):
    own.queue(30, state="held", reason="blast_paused", held_at=db.now())
    assert forecast(own, 30).words == "30 people: done in a minute or two"


def test_a_server_that_has_had_enough_goes_on_when_its_quota_renews(own: Pace):
    renews = db.now() + dt.timedelta(hours=20)
    with own.mail.world.acme_scope():
        server = service.for_address(own.mail.address.id)
        assert server is not None
        service.pause(server.id, server.version, reason="quota", until=renews, error="550 5.4.5")
    found = forecast(own, 10)
    assert dt.timedelta(0) <= found.done_at - renews < dt.timedelta(minutes=1)
    assert "; your server has taken all it may for now and goes on " in found.words


def test_without_a_limit_that_binds_it_is_a_matter_of_minutes(own: Pace):
    found = forecast(own, 2300)
    assert (found.per_day, found.binding) == (None, None)
    assert found.words == "2,300 people: done in a minute or two"
    own.limit(per_minute=100)
    found = forecast(own, 2300)
    assert found.binding == "minute"
    assert re.fullmatch(r"2,300 people, your server allows 100 a minute: done in about 2[1-5] minutes", found.words)
    assert forecast(own, 1).words == "1 person: done in a minute or two"
    with own.mail.world.acme_scope():
        server = service.for_address(own.mail.address.id)
        assert server is not None
        service.pause(server.id, server.version, reason="credentials", until=None, error="535")
    assert forecast(own, 1).words.endswith("; your server does not work at the moment, so it may take longer")


def test_the_platform_server_lets_an_account_send_so_many_a_day(own: Pace):
    with own.mail.world.acme_scope():
        service.disable(own.mail.address.id, service.By())
    own.queue(
        90, state="sent", sent_at=db.now() - dt.timedelta(hours=12), sent_from={"from_name": "", "from_address": ""}
    )
    found = forecast(own, 30)
    assert (found.per_day, found.binding) == (100, "day")
    assert 0.49 <= (found.done_at - db.now()).total_seconds() / 86_400 <= 0.55
    assert found.words.startswith("30 people, the platform’s server allows you 100 a day: done")


def test_what_other_addresses_send_by_the_platform_server_takes_its_part(own: Pace):
    with own.mail.world.acme_scope():
        other = OutboundAddress(email="news@acme.test", confirmed_at=db.now())
        with db.transaction() as session:
            session.add(other)
        found = service.forecast(service.route_of(other.id), 30)
        assert found.words.startswith("30 people: done")
        service.disable(own.mail.address.id, service.By())
    own.queue(90)
    with own.mail.world.acme_scope():
        found = service.forecast(service.route_of(other.id), 30)
    assert found.words.startswith("30 people after 90 letters that wait already, the platform’s server allows you 100")
