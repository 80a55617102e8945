"""Names are looked up by a resolver of our own: once, in time, and nowhere but where it is told to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from panel.config import ConfigError, Settings
from panel.smtp import resolver as resolving
from panel.smtp.destination import DestinationError, DestinationPolicy, vet
from panel.smtp.outcome import FailureCode
from panel.smtp.resolver import OwnResolver, system_resolver
from tests.engines.smtp.kit import code_of_opening
from tests.support.mailserver import MailServer
from tests.support.nameserver import NameServer

NAME = "mail.example"
NOWHERE = Path("/nonexistent/hosts")


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


def asking(names: NameServer, hosts: Path = NOWHERE) -> OwnResolver:
    return OwnResolver(servers=(("127.0.0.1", names.port),), hosts=hosts)


def test_it_asks_for_both_families_once_each(names: NameServer) -> None:
    names.zone[NAME] = [["2001:4860:4860::8888", "8.8.8.8", "8.8.4.4"]]
    assert sorted(asking(names)(NAME, 25)) == ["2001:4860:4860::8888", "8.8.4.4", "8.8.8.8"]
    assert asking(names)(NAME, 25)[-1] == "2001:4860:4860::8888"
    assert names.asked == [(NAME, "A"), (NAME, "AAAA")] * 2


def test_it_takes_a_name_that_has_one_family_only(names: NameServer) -> None:
    names.zone[NAME] = [["8.8.8.8"]]
    names.zone["six.example"] = [["2606:4700::1111"]]
    assert asking(names)(NAME, 25) == ["8.8.8.8"]
    assert asking(names)("six.example", 25) == ["2606:4700::1111"]


def test_it_remembers_nothing(names: NameServer) -> None:
    names.zone[NAME] = [["8.8.8.8"], ["10.0.0.1"]]
    ask = asking(names)
    assert [ask(NAME, 25), ask(NAME, 25)] == [["8.8.8.8"], ["10.0.0.1"]]


def test_it_reads_an_answer_of_hundreds_of_addresses_to_its_end(names: NameServer) -> None:
    names.zone[NAME] = [[f"8.8.{number // 250}.{number % 250 + 1}" for number in range(600)] + ["10.0.0.1"]]
    assert "10.0.0.1" in asking(names)(NAME, 25)
    with pytest.raises(DestinationError) as caught:
        vet(host=NAME, port=25, policy=policy(names), deadline=time.monotonic() + 5)
    assert caught.value.failure is FailureCode.DESTINATION_NOT_ALLOWED


def test_it_says_when_there_is_no_such_name(names: NameServer) -> None:
    names.zone["empty.example"] = [[]]
    with pytest.raises(OSError, match="know no such name"):
        asking(names)("no.example", 25)
    assert asking(names)("empty.example", 25) == []
    names.failing.add("A")
    with pytest.raises(OSError, match="know no such name"):
        asking(names)("empty.example", 25)


def test_it_adds_no_search_domain(names: NameServer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="know no such name"):
        asking(names)("metadata", 25)
    assert names.asked == [("metadata", "A")]


def test_it_ends_by_itself_when_nobody_answers(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "PATIENCE", 0.4)
    names.silent.add("A")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asking(names)(NAME, 25)
    assert time.monotonic() - began < 3
    code = code_of_opening(25, host=NAME, policy=policy(names))
    assert code is FailureCode.HOST_NOT_FOUND
    assert resolving.PATIENCE + resolving.IMPATIENCE < 5


def test_it_does_without_the_family_that_nobody_answers_for(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "IMPATIENCE", 0.2)
    names.zone[NAME] = [["8.8.8.8"]]
    for trouble in (names.silent, names.failing):
        trouble.add("AAAA")
        assert asking(names)(NAME, 25) == ["8.8.8.8"]
        trouble.clear()


def test_it_reads_the_hosts_file_first_and_anew(names: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# ours\n\n2001:db8::25 mail.example\n192.0.2.25\tMAIL.example other # mail\nfe80::1%eth0 mail.example\n"
    )
    names.zone["later.example"] = [["8.8.8.8"]]
    ask = asking(names, hosts)
    assert ask(NAME, 25) == ["192.0.2.25", "2001:db8::25"]
    assert ask("other", 25) == ["192.0.2.25"]
    assert ask("later.example", 25) == ["8.8.8.8"]
    hosts.write_text("192.0.2.26 later.example\n")
    assert ask("later.example", 25) == ["192.0.2.26"]
    assert [name for name, _ in names.asked] == ["later.example"] * 2


def test_it_never_asks_for_localhost(names: NameServer, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("8.8.8.8 localhost mail.localhost\n")
    for name in ("localhost", "mail.localhost"):
        assert set(asking(names, hosts)(name, 25)) == {"127.0.0.1", "::1"}
    assert names.asked == []


def policy(names: NameServer, allow: str = "") -> DestinationPolicy:
    return DestinationPolicy(
        ports=frozenset({25}),
        exceptions=DestinationPolicy.parse(ports="", allow=allow).exceptions,
        resolver=asking(names),
    )


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["8.8.8.8", "192.168.0.1"],
        ["8.8.8.8", "::ffff:10.0.0.1"],
    ],
)
def test_every_answer_of_a_real_name_server_is_judged(names: NameServer, answers: list[str]) -> None:
    names.zone[NAME] = [answers]
    assert code_of_opening(25, host=NAME, policy=policy(names)) is FailureCode.DESTINATION_NOT_ALLOWED


def test_it_dials_what_was_vetted_though_the_name_has_changed_meanwhile(names: NameServer) -> None:
    with MailServer(security="tls") as server:
        names.zone[NAME] = [["127.0.0.1"], ["127.0.0.2"]]
        found = code_of_opening(
            server.port, host=NAME, security="tls", policy=policy(names, f"127.0.0.1:{server.port}")
        )
        # TLS is verified for the name that was asked for, and that is not on this certificate.
        assert found is FailureCode.CERTIFICATE_WRONG_HOST
    assert names.lookups(NAME) == 1


def test_the_platform_server_is_looked_up_as_the_machine_does() -> None:
    assert DestinationPolicy.unguarded().resolver is system_resolver


# ---- OWNPOST_DNS_SERVERS


def test_the_operator_says_whom_to_ask() -> None:
    assert OwnResolver.parse(" ").servers == ()
    assert OwnResolver.parse("192.0.2.53, 192.0.2.54:5353,[2001:db8::53]:5354,[2001:db8::54],2001:db8::55").servers == (
        ("192.0.2.53", 53), ("192.0.2.54", 5353), ("2001:db8::53", 5354), ("2001:db8::54", 53), ("2001:db8::55", 53),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:dns", "[2001:db8::53", "fe80::1%eth0"]
)
def test_it_names_a_bad_name_server(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({**ENVIRON, "OWNPOST_DNS_SERVERS": f"192.0.2.1,{text}"})
    assert str(caught.value).startswith(f"OWNPOST_DNS_SERVERS: {text!r}")


def test_the_setting_reaches_the_policy() -> None:
    settings = Settings.from_env({**ENVIRON, "OWNPOST_DNS_SERVERS": "192.0.2.53:5353"})
    assert settings.smtp_policy.resolver == OwnResolver(servers=(("192.0.2.53", 5353),))
    assert Settings.from_env(ENVIRON).smtp_policy.resolver == OwnResolver()


ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:1",
    "OWNPOST_SECRET_KEY": "a secret key for tests, and only for tests",
    "OWNPOST_ENCRYPTION_KEYS": "k1:" + "A" * 43 + "=",
    "OWNPOST_PLATFORM_SMTP_URL": "smtp://127.0.0.1:9?security=none",
}
