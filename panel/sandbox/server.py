"""Listens, and plays a script for each connection."""

import itertools
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

from panel.sandbox.certificates import Authority
from panel.sandbox.dialogue import IDLE, Dialogue
from panel.sandbox.script import Rule, Script

_END: Final = 5.0  # seconds that a connection has to end when the server stops

Tell = Callable[[int, str], None]
"""Told the number of a connection and a line about it."""


class SandboxServer:
    """One listener, each connection in a thread of its own. Use it as a context manager."""

    def __init__(
        self, script: Script, *, authority: Authority, host: str = "127.0.0.1", port: int = 0, tell: Tell | None = None
    ) -> None:
        self._script = script
        self._tell = tell or (lambda _number, _line: None)
        self._context = authority.context(certificate=script.certificate, version=script.tls_version)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        self._open: dict[threading.Thread, Dialogue] = {}
        self._listening = threading.Thread(target=self._listen, name="sandbox", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._listening.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._wake_sender.close()
        self._listening.join(_END)
        for thread, dialogue in list(self._open.items()):
            dialogue.close()
            thread.join(_END)
        self._listener.close()
        self._wake_receiver.close()

    def _listen(self) -> None:
        for number in itertools.count(1):
            ready, _, _ = select.select([self._listener, self._wake_receiver], [], [])
            if self._wake_receiver in ready:
                return
            sock, address = self._listener.accept()
            sock.settimeout(IDLE)
            # What is said arrives in the pieces in which it was said.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dialogue = Dialogue(
                sock,
                script=self._script,
                context=self._context,
                choose=self._choose,
                show=partial(self._tell, number),
                stopped=self._stopped,
            )
            thread = threading.Thread(target=self._play, args=(number, dialogue), name="sandbox-peer", daemon=True)
            self._open[thread] = dialogue
            self._tell(number, f"  (connected from {address[0]})")
            thread.start()

    def _play(self, number: int, dialogue: Dialogue) -> None:
        try:
            dialogue.play()
        finally:
            dialogue.close()
            self._open.pop(threading.current_thread(), None)
            self._tell(number, "  (over)")

    def _choose(self, moment: str, argument: str, letters: int) -> Rule | None:
        """Return the first rule that holds, and count it."""
        with self._lock:
            for place, rule in enumerate(self._script.rules):
                held = self._held.get(place, 0)
                if rule.holds(moment, argument, letters=letters) and (rule.first is None or held < rule.first):
                    self._held[place] = held + 1
                    return rule
        return None
