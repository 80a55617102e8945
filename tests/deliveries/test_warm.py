"""Goodbyes: said to all at once, and not waited for one after another."""

from __future__ import annotations

import threading
import time

from panel.deliveries.warm import WarmSessions
from panel.smtp.session import Session
from tests.engines.smtp.kit import session
from tests.support.mailserver import Peer, ScriptedServer
from tests.support.wait import wait_for

CONNECTIONS = 8


def test_servers_that_do_not_answer_quit_are_waited_for_together_and_not_long() -> None:
    told = threading.Semaphore(0)

    def rude(peer: Peer) -> None:
        peer.greet("8BITMIME")
        peer.hear("QUIT")
        told.release()
        peer.stall()

    ended: list[Session] = []
    warm = WarmSessions(ended.append)
    with ScriptedServer(rude) as server:
        for number in range(CONNECTIONS):
            one = session(server.port)
            one.open()
            warm.give(number, one)
        began = time.monotonic()
        warm.close()
        assert time.monotonic() - began < 6
        for _ in range(CONNECTIONS):
            assert told.acquire(timeout=5)
    assert len(ended) == CONNECTIONS
    assert not any(one.reusable for one in ended)


def test_a_server_that_hung_up_before_keeps_no_other_from_being_told() -> None:
    def gone(peer: Peer) -> None:
        peer.greet("8BITMIME")

    def polite(peer: Peer) -> None:
        peer.greet("8BITMIME")
        peer.hear("QUIT")
        peer.say("221 bye")

    ended: list[Session] = []
    warm = WarmSessions(ended.append)
    with ScriptedServer(gone, polite) as server:
        for number in range(2):
            one = session(server.port)
            one.open()
            warm.give(number, one)
        warm.close()
        wait_for(lambda: b"QUIT" in server.heard, what="the goodbye")
    assert len(ended) == 2
