"""The script format: what each line means, and what is said of one that means nothing."""

from __future__ import annotations

import pytest

from panel.sandbox.misdeeds import PLAYS
from panel.sandbox.script import Drip, Flood, HangUp, Rule, Say, Script, ScriptError, Stall, Usual, Wait


def rule(line: str) -> Rule:
    (one,) = Script.parse(line).rules
    return one


@pytest.mark.parametrize(
    ("right", "actions"),
    [
        ("550 5.1.1 No such user", (Say(b"550 5.1.1 No such user\r\n"),)),
        ("250", (Say(b"250\r\n"),)),
        ('"2500 \\x41\\t\\e[0m\\\\ \\"q\\"\\r\\n"', (Say(b'2500 A\t\x1b[0m\\ "q"\r\n'),)),
        ('"220 ü; no end"; hang up', (Say("220 ü; no end".encode()), HangUp())),
        ("wait 1.5; usual", (Wait(1.5), Usual())),
        ("drip 0.25; usual; stall", (Drip(0.25), Usual(), Stall())),
        ("reset", (HangUp(reset=True),)),
        ('flood 40M "220-x\\r\\n"', (Flood(40_000_000, b"220-x\r\n"),)),
    ],
)
def test_it_reads_what_is_to_be_done(right: str, actions: tuple[object, ...]) -> None:
    assert rule(f"RCPT -> {right}").actions == actions


def test_it_reads_when_it_is_to_be_done() -> None:
    assert rule("RCPT Bob@* -> 550 no").fits == "bob@*"
    assert rule("first 3 RCPT *@x -> 451 no").first == 3
    assert (rule("after 50 letters -> hang up").when, rule("after 50 letters -> hang up").after) == ("any", 50)
    assert (rule("after 1 letter MAIL -> hang up").when, rule("after 1 letter MAIL -> hang up").after) == ("MAIL", 1)


def test_it_reads_settings_and_leaves_out_comments() -> None:
    script = Script.parse(
        "# a server\n\ntls: first\n  certificate: expired\noffer: SIZE 10, AUTH PLAIN\ntls-version: 1.2\n"
    )
    assert (script.tls, script.certificate, script.tls_version) == ("first", "expired", "1.2")
    assert script.offer == ("SIZE 10", "AUTH PLAIN")
    assert script.rules == ()


def test_the_first_rule_that_fits_holds() -> None:
    one = rule("RCPT bob@* -> 550 no")
    assert one.holds("RCPT", "BOB@example.com", letters=0)
    assert not one.holds("RCPT", "bobby@example.com", letters=0)
    assert not one.holds("MAIL", "bob@example.com", letters=0)
    assert not rule("after 2 letters -> hang up").holds("MAIL", "", letters=1)
    assert rule("after 2 letters -> hang up").holds("MAIL", "", letters=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RCPT 550 no", "line 1: 'RCPT 550 no' is neither a rule"),
        ("\nHERE -> 250 ok", "line 2: 'HERE' is not a moment; those are greeting"),
        ("RCPT ->", "line 1: there is nothing to do after ->"),
        ("RCPT -> explode", "line 1: 'explode' is nothing that can be done"),
        ("tls: maybe", "line 1: tls is one of starttls, first, none"),
        ("rules: x", "line 1: 'rules: x' is neither"),
        ("first many RCPT -> 250 ok", "is not a moment"),
        ("RCPT a b c -> 250 ok", "is not a moment"),
    ],
)
def test_it_names_the_line_that_makes_no_sense(text: str, words: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Script.parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", PLAYS)
def test_what_comes_with_it_can_be_read(name: str) -> None:
    Script.parse(PLAYS[name].script)
