"""Whatever tenants enter and whatever names come to mean, nobody is called but who may be called.

Who is called is seen by an audit hook in the real `ownpost web`, `worker` and `ticker`. The last tests go through all
that these did in the others, so all are kept together and in order.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.dialling.conftest import ELSEWHERE, Scene
from tests.dialling.watched import Page
from tests.servers.conftest import result, steps
from tests.support.wait import wait_for

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("dialling")]

LITERALS = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1",
    "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.5", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255",
    "169.254.169.254", "168.63.129.16", "100.100.100.200", "169.254.170.2",  # metadata
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1", "100::1", "fd00:ec2::254", "fd20:ce::254",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:7f00:1::1", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2a00:1450::5efe:10.0.0.1",
    "0177.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "127.1", "017700000001",
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "127.0.0.1.",
    "localhost", "mail.localhost",
]  # fmt: skip
ANSWERS = [
    ["127.0.0.1"], ["0.0.0.0"], ["10.1.2.3"], ["172.31.0.1"], ["192.168.0.1"], ["100.127.0.1"], ["169.254.0.1"],
    ["224.0.0.251"], ["240.0.0.1"], ["169.254.169.254"], ["168.63.129.16"], ["100.100.100.200"],
    ["::1"], ["::"], ["fe80::1"], ["fd00::1"], ["fd00:ec2::254"], ["ff02::fb"], ["2001:db8::25"],
    ["::ffff:127.0.0.1"], ["::10.0.0.1"], ["64:ff9b::a00:1"], ["2002:7f00:1::"], ["2001::f5ff:fffe"],
    ["8.8.8.8", "127.0.0.1"], ["8.8.8.8", "1.1.1.1", "10.0.0.1"], ["8.8.8.8", "2606:4700::1111", "::1"],
]  # fmt: skip


def fill_in(scene: Scene, action: str, host: str, port: int, **changed: Any) -> Page:
    """Presses a button of the SMTP form."""
    usual = {"preset": "other", "security": "none", "auth": "none", "username": "", "password": ""}
    scene.owner.get(scene.server_page)
    return scene.owner.post(scene.server_page, **{**usual, "host": host, "port": port, "action": action, **changed})


def outcome_of(scene: Scene, host: str, port: int, action: str = "test", **changed: Any) -> str:
    """Tests (or saves) a server and returns the page once the test is over."""
    page = fill_in(scene, action, host, port, **changed)
    assert page.status == 200, page.text
    return scene.owner.over(page)


def save(scene: Scene, name: str) -> None:
    """Saves the test's own mail server under this name and turns it on; what is held goes out."""
    page = fill_in(scene, "save", name, scene.own.port)
    # Settings that have passed a test are not tested again.
    if "data-live-task" in page.text:
        assert result(scene.owner.over(page)) == "ok"
    assert page.status == 200


def failed(page: str) -> list[tuple[str, str | None]]:
    return [(step, code) for step, (state, code) in steps(page).items() if state == "failed"]


NAME = "good.example"
NOT_ALLOWED = [("resolve", "destination_not_allowed")]


def test_forbidden_addresses_are_neither_tested_nor_saved(scene: Scene) -> None:
    for place, host in enumerate(LITERALS):
        page = outcome_of(scene, host, 587, "test" if place % 2 else "save")
        assert failed(page) == NOT_ALLOWED, host
    assert f"{scene.server_page}/remove" not in scene.owner.get(scene.server_page).text


def test_every_answer_of_a_name_is_judged_and_it_is_looked_up_once(scene: Scene) -> None:
    for place, answers in enumerate(ANSWERS):
        name = f"bad{place}.example"
        scene.names.zone[name] = [answers]
        assert failed(outcome_of(scene, name, 587, "test" if place % 2 else "save")) == NOT_ALLOWED, answers
        assert scene.names.lookups(name) == 1


def test_the_operators_exception_opens_one_address_and_one_port(scene: Scene) -> None:
    own = scene.own.port
    assert failed(outcome_of(scene, ELSEWHERE, 25)) == NOT_ALLOWED
    assert failed(outcome_of(scene, "127.0.0.1", 25)) == NOT_ALLOWED
    assert fill_in(scene, "test", ELSEWHERE, own).status == 422
    assert fill_in(scene, "test", "127.0.0.1", scene.decoys[1].address[1]).status == 422
    assert fill_in(scene, "test", "127.0.0.1", 6379).status == 422
    # Of a name the form cannot know where it leads; the worker does.
    scene.names.zone["elsewhere.example"] = [[ELSEWHERE]]
    assert failed(outcome_of(scene, "elsewhere.example", own)) == NOT_ALLOWED
    assert result(outcome_of(scene, "127.0.0.1", own)) == "ok"


def test_a_name_that_changes_between_check_and_connect_gains_nothing(scene: Scene) -> None:
    scene.names.zone["rebinding.example"] = [["127.0.0.1"], [ELSEWHERE]]
    assert result(outcome_of(scene, "rebinding.example", scene.own.port)) == "ok"
    assert scene.names.lookups("rebinding.example") == 1
    # With TLS the certificate has to be for the name; and whom it names is asked of the same address again.
    scene.names.zone["other.example"] = [["127.0.0.1"], [ELSEWHERE]]
    page = outcome_of(scene, "other.example", scene.sandbox.ports["accepts"], security="starttls")
    assert failed(page) == [("tls", "certificate_wrong_host")]
    assert scene.names.lookups("other.example") == 1


