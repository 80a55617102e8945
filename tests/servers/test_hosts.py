"""What may stand in Server and Port: a plain name or address, and a port that the operator lets tenants use."""

from __future__ import annotations

from tests.servers.conftest import Mail, result, steps

HOSTS = [
    "smtp.acme.test\r\nMAIL", "smtp.acme.test\n", "\rsmtp.acme.test", "smtp\x00.acme.test", "smtp.acme.test\x7f",
    "smtp.acme.test\u2028x", "me@acme.test", "smtp.acme.test:22", "[smtp.acme.test]", "[::1]", "::1]", "fe80::1%eth0",
    "http://smtp.acme.test", "smtp.acme.test/", "//smtp.acme.test", "smtp acme test", "a" * 256, "a." * 127 + "aa",
    "-smtp.acme.test", "smtp..acme.test", "", ".", "smtp.acme.test;id", "$(id)", "smtp.acme.test?x", "*",
]  # fmt: skip
PORTS = ["0", "-1", "22", "80", "6379", "5432", "65535", "65536", "9" * 14, "5 87", "0x24b", "587x", ""]


def test_a_host_that_is_more_or_less_than_a_name_is_refused(mail: Mail) -> None:
    for host in HOSTS:
        for action in ("test", "save", "draft"):
            answer = mail.browser.post(mail.url, {**mail.fields(587), "host": host, "action": action})
            assert answer.status_code == 422, (host, action)
            assert 'id="host-error"' in answer.get_data(as_text=True), host
    assert mail.server() is None


def test_a_port_outside_the_set_is_refused(mail: Mail) -> None:
    for port in PORTS:
        for host in ("smtp.acme.test", "8.8.8.8"):
            answer = mail.browser.post(mail.url, {**mail.fields(587), "host": host, "port": port, "action": "test"})
            assert answer.status_code == 422, (host, port)
            assert 'id="port-error"' in answer.get_data(as_text=True), port


def test_the_operators_exceptions_are_exact(mail: Mail) -> None:
    mail.world.reconfigure(OWNPOST_SMTP_ALLOW="10.1.2.3:26")
    mail.browser = mail.world.client(mail.world.owner)
    for host, port in (("10.1.2.4", 26), ("10.1.2.3", 6379)):
        answer = mail.browser.post(mail.url, {**mail.fields(port), "host": host, "action": "test"})
        assert answer.status_code == 422, host
    answer = mail.press("test", 25, host="10.1.2.3")
    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert (steps(page)["resolve"], result(page)) == (("failed", "destination_not_allowed"), "failed")
