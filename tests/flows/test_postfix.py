"""Against software that nobody here wrote: Postfix with STARTTLS and SASL, from Debian's packages."""

from __future__ import annotations

import email
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from panel.servers import service as servers
from panel.smtp.destination import DestinationPolicy
from panel.smtp.outcome import FailureCode, SmtpFailure
from panel.smtp.session import Session, Submission
from panel.smtp.settings import AuthMethod, Security, ServerSettings
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import authority, ca_pem_path
from tests.support.needs import missing
from tests.support.ports import free_port
from tests.support.wait import wait_for

__all__ = ["platform", "post"]

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("postfix")]

USER, PASSWORD = "hello", "a password for postfix"


class Postfix:
    """A Postfix of the test's own: its configuration, queue and mailboxes are in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._config, self._sasl = folder / "etc", folder / "etc" / "sasl"
        self.mailbox = folder / "mail" / "inbox"
        self._configure()

    def _configure(self) -> None:
        # Debian's smtpd looks for its SASL configuration below the folder of main.cf.
        for name in ("etc", "etc/sasl", "spool", "data", "mail"):
            (self.folder / name).mkdir()
        cert: trustme.LeafCert = authority().issue_cert("localhost", "127.0.0.1")
        cert.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))
        self._config.joinpath("main.cf").write_text(
            textwrap.dedent(f"""
            compatibility_level = 3.6
            queue_directory = {self.folder}/spool
            data_directory = {self.folder}/data
            command_directory = /usr/sbin
            daemon_directory = /usr/lib/postfix/sbin
            mail_owner = postfix
            setgid_group = postdrop
            myhostname = localhost
            mydestination =
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            maillog_file = {self.folder}/log
            maillog_file_prefixes = {self.folder}
            smtpd_tls_chain_files = {self.folder}/server.pem
            smtpd_tls_security_level = encrypt
            smtpd_sasl_auth_enable = yes
            smtpd_sasl_path = smtpd
            smtpd_sasl_security_options = noanonymous
            smtpd_relay_restrictions = permit_sasl_authenticated, reject
            virtual_mailbox_domains = friends.test
            virtual_mailbox_base = {self.folder}/mail
            virtual_mailbox_maps = inline:{{ {{ robin@friends.test = inbox/ }} }}
            virtual_uid_maps = static:{pwd.getpwnam("postfix").pw_uid}
            virtual_gid_maps = static:{grp.getgrnam("postfix").gr_gid}
            virtual_minimum_uid = 1
            """)
        )
        services = [f"127.0.0.1:{self.port} inet n - n - - smtpd"]
        # Of a service's columns only the first, whether it is private, and its program differ here (master(5)).
        services += [
            f"{name} unix n - n - {limit} {name}" for name, limit in (("cleanup", 0), ("pickup", 1), ("qmgr", 1))
        ]
        private = {"rewrite": "trivial-rewrite", "defer": "bounce", "trace": "bounce", "retry": "error"}
        private |= {name: name for name in ("bounce", "error", "proxymap")}
        services += [f"{name} unix - - n - - {program}" for name, program in private.items()]
        services += ["virtual unix - n n - - virtual", "tlsmgr unix - - n - 1 tlsmgr", "anvil unix - - n - 1 anvil"]
        services += ["postlog unix-dgram n - n - 1 postlogd"]
        self._config.joinpath("master.cf").write_text("\n".join(services) + "\n")
        self._sasl.joinpath("smtpd.conf").write_text(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN CRAM-MD5\n"
            f"sasldb_path: {self._sasl}/sasldb2\n"
        )
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-f", self._sasl / "sasldb2", "-u", "localhost", USER],
            input=PASSWORD.encode(), check=True,
        )  # fmt: skip
        postfix = pwd.getpwnam("postfix")
        for name in ("data", "mail"):
            os.chown(self.folder / name, postfix.pw_uid, postfix.pw_gid)
        shutil.chown(self._sasl / "sasldb2", "postfix", "postfix")

    def start(self) -> None:
        subprocess.run(["postfix", "-c", self._config, "start"], check=True, capture_output=True)

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", self._config, "abort"], check=False, capture_output=True)

    def letters(self) -> list[bytes]:
        return [path.read_bytes() for path in self.mailbox.glob("new/*")]

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """A running Postfix."""
    if shutil.which("postfix") is None or shutil.which("saslpasswd2") is None:
        missing("Postfix with SASL", install="apt-get install postfix sasl2-bin libsasl2-modules")
    if os.geteuid() != 0:
        missing("root, which Postfix needs to start", install="run the tests as root or in a container")
    # Not pytest's folder, which is closed to other users, and Postfix's parts are some.
    folder = Path(tempfile.mkdtemp(prefix="ownpost-postfix-"))
    folder.chmod(0o755)
    made = Postfix(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' certificate authority is trusted, as an operator would say it."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_pem_path())


def _settings(postfix: Postfix, password: str = PASSWORD, auth: str = "auto") -> ServerSettings:
    return ServerSettings(
        host="localhost", port=postfix.port, security=Security.STARTTLS, auth=AuthMethod(auth),
        username=f"{USER}@localhost", password=password,
    )  # fmt: skip


def _session(postfix: Postfix, **settings: str) -> Session:
    return Session(
        settings=_settings(postfix, **settings),
        policy=DestinationPolicy.parse(ports="25", allow=f"127.0.0.1:{postfix.port}"),
        ehlo_name="ownpost.test",
    )


@pytest.mark.parametrize("auth", ["auto", "plain", "login", "cram-md5"])
def test_it_signs_in_and_probes(postfix: Postfix, auth: str) -> None:
    with _session(postfix, auth=auth) as session:
        session.open()
        session.probe(sender="hello@acme.test", recipient="robin@friends.test")
        session.quit()


def test_a_wrong_password_is_told_as_one(postfix: Postfix) -> None:
    with _session(postfix, password="not it") as session, pytest.raises(SmtpFailure) as caught:
        session.open()
    assert caught.value.outcome.failure is FailureCode.AUTH_FAILED


class _Nothing:
    """A journal that nobody reads."""

    def before_envelope(self, submission: Submission) -> None: ...

    def before_body(self, submission: Submission, following: Submission | None) -> None: ...


def test_letters_are_pipelined_with_refused_ones_among_them(postfix: Postfix) -> None:
    names = ["robin", "nobody", "robin", "robin", "nobody", "nobody", "robin"]

    def submission(number: int, name: str) -> Submission:
        head = f"Message-ID: <pipelined-{number}@acme.test>\r\nSubject: {number}\r\n\r\n"
        octets = head.encode() + b".dots and lines\r\n" * 500 * number
        return Submission(
            sender="hello@acme.test", recipient=f"{name}@friends.test", letter=lambda _eightbit: octets
        )  # fmt: skip

    with _session(postfix) as session:
        session.open()
        assert session.features.pipelining
        outcomes = list(session.send_all([submission(*pair) for pair in enumerate(names)], _Nothing()))
        assert session.reusable
        session.quit()
    assert [outcome.accepted for outcome in outcomes] == [name == "robin" for name in names], postfix.log()
    assert {outcome.code for outcome in outcomes if not outcome.accepted} == {550}
    wanted = {f"<pipelined-{number}@acme.test>" for number, name in enumerate(names) if name == "robin"}
    wait_for(lambda: wanted <= _message_ids(postfix), 20, what="the letters in their mailbox")
    assert {one for one in _message_ids(postfix) if "pipelined" in one} == wanted


def test_campaign_mail_arrives(postfix: Postfix, post: Post) -> None:
    post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{postfix.port}")
    entry = servers.Entry(
        preset="other", host="localhost", port=postfix.port, security="starttls", auth="auto",
        username=f"{USER}@localhost", password=PASSWORD,
    )  # fmt: skip
    with post.world.acme_scope():
        servers.note_passed(post.address_id, entry)
        servers.save(post.address_id, entry, servers.By())
    welcome = post.welcome()
    unknown = post.welcome("nobody@friends.test")
    post.send()
    assert post.get(welcome).state == "sent", postfix.log()
    assert post.get(unknown).state == "failed"
    wanted = post.get(welcome).message_id
    wait_for(lambda: wanted in _message_ids(postfix), 20, what="the letter in its mailbox")
    assert post.get(unknown).message_id not in _message_ids(postfix)


def _message_ids(postfix: Postfix) -> set[str]:
    return {str(email.message_from_bytes(letter)["Message-ID"]) for letter in postfix.letters()}