@pytest.mark.parametrize(
    ("play", "security", "code"),
    [
        ("redis-banner", "none", "not_smtp"),
        ("http-banner", "none", "not_smtp"),
        ("no-starttls", "starttls", "tls_unavailable"),
        ("starttls-injection", "starttls", "protocol_error"),
        ("self-signed", "starttls", "certificate_untrusted"),
        ("cleartext-auth", "none", "ok"),  # this very address the operator has named
        ("auth-535", "starttls", "auth_failed"),
        ("40-mb", "none", "protocol_error"),
        ("script-tags", "starttls", "sender_refused"),
        ("password-echo", "starttls", "auth_failed"),
        ("quit-421", "starttls", "ok"),
    ],
)
def test_a_hostile_server_meets_the_real_worker(scene: Scene, play: str, security: str, code: str) -> None:
    page = outcome_of(
        scene, "localhost", scene.sandbox.ports[play], security=security, auth="auto",
        username="hello@acme.test", password="canary-5b1d-password",
    )  # fmt: skip
    assert [found for _, found in failed(page)] == ([] if code == "ok" else [code])
    assert result(page) == ("ok" if code == "ok" else "failed")
    for word in ("canary-5b1d", "wrong number of arguments", "secret/1.0", "<script>alert"):
        assert word not in page


def test_a_password_goes_in_the_clear_only_to_an_address_that_the_operator_named(scene: Scene) -> None:
    port = scene.sandbox.ports["cleartext-auth"]
    sign_in = {"security": "none", "auth": "auto", "username": "hello@acme.test", "password": "canary-5b1d-password"}
    before = sum("> AUTH" in line for line in scene.sandbox.of("cleartext-auth"))
    # Its name leads there now, and may lead elsewhere by the next look-up.
    scene.names.zone["clear.example"] = [["127.0.0.1"]]
    assert failed(outcome_of(scene, "clear.example", port, **sign_in)) == [("auth", "auth_needs_tls")]
    assert sum("> AUTH" in line for line in scene.sandbox.of("cleartext-auth")) == before
    assert result(outcome_of(scene, "127.0.0.1", port, **sign_in)) == "ok"


def test_a_name_that_turns_private_after_it_was_saved_is_not_dialled(scene: Scene) -> None:
    """Campaign mail and test sends are held, and go out once the name leads to where it may lead again."""
    held = ""
    for place, answers in enumerate((["10.9.9.9"], ["169.254.169.254"], [ELSEWHERE], ["127.0.0.1", ELSEWHERE])):
        scene.names.zone[NAME] = [["127.0.0.1"]]
        save(scene, NAME)
        if held:
            wait_for_state(scene, held, "sent")
        # Under another name, as by now there is an open connection to where the first one led, which stays good.
        turning = f"turning{place}.example"
        scene.names.zone[turning] = [["127.0.0.1"]]
        save(scene, turning)
        scene.names.zone[turning] = [answers]
        held = joined(scene, f"friend{place}@friends.test")
        wait_for_state(scene, held, "held")
        scene.owner.get(scene.notification_page)
        page = scene.owner.post(f"{scene.notification_page}/test-send", to="owner@acme.test")
        assert result(scene.owner.over(page)) == "held"
    assert "may not be reached from here" in scene.owner.get("/").text


def wait_for_state(scene: Scene, delivery: str, state: str) -> None:
    wait_for(lambda: scene.api.state(delivery) == state, 30, what=f"{state}; {scene.watched.logs()}")


def joined(scene: Scene, email: str) -> str:
    """Reports that somebody joined, and returns the id of the letter to them."""
    event = {"type": "referrer.joined", "campaign": "spring", "referrer": {"email": email, "first_name": "Robin"}}
    made = scene.api.ask("/events", event)["deliveries"]
    return next(str(one["id"]) for one in made if one["notification"] == "welcome")


def test_nothing_else_was_dialled_by_any_process(scene: Scene) -> None:
    scene.names.zone[NAME] = [["127.0.0.1"]]
    save(scene, NAME)
    wait_for_state(scene, joined(scene, "last@friends.test"), "sent")
    calls = scene.watched.calls()
    # The hook was there and saw them at work: each has called Redis.
    own_redis = str(scene.redis.socket)
    assert {call.part for call in calls if call.what == own_redis} == {"web", "interactive", "delivery", "ticker"}
    mine = {("127.0.0.1", scene.names.port), ("127.0.0.1", scene.platform.port)}
    dialled = {(call.part, call.dialled) for call in calls if call.dialled is not None}
    assert {address for _, address in dialled} <= mine | scene.vetted
    # And it saw what it had to see: name server and mail server by both kinds of workers, neither by the web.
    own = ("127.0.0.1", scene.own.port)
    for part in ("interactive", "delivery"):
        assert {(part, own), (part, ("127.0.0.1", scene.names.port))} <= dialled
    assert not [address for part, address in dialled if part in ("web", "ticker")]
    assert not any(decoy.was_called() for decoy in scene.decoys)
    sockets = {call.what for call in calls if call.family == "AF_UNIX"}
    assert sockets == {own_redis}


def test_no_name_was_looked_up_another_way_and_no_program_started(scene: Scene) -> None:
    calls = scene.watched.calls()
    lookups = {call.what for call in calls if call.event.startswith(("socket.get",))}
    # A literal asks nobody; its own name is what a machine says who it is.
    assert lookups <= {"127.0.0.1", "localhost", "", "None", socket.gethostname(), socket.getfqdn()}
    assert not [call for call in calls if call.event.startswith(("subprocess", "os."))]
