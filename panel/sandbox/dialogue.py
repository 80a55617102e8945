"""The server's side of one connection, played as a script says."""

import base64
import binascii
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from panel.sandbox.script import Action, Drip, Flood, HangUp, Rule, Say, Script, Stall, Usual, Wait

LONGEST_LINE: Final = 65_536
IDLE: Final = 900.0
"""Seconds without a word from the client."""
NAME: Final = "sandbox.example"
_PIECE: Final = 65_536
_SHOWN: Final = 200

Show = Callable[[str], None]
Choose = Callable[[str, str, int], Rule | None]
"""Told moment, argument and how many letters this connection has brought, says which rule holds."""


class Over(Exception):
    """The connection has ended, from whichever side."""


class Dialogue:
    """Plays one connection to its end. `show` is told each line; of a sign-in only that there was one."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        script: Script,
        context: ssl.SSLContext,
        choose: Choose,
        show: Show,
        stopped: threading.Event,
    ) -> None:
        self._sock = sock
        self._script = script
        self._context = context
        self._choose = choose
        self._show = show
        self._stopped = stopped
        self._buffer = b""
        self._pace = 0.0
        self._tls = False
        self._letters = 0
        self._recipients: list[str] | None = None  # None: there is no MAIL
        self._said = self._password = b""

    def play(self) -> None:
        """Talk until one side ends it."""
        with suppress(Over, OSError):
            if self._script.tls == "first":
                self._start_tls()
            self._answer("greeting", "", lambda: self._say(f"220 {NAME} ESMTP Ownpost sandbox"))
            while True:
                self._obey(self._hear())

    def _obey(self, line: bytes) -> None:
        verb, _, argument = line.decode("utf-8", "replace").strip().partition(" ")
        verb = verb.upper()
        if verb != "AUTH":
            self._show(f"> {visible(line)}")
            self._said = line
        does = {
            "EHLO": self._ehlo,
            "HELO": lambda: self._say(f"250 {NAME}"),
            "MAIL": lambda: self._say("250 2.1.0 Sender noted"),
            "RCPT": self._rcpt,
            "RSET": lambda: self._say("250 2.0.0 Forgotten"),
            "NOOP": lambda: self._say("250 2.0.0 Nothing done"),
        }
        if verb == "STARTTLS":
            self._starttls()
        elif verb == "AUTH":
            self._auth(argument)
        elif verb == "DATA":
            self._data()
        elif verb == "QUIT":
            self._answer(verb, argument, lambda: self._say("221 2.0.0 Goodbye"))
            raise Over
        elif verb in does:
            if self._answer(verb, _address(argument), does[verb]).startswith(b"2"):
                self._note(verb, _address(argument))
        else:
            self._answer(verb, argument, lambda: self._say("500 5.5.2 The sandbox does not know that command"))

    # ---- what is done without a rule

    def _ehlo(self) -> None:
        offer = self._script.offer
        if not self._tls and self._script.offer_before_tls is not None:
            offer = self._script.offer_before_tls
        if self._tls or self._script.tls != "starttls":
            offer = tuple(one for one in offer if one.upper() != "STARTTLS")
        lines = [NAME, *offer]
        self._say(*(f"250{'-' if number < len(lines) else ' '}{line}" for number, line in enumerate(lines, 1)))

    def _rcpt(self) -> None:
        self._say("503 5.5.1 MAIL comes first" if self._recipients is None else "250 2.1.5 Recipient noted")

    def _note(self, verb: str, address: str) -> None:
        """Remember what a yes to a command means for the ones that follow."""
        if verb == "RCPT" and self._recipients is not None:
            self._recipients.append(address)
        elif verb != "NOOP":
            self._recipients = [] if verb == "MAIL" else None

    def _starttls(self) -> None:
        answered = self._answer("STARTTLS", "", lambda: self._say("220 2.0.0 Go ahead"))
        if answered.startswith(b"220"):
            self._buffer = b""  # what came in the clear behind STARTTLS counts for nothing (RFC 3207 section 4.2)
            self._start_tls()

    def _data(self) -> None:
        usual = "354 End with a dot" if self._recipients else "503 5.5.1 RCPT comes first"
        if not self._answer("DATA", "", lambda: self._say(usual)).startswith(b"354"):
            return
        size = self._swallow_letter()
        self._show(f"> (a letter of {size:,} octets)")
        answered = self._answer("body", "", lambda: self._say("250 2.0.0 Taken, and thrown away"))
        self._letters += answered.startswith(b"2")
        self._recipients = None

    def _auth(self, argument: str) -> None:
        """Hear a whole sign-in, whatever it says, and then answer; nothing of it is shown."""
        method, _, first = argument.partition(" ")
        method = method.upper()
        self._show(f"> AUTH {visible(method.encode())} ***")
        said = [first.encode()] if first else []
        prompts = {"LOGIN": (b"Username:", b"Password:"), "CRAM-MD5": (b"<1.2@sandbox.example>",), "PLAIN": (b"",)}
        for prompt in prompts.get(method, ())[len(said) :]:
            self._say(f"334 {base64.b64encode(prompt).decode()}")
            said.append(self._hear())
            self._show("> ***")
        self._said = b" ".join(said)
        self._password = _password(method, said)
        self._answer("AUTH", method, lambda: self._say("235 2.7.0 Welcome"))

    # ---- how rules are followed

    def _answer(self, moment: str, argument: str, usual: Callable[[], bytes | None]) -> bytes:
        """Do what the script says, or the usual; return the first octets of what was said."""
        rule = self._choose(moment, argument, self._letters)
        self._spoken = b""
        self._pace = 0.0
        for action in rule.actions if rule else (Usual(),):
            self._do(action, usual)
        self._pace = 0.0
        return self._spoken

    def _do(self, action: Action, usual: Callable[[], bytes | None]) -> None:
        match action:
            case Usual():
                usual()
            case Say(octets):
                filled = octets.replace(b"{said}", self._said).replace(b"{password}", self._password)
                self._send(filled, shown=octets)
            case Wait(seconds):
                self._pause(seconds)
            case Drip(seconds):
                self._pace = seconds
            case Flood(total, octets):
                self._flood(total, octets)
            case Stall():
                self._show("  (stalls)")
                self._stall()
            case HangUp(reset):
                self._hang_up(reset=reset)

    def _flood(self, total: int, octets: bytes) -> None:
        self._show(f"< ({total:,} octets)")
        piece = octets * max(1, _PIECE // len(octets))
        for _ in range(max(1, total // len(piece))):
            self._send(piece, shown=None)

    def _hang_up(self, *, reset: bool) -> None:
        self._show("  (resets the connection)" if reset else "  (hangs up)")
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Over

    # ---- the socket

    def _say(self, *lines: str) -> None:
        octets = b"".join(line.encode() + b"\r\n" for line in lines)
        self._send(octets, shown=octets)

    def _send(self, octets: bytes, *, shown: bytes | None) -> None:
        self._spoken = (self._spoken + octets)[:8]
        if shown is not None:
            for line in shown.splitlines()[:20]:
                self._show(f"< {visible(line)}")
        try:
            if not self._pace:
                self._sock.sendall(octets)
                return
            for octet in octets:
                self._sock.sendall(bytes([octet]))
                self._pause(self._pace)
        except OSError as error:
            raise Over from error

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Over

    def _hear(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LONGEST_LINE:
                self._say("500 5.5.6 That line is far too long")
                raise Over
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def _swallow_letter(self) -> int:
        """Read up to and with the final dot, and return how long the letter was; none of it is kept."""
        size, self._buffer = -2, b"\r\n" + self._buffer  # a letter may begin with its final dot
        while (end := self._buffer.find(b"\r\n.\r\n")) < 0:
            done = max(0, len(self._buffer) - 4)
            size, self._buffer = size + done, self._buffer[done:]
            self._receive()
        self._buffer = self._buffer[end + 5 :]
        return size + end + 2

    def _stall(self) -> None:
        while not self._stopped.is_set():
            self._receive()
            self._buffer = b""
        raise Over

    def _receive(self) -> None:
        try:
            octets = self._sock.recv(_PIECE)
        except OSError as error:
            raise Over from error
        if not octets:
            raise Over
        self._buffer += octets

    def _start_tls(self) -> None:
        try:
            self._sock = self._context.wrap_socket(self._sock, server_side=True)
        except OSError as error:
            self._show(f"  (no TLS: {getattr(error, 'reason', None) or 'the client hung up'})")
            raise Over from error
        self._tls = True
        self._show(f"  ({self._sock.version()})")

    def close(self) -> None:
        """End it, from another thread too."""
        with suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        self._sock.close()


def visible(line: bytes) -> str:
    """Return a line as a terminal may show it: printable, and not for ever long."""
    text = line.decode("utf-8", "replace")
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _address(argument: str) -> str:
    """Return the address of MAIL or RCPT, or else the argument as it is."""
    begin, end = argument.find("<"), argument.find(">")
    return argument[begin + 1 : end] if 0 <= begin < end else argument


def _password(method: str, said: list[bytes]) -> bytes:
    """Return the password that was said, where the method says one."""
    if method not in ("PLAIN", "LOGIN") or not said:
        return b""
    try:
        return base64.b64decode(said[-1], validate=True).rpartition(b"\0")[2]
    except binascii.Error:
        return b""
