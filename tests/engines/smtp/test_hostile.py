"""Servers that misbehave, played by `ownpost sandbox`, against the real session in a process of its own.

Whatever they do there is one code, in time and for little memory, and no foreign banner or password of ours is shown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from panel.sandbox.misdeeds import EVERYDAY, HOSTILE, PLAYS
from panel.smtp.outcome import FailureCode
from tests.engines.smtp.alone import Alone
from tests.support.sandbox import Sandbox
from tests.support.wait import wait_for

USERNAME, PASSWORD = "owner@example.org", "Canary-Passw0rd€ 7"
# A tenth of what a connection test gives each wait, for servers that make us wait.
TENTH = {
    "session": 1.7,
    "open": 1.5,
    "resolve": 0.5,
    "connect": 0.6,
    "greeting": 0.9,
    "tls": 0.6,
    "reply": 0.9,
    "quit": 0.2,
}
SLOW = ("greeting-drips", "byte-a-second")
MOST_SECONDS, MOST_KILOBYTES = 20, 10_000


class Playing:
    """The sandbox, and sessions in processes of their own."""

    def __init__(self, sandbox: Sandbox, alone: Alone) -> None:
        self.sandbox = sandbox
        self._alone = alone

    def meet(self, name: str, **changed: Any) -> dict[str, Any]:
        """Talk to a server that plays this, and say what came of it."""
        job = {
            "port": self.sandbox.ports[name],
            "security": {"cleartext-auth": "none", "ehlo-refused-under-tls": "tls"}.get(name, "starttls"),
            "auth": "auto",
            "username": USERNAME,
            "password": PASSWORD,
            "timeouts": TENTH if name in SLOW else None,
            "send": False,
            **changed,
        }
        answer = self._alone.run(job)
        for secret in spellings():
            assert secret not in json.dumps(answer)
        assert answer["grown"] < MOST_KILOBYTES
        return answer

    def sign_ins(self, name: str) -> int:
        """How often somebody has said AUTH to this server."""
        return sum("> AUTH" in line for line in self.sandbox.of(name))


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playing]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), "--play-all") as sandbox:
        assert set(sandbox.ports) == set(PLAYS)
        alone = Alone(sandbox.ca_file)
        yield Playing(sandbox, alone)
        alone.close()


def spellings() -> list[str]:
    """The password as it may be written, and as it is sent."""
    said = [PASSWORD, f"\0{USERNAME}\0{PASSWORD}"]
    encoded = [base64.b64encode(text.encode()).decode().rstrip("=") for text in said]
    return [PASSWORD, PASSWORD.lower(), json.dumps(PASSWORD)[1:-1], *encoded]


@pytest.mark.parametrize("name", HOSTILE)
def test_it_makes_one_code_of_it_in_time_and_for_little_memory(playing: Playing, name: str) -> None:
    code = HOSTILE[name].code
    found = playing.meet(name)
    assert found["code"] == code
    assert [failed for _, failed in found["failed"]] == ([code] if code else [])
    assert found["seconds"] < (MOST_SECONDS if name not in SLOW else MOST_SECONDS / 4)


def test_it_knows_every_misdeed_of_the_threat_model() -> None:
    wanted = {
        "no-starttls", "starttls-454", "starttls-502", "starttls-354", "starttls-injection", "ehlo-refused",
        "self-signed", "expired", "wrong-host", "tls-1.0", "cleartext-auth", "auth-503", "auth-535", "greeting-drips",
        "40-mb", "9-kb-line", "byte-a-second", "late-250", "quit-421", "code-2500", "code-199", "code-abc",
        "script-tags", "terminal-escapes", "password-echo", "redis-banner", "http-banner",
    }  # fmt: skip
    assert wanted <= set(HOSTILE)


@pytest.mark.parametrize("name", [name for name, play in EVERYDAY.items() if play.code])
def test_it_says_what_the_everyday_servers_are_said_to_come_to(playing: Playing, name: str) -> None:
    assert playing.meet(name)["code"] == EVERYDAY[name].code


@pytest.mark.parametrize("method", ["auto", "plain", "login", "cram-md5"])
def test_it_signs_in_by_each_method_it_is_offered(playing: Playing, method: str) -> None:
    assert playing.meet("accepts", auth=method, send=True)["verdict"] == "accepted"


@pytest.mark.parametrize("method", ["plain", "login", "cram-md5"])
def test_it_tries_a_refused_password_once_and_never_shows_it(playing: Playing, method: str) -> None:
    before = playing.sign_ins("password-echo")
    found = playing.meet("password-echo", auth=method)
    assert found["code"] == FailureCode.AUTH_FAILED
    assert re.fullmatch(r"535 5\.7\.8 (\[hidden\] )+is (\[hidden\])?, wrong", found["reply"])
    # What the sandbox shows comes a moment after what it says.
    wait_for(lambda: playing.sign_ins("password-echo") > before, 10, what="the sandbox's line")
    assert playing.sign_ins("password-echo") == before + 1


def test_the_sandbox_shows_no_password_either(playing: Playing) -> None:
    playing.meet("auth-535", auth="login")
    shown = "\n".join(playing.sandbox.lines)
    assert "> AUTH LOGIN ***" in shown
    for secret in spellings():
        assert secret not in shown


def test_it_never_says_the_password_before_tls_is_verified(playing: Playing) -> None:
    for name in (
        "no-starttls",
        "starttls-injection",
        "self-signed",
        "expired",
        "wrong-host",
        "tls-1.0",
        "cleartext-auth",
    ):
        playing.meet(name)
        assert playing.sign_ins(name) == 0, name


@pytest.mark.parametrize("name", ["redis-banner", "http-banner"])
def test_it_shows_nothing_of_a_foreign_banner(playing: Playing, name: str) -> None:
    found = playing.meet(name)
    assert found["reply"] is None
    assert "secret" not in found["told"]


def test_it_shows_no_escapes_and_leaves_tags_to_be_escaped(playing: Playing) -> None:
    escapes = playing.meet("terminal-escapes")
    assert escapes["reply"].isprintable()
    assert "\\x1b" not in escapes["told"]
    assert "\\x9b" not in escapes["told"]
    assert playing.meet("script-tags")["reply"].startswith("550 5.7.1 <script>alert(1)</script>")


def test_a_421_to_quit_changes_nothing_of_a_letter_that_was_taken(playing: Playing) -> None:
    found = playing.meet("quit-421", send=True)
    assert (found["code"], found["verdict"]) == (None, "accepted")
    assert found["goodbye"]


@pytest.mark.parametrize("name", ["late-250", "stalls", "hangs-up"])
def test_a_letter_whose_answer_never_came_is_uncertain(playing: Playing, name: str) -> None:
    found = playing.meet(name, send=True, timeouts={"final_dot": 0.4, "quit": 0.2})
    assert (found["verdict"], found["phase"]) == ("unknown", "final_dot")


def test_it_reads_little_of_40_megabytes(playing: Playing) -> None:
    for name in ("40-mb", "40-mb-line"):
        assert playing.meet(name)["grown"] < 2_000
