"""Settings as they are typed and as an operator writes them."""

import pytest

from panel.smtp.settings import AuthMethod, Security, ServerSettings, parse_smtp_url, validate_host


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("smtp.example.com", "smtp.example.com"),
        (" SMTP.Example.COM. ", "smtp.example.com"),
        ("mail_server", "mail_server"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ＳＭＴＰ.example.com", "smtp.example.com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::1", "::1"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        # Not a name, but it is for the destination to say so, with its own code.
        ("2130706433", "2130706433"),
    ],
)
def test_it_takes_names_and_addresses(typed: str, host: str) -> None:
    assert validate_host(typed) == host


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "Enter"),
        ("a\r\nb", "line break"),
        ("a\nb", "line break"),
        ("a\0b", "control"),
        ("me@example.com", "email address"),
        ("smtp.example.com:22", "port"),
        ("[127.0.0.1]", "brackets"),
        ("[::1]", "brackets"),
        ("https://smtp.example.com", "http"),
        ("smtp.example.com/path", "path"),
        ("a" * 256, "longer"),
        ("a." * 127 + "com", "longer"),
        ("a" * 64 + ".com", "not a server"),
        ("smtp example com", "not a server"),
        ("smtp..example.com", "not a server"),
        ("-smtp.example.com", "not a server"),
        ("smtp.example.com;ls", "not a server"),
        ("fe80::1%eth0", "zone"),
        ("smtp.exa\u2028mple.com", "not a server"),
        ("smtp.exa\u202emple.com", "not a server"),
    ],
)
def test_it_says_what_is_wrong_with_a_host(typed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        validate_host(typed)


def test_it_reads_an_operators_url() -> None:
    assert parse_smtp_url("smtp://me%40x.org:p%2Fa%3Ass%25@mail.example.com:2587?security=starttls") == ServerSettings(
        host="mail.example.com", port=2587, security=Security.STARTTLS, username="me@x.org", password="p/a:ss%"
    )
    assert parse_smtp_url("smtp://mail.example.com") == ServerSettings(
        host="mail.example.com", port=587, security=Security.STARTTLS
    )
    assert parse_smtp_url("smtp://mail.example.com?security=tls").port == 465
    assert parse_smtp_url("smtp://[::1]:1025?security=none").host == "::1"
    assert parse_smtp_url("smtp://u:p@127.0.0.1:1025?security=none").cleartext_auth_allowed
    assert not parse_smtp_url("smtp://u:p@127.0.0.1:1025").cleartext_auth_allowed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com",
        "http://u:canary@mail.example.com",
        "smtp://u:canary@",
        "smtp://u:can/ary@mail.example.com",
        "smtp://u:can#ary@mail.example.com",
        "smtp://u:canary@mail.example.com:port",
        "smtp://u:canary@mail.example.com:99999",
        "smtp://u:canary@mail.example.com:0",
        "smtp://u:canary@mail.example.com?security=ssl",
        "smtp://u:canary@mail.example.com?secure=1",
        "smtp://u:canary@mail.example.com?security",
        "smtp://u:canary@mail example.com",
        "smtp://u:canary%00@mail.example.com",
        "smtp://u:canary@[::1",
    ],
)
def test_it_refuses_a_malformed_url_without_repeating_the_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_smtp_url(url)
    assert "can" not in str(caught.value)
    assert str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_it_checks_port_and_nul() -> None:
    for wrong in ({"port": 0}, {"port": 65536}, {"username": "a\0b"}, {"password": "a\0b"}):
        with pytest.raises(ValueError):
            ServerSettings(**{"host": "h", "port": 25, "security": Security.NONE, **wrong})


def test_it_keeps_the_password_out_of_its_own_description() -> None:
    settings = ServerSettings(host="h", port=25, security=Security.NONE, username="u", password="canary")
    assert "canary" not in repr(settings)


def test_it_wants_auth_when_there_is_something_to_sign_in_with() -> None:
    base = {"host": "h", "port": 25, "security": Security.TLS}
    assert not ServerSettings(**base).wants_auth
    assert ServerSettings(**base, username="u").wants_auth
    assert not ServerSettings(**base, username="u", password="p", auth=AuthMethod.NONE).wants_auth
