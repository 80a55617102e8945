"""One dialogue with one server: from the look-up to the end of AUTH, and then command by command."""

import re
import time
from collections.abc import Callable

from panel.smtp import auth
from panel.smtp.destination import DestinationError, DestinationPolicy, VettedAddress, vet
from panel.smtp.features import Features
from panel.smtp.outcome import FailureCode, Phase
from panel.smtp.reply import Cleaner, Reply
from panel.smtp.resolver import Resolver
from panel.smtp.settings import Security, ServerSettings, validate_host
from panel.smtp.steps import Step, StepReporter
from panel.smtp.timeouts import Timeouts
from panel.smtp.tls import TlsSummary, tls_context
from panel.smtp.transport import Transport
from panel.smtp.trouble import Broken, Refused

_EHLO_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|\[[A-Za-z0-9:.-]+\]")
_EHLO_UNKNOWN = (500, 502, 504)
_TLS_PROBE = 3.0  # seconds


class Connection:
    """Says commands and reads replies, each within its time; raises what `trouble` lists.

    `phase` and `end` are its owner's to set: after `end`, of `time.monotonic`, nothing is waited for any more.
    """

    def __init__(
        self,
        *,
        settings: ServerSettings,
        policy: DestinationPolicy,
        ehlo_name: str,
        timeouts: Timeouts,
        steps: StepReporter,
        resolver: Resolver | None,
    ) -> None:
        if not _EHLO_NAME.fullmatch(ehlo_name):
            raise ValueError("The EHLO name must be a domain name or an address literal like [192.0.2.25].")
        self.phase = Phase.CLOSED
        self.end = float("inf")
        self.features = Features()
        self.tls: TlsSummary | None = None
        self.transport = Transport()
        self.steps = steps
        self.clean = Cleaner([settings.password] if settings.password else [])
        self._settings = settings
        self._policy = policy
        self._ehlo_name = ehlo_name.encode("ascii")
        self._timeouts = timeouts
        self._resolver = resolver
        self._dialled: VettedAddress | None = None
        self._cancel_lookup: Callable[[], None] | None = None

    def open(self) -> None:
        """Look up, connect, greet, encrypt, say hello and sign in."""
        self._connect()
        if self._settings.security is Security.TLS:
            self._tls_first()
            self._greet()
        else:
            self._greet()
            self._tls_by_starttls_or_none()
        self._hello()
        self._sign_in()

    def abort(self, *, late: bool) -> None:
        """End whatever is waited for, from another thread."""
        self.transport.abort(late=late)
        if self._cancel_lookup is not None:
            self._cancel_lookup()

    def command(self, line: bytes, seconds: float) -> Reply:
        """Say one line and return the reply, whatever it is."""
        self.refuse_unasked()
        deadline = self.deadline(seconds)
        self.transport.write(line + b"\r\n", deadline)
        return self.transport.read_reply(deadline)

    def refuse_unasked(self) -> None:
        """Raise when the server has spoken out of turn: from then on no reply would answer what was asked.

        A 421 is the exception: a server may say at any time that it closes (RFC 5321 section 3.8). To be called only
        while no reply is owed.
        """
        if self.transport.look():
            reply = self.transport.read_reply(self.deadline(self._timeouts.reply))
            if reply.code == 421:
                raise Refused(reply)
            raise Broken(FailureCode.PROTOCOL_ERROR, "The server answered what it was not asked.")

    def deadline(self, seconds: float) -> float:
        """Return when a wait of so many seconds ends, at the latest at `end`."""
        return min(self.end, time.monotonic() + seconds)

    def ok(self, detail: str, reply: Reply | None = None) -> None:
        """Tell the observer that the running step worked; cleaning the reply is spared when nobody looks."""
        if self.steps.observed:
            self.steps.ok(detail, shown(reply, self.clean) if reply else None)

    def _begin(self, step: Step, phase: Phase) -> None:
        self.phase = phase
        self.steps.running(step)

    def _connect(self) -> None:
        settings = self._settings
        self._begin(Step.RESOLVE, Phase.RESOLVE)
        try:
            addresses = vet(
                host=settings.host,
                port=settings.port,
                policy=self._policy,
                deadline=self.deadline(self._timeouts.resolve),
                resolver=self._resolver,
                cancellable=self._on_lookup,
            )
        except DestinationError as problem:
            raise Broken(problem.failure, problem.detail) from problem
        self.ok(f"Found {len(addresses)} address{'' if len(addresses) == 1 else 'es'}.")
        self._begin(Step.CONNECT, Phase.CONNECT)
        self._dialled = self._dial(addresses)
        self.ok(f"Connected to {self._dialled.sockaddr[0]}, port {settings.port}.")

    def _dial(self, addresses: list[VettedAddress]) -> VettedAddress:
        deadline = self.deadline(self._timeouts.open)
        return self.transport.connect(addresses, deadline=deadline, each=self._timeouts.connect)

    def _on_lookup(self, cancel: Callable[[], None]) -> None:
        # Set first and looked at second, where `abort` does it the other way round: whoever comes last cancels.
        self._cancel_lookup = cancel
        if self.transport.aborted:
            cancel()

    def _greet(self) -> None:
        self._begin(Step.GREETING, Phase.GREETING)
        try:
            reply = self._greeting()
        except Broken as trouble:
            if trouble.failure is FailureCode.TIMED_OUT and self._awaits_tls():
                raise Broken(
                    FailureCode.WRONG_SECURITY, "The server waits for TLS from the start on this port."
                ) from trouble
            raise
        self.ok("The server greeted.", reply)

    def _greeting(self) -> Reply:
        return done(self.transport.read_reply(self.deadline(self._timeouts.greeting)), wanted=220)

    def _awaits_tls(self) -> bool:
        """Whether a server that does not greet is waiting for TLS: asked only when the session has failed anyway.

        A certificate that would not be trusted is an answer in TLS all the same.
        """
        if self.tls is not None or self.transport.pending:
            return False
        try:
            self.transport.start_tls(
                context=tls_context(authorities=self._settings.ca_certificate),
                host=self._server_name(),
                deadline=self.deadline(min(_TLS_PROBE, self._timeouts.tls)),
            )
        except Broken as trouble:
            return trouble.failure.startswith("certificate_")
        return True

    def _tls_first(self) -> None:
        self._begin(Step.TLS, Phase.TLS)
        self._start_tls(after_starttls=False)

    def _tls_by_starttls_or_none(self) -> None:
        if self._settings.security is Security.NONE:
            self.steps.skipped(Step.TLS, "Not encrypted, as set.")
            return
        self._begin(Step.TLS, Phase.TLS)
        self._say_starttls()
        self._start_tls(after_starttls=True)

    def _say_starttls(self) -> None:
        if not Features.parse(done(self._ehlo())).starttls:
            raise Broken(FailureCode.TLS_UNAVAILABLE, "The server does not offer STARTTLS on this port.")
        done(self.command(b"STARTTLS", self._timeouts.reply), wanted=220)

    def _start_tls(self, *, after_starttls: bool) -> None:
        try:
            self.tls = self._handshake(any_name=False, after_starttls=after_starttls)
        except Broken as trouble:
            if trouble.failure is not FailureCode.CERTIFICATE_WRONG_HOST or not self.steps.observed:
                raise
            names = self._names_in_certificate(after_starttls=after_starttls)
            raise Broken(trouble.failure, f"{trouble.detail} {names}".rstrip()) from trouble
        self.ok(self.tls.text)

    def _handshake(self, *, any_name: bool, after_starttls: bool) -> TlsSummary:
        return self.transport.start_tls(
            context=tls_context(any_name=any_name, authorities=self._settings.ca_certificate),
            host=self._server_name(),
            deadline=self.deadline(self._timeouts.tls),
            after_starttls=after_starttls,
        )

    def _names_in_certificate(self, *, after_starttls: bool) -> str:
        """Dial the same address again, only to tell a person whom its trusted certificate names."""
        self.transport.close()
        try:
            if self._dialled is not None:
                self._dial([self._dialled])
            if after_starttls:
                self._greeting()
                self._say_starttls()
            names = self._handshake(any_name=True, after_starttls=after_starttls).names
        except (Broken, Refused) as trouble:
            if isinstance(trouble, Broken) and trouble.failure is FailureCode.CANCELED:
                raise
            return ""
        return self.clean(f"It names {', '.join(names[:5])}.")

    def _server_name(self) -> str:
        """Return the name that the certificate has to be for: what was asked for, never what DNS made of it."""
        return validate_host(self._settings.host)

    def _hello(self) -> None:
        """Say EHLO. What was offered before TLS counts for nothing after it (RFC 3207 section 4.2)."""
        self._begin(Step.HELLO, Phase.HELLO)
        reply = self._ehlo()
        if reply.code in _EHLO_UNKNOWN and self.tls is None and not self._settings.wants_auth:
            # A server from before 1995; without TLS and AUTH nothing of EHLO is needed (RFC 5321 section 3.2).
            reply = done(self.command(b"HELO " + self._ehlo_name, self._timeouts.reply))
            self.ok("The server knows only HELO.", reply)
            return
        self.features = Features.parse(done(reply))
        self.ok(self.clean(self.features.summary))

    def _ehlo(self) -> Reply:
        return self.command(b"EHLO " + self._ehlo_name, self._timeouts.reply)

    def _sign_in(self) -> None:
        settings = self._settings
        if not settings.wants_auth:
            self.steps.skipped(Step.AUTH, "Without username and password, as set.")
            return
        self._begin(Step.AUTH, Phase.AUTH)
        if self.tls is None and not settings.cleartext_auth_allowed:
            raise Broken(FailureCode.AUTH_NEEDS_TLS, "The password was not sent, as the connection is not encrypted.")
        method = auth.choose(wanted=settings.auth, offered=self.features.auth, encrypted=self.tls is not None)
        if method is None:
            raise Broken(FailureCode.AUTH_UNAVAILABLE, self._no_method())
        self.clean.hide(f"\0{settings.username}\0{settings.password}")
        reply = auth.sign_in(
            method=method, username=settings.username, password=settings.password, converse=self._say_in_secret
        )
        self.ok(f"Signed in by {method.value.upper()}.", done(reply, wanted=235))

    def _say_in_secret(self, line: bytes) -> Reply:
        if not line.startswith(b"AUTH "):
            self.clean.hide(line.decode("ascii"))
        return self.command(line, self._timeouts.reply)

    def _no_method(self) -> str:
        if not self.features.auth:
            return "The server offers no way to sign in."
        offered = ", ".join(sorted(self.features.auth))
        return self.clean(f"The server offers to sign in by {offered} only, which does not fit these settings.")


def done(reply: Reply, *, wanted: int | None = None) -> Reply:
    """Return a reply that says yes: any 2yz, or the one code wanted. Raises Refused for a no, Broken for nonsense."""
    if reply.code == wanted or (wanted is None and reply.positive):
        return reply
    if reply.temporary or reply.permanent:
        raise Refused(reply)
    raise Broken(FailureCode.PROTOCOL_ERROR, f"The server answered {reply.code}, which makes no sense at this point.")


def shown(reply: Reply, clean: Cleaner) -> str:
    """Return a reply's code and words as a person may see them."""
    return clean(f"{reply.code} {reply.text}")
