"""Whose time is up is told so, whatever the other connections of the lane do meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from panel.deliveries.hub import Hub
from panel.deliveries.recorder import Entry

PATIENCE = 0.1
AT_MOST = 5.0


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Nobody ever says anything on it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


@pytest.fixture
def talking() -> Iterator[socket.socket]:
    """There is always something to read."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        yield ours


class _Rounds:
    """A hub with one line that waits in vain; how often the hub looked around before that line was told."""

    def __init__(self, silent: socket.socket) -> None:
        self.told = False
        self.looks = 0
        self._silent = silent
        self._end = time.monotonic() + AT_MOST
        self.hub = Hub(commit=self._commit, meanwhile=self._look)
        self.hub.start(self._wait)

    @property
    def goes_on(self) -> bool:
        return not self.told and time.monotonic() < self._end

    def run(self, other: Callable[[], None]) -> None:
        self.hub.start(other)
        self.hub.run()

    def _wait(self) -> None:
        try:
            self.hub.wait(self._silent, select.POLLIN, time.monotonic() + PATIENCE)
        except TimeoutError:
            self.told = True

    def _commit(self, _entries: Sequence[Entry]) -> None:
        pass

    def _look(self) -> None:
        self.looks += 1
        assert time.monotonic() < self._end, f"nobody was told, and the hub looked around {self.looks} times"


def test_a_deadline_that_passes_while_another_line_has_the_thread_is_told(silent: socket.socket) -> None:
    rounds = _Rounds(silent)
    rounds.run(lambda: time.sleep(2 * PATIENCE))
    assert rounds.told
    assert rounds.looks < 10


def test_a_deadline_is_told_while_another_line_always_has_something_to_read(
    silent: socket.socket, talking: socket.socket
) -> None:
    rounds = _Rounds(silent)

    def read() -> None:
        while rounds.goes_on:
            rounds.hub.wait(talking, select.POLLIN, time.monotonic() + AT_MOST)

    rounds.run(read)
    assert rounds.told


def test_a_deadline_is_told_while_another_line_always_has_something_to_record(silent: socket.socket) -> None:
    rounds = _Rounds(silent)

    def record() -> None:
        while rounds.goes_on:
            rounds.hub.record(Entry())

    rounds.run(record)
    assert rounds.told
