"""Large letters, full buffers, TLS and a server that is not ours: the octets under the pipeline."""

import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from panel.smtp.mailing import LAST_CHUNK
from panel.smtp.outcome import FailureCode, Phase, Verdict
from panel.smtp.tls import tls_context
from panel.smtp.transport import Transport
from panel.smtp.trouble import Broken, SpokeEarly
from panel.smtp.wire import terminated
from tests.engines.smtp.kit import session, short
from tests.engines.smtp.pipelining import OFFERED, Book, Plan, Planned, letter, submission
from tests.support.mailserver import ClientGone, Peer, ScriptedServer, server_context
from tests.support.needs import need_program
from tests.support.ports import free_port
from tests.support.wait import wait_for

HUGE = OFFERED[:2]


def large(number: int, size: int) -> bytes:
    return letter(number) + (b"." + b"y" * 68 + b"\r\n") * (size // 71)


def encrypted(planned: Planned):
    """A script that speaks TLS from the first octet, and then goes by plan."""
    context = server_context()

    def script(peer: Peer) -> None:
        peer.start_tls(context)
        planned(peer)

    return script


@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize("size", [100, LAST_CHUNK - 500, LAST_CHUNK, LAST_CHUNK + 1, 300_000])
def test_it_sends_letters_of_any_size_whole_and_pipelined(size: int, security: str) -> None:
    planned, book = Planned({2: Plan(rcpt="550 no")}, at_once=True, offered=HUGE), Book()
    letters = [large(number, size) for number in range(5)]
    script = encrypted(planned) if security == "tls" else planned
    with ScriptedServer(script) as server, session(server.port, security=security) as client:
        client.open()
        them = [submission(number, letters[number]) for number in range(5)]
        outcomes = book.note(client.send_all(book.submissions(them), book))
        assert client.reusable
    assert [outcome.accepted for outcome in outcomes] == [True, True, False, True, True]
    assert planned.taken == [terminated(letters[number]).removesuffix(b".\r\n") for number in (0, 1, 3, 4)]
    assert [outcome.bytes_sent for outcome in outcomes] == [
        0 if number == 2 else len(terminated(letters[number])) for number in range(5)
    ]


@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize(
    ("word", "verdict", "failure", "code"),
    [
        ("552 5.3.4 too big", Verdict.PERMANENT, FailureCode.MESSAGE_REFUSED, 552),
        ("452 4.3.1 disk full", Verdict.TEMPORARY, FailureCode.SERVER_BUSY, 452),
        ("421 4.3.2 bye", Verdict.TEMPORARY, FailureCode.SERVER_BUSY, 421),
        ("250 accepted already", Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR, None),
        ("nonsense", Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR, None),
    ],
)
def test_it_hears_a_server_that_speaks_within_a_large_letter_and_reads_no_more(
    word: str, verdict: Verdict, failure: FailureCode, code: int | None, security: str
) -> None:
    def script(peer: Peer) -> None:
        if security == "tls":
            peer.start_tls(context)
        peer.greet("PIPELINING")
        peer.take_envelope()
        peer.read_some(1000)
        peer.say(word)
        peer.stopped.wait(10)

    context = server_context()
    with ScriptedServer(script) as server, session(server.port, security=security) as client:
        client.open()
        began = time.monotonic()
        outcomes = list(client.send_all([submission(1, large(1, 16_000_000)), submission(2)], Book()))
        assert time.monotonic() - began < 8
        assert not client.reusable
    assert [(outcome.verdict, outcome.stale) for outcome in outcomes] == [(verdict, False), (Verdict.NOT_SENT, True)]
    assert (outcomes[0].failure, outcomes[0].code, outcomes[0].phase) == (failure, code, Phase.BODY)
    assert 0 < outcomes[0].bytes_sent < 16_000_000
    assert outcomes[1].bytes_sent == 0


def test_it_looks_for_a_word_before_the_last_chunk_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that goes on reading and yet has answered: what it said is no answer to the final dot."""

    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.take_envelope()
        peer.read_some(1000)
        peer.say("250 accepted already")
        spoke.set()
        peer.stall()

    def write(transport: Transport, *args, unanswered: int = 0) -> None:
        as_it_is(transport, *args, unanswered=unanswered)
        assert not unanswered or spoke.wait(5)

    spoke, as_it_is = threading.Event(), Transport.write
    monkeypatch.setattr(Transport, "write", write)
    octets = large(1, LAST_CHUNK + 10_000)
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        (outcome,) = client.send_all([submission(1, octets)], Book())
    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.BODY)
    assert outcome.bytes_sent == len(terminated(octets)) - LAST_CHUNK


def test_it_finds_the_word_of_a_server_that_refused_a_large_letter_and_hung_up() -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.take_envelope()
        peer.read_some(1000)
        peer.say("552 5.3.4 too big")

    for _ in range(20):
        with ScriptedServer(script) as server, session(server.port) as client:
            client.open()
            (outcome,) = client.send_all([submission(1, large(1, 3_000_000))], Book())
        assert (outcome.verdict, outcome.code) == (Verdict.PERMANENT, 552)


def test_it_does_not_wait_for_ever_for_a_server_that_floods_while_it_should_read() -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.take_envelope()
        peer.flood(b"250-more\r\n", 50_000_000)

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        began = time.monotonic()
        (outcome,) = client.send_all([submission(1, large(1, 16_000_000))], Book())
        assert time.monotonic() - began < 8
    assert (outcome.verdict, outcome.failure) == (Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("security", ["none", "tls"])
def test_a_server_that_takes_no_more_of_a_letter_has_not_got_it(security: str) -> None:
    """Also where the last chunk had begun: its final dot never left."""

    def script(peer: Peer) -> None:
        if security == "tls":
            peer.start_tls(context)
        peer.greet("PIPELINING")
        peer.take_envelope()
        with suppress(ClientGone):
            # Small enough that the last chunk stays behind.
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.stopped.wait(10)

    context = server_context()
    with ScriptedServer(script) as server, session(server.port, security=security, timeouts=short(body=0.5)) as client:
        client.open()
        outcomes = list(client.send_all([submission(1, large(1, 16_000_000)), submission(2)], Book()))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.NOT_SENT] * 2
    assert (outcomes[0].failure, outcomes[0].phase) == (FailureCode.TIMED_OUT, Phase.BODY)
    assert 0 < outcomes[0].bytes_sent < 16_000_000


def test_an_abort_within_a_large_letter_says_not_sent() -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        peer.take_envelope()
        peer.read_some(1000)
        stuck.set()
        peer.stopped.wait(10)

    stuck, found = threading.Event(), []
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        them = [submission(1, large(1, 16_000_000)), submission(2)]
        thread = threading.Thread(target=lambda: found.extend(client.send_all(them, Book())))
        thread.start()
        assert stuck.wait(5)
        assert client.phase is Phase.BODY
        client.abort()
        thread.join(5)
    assert [(outcome.verdict, outcome.failure) for outcome in found] == [(Verdict.NOT_SENT, FailureCode.CANCELED)] * 2


# ---- a write that is taken only in part


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Transport, socket.socket]]:
    """A transport over a socket that takes little at a time, and its other end."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    theirs.settimeout(5)
    transport = Transport()
    transport._adopt(ours)
    if request.param == "tls":
        with ThreadPoolExecutor() as pool:
            wrapped = pool.submit(server_context().wrap_socket, theirs, server_side=True)
            transport.start_tls(context=tls_context(), host="localhost", deadline=soon())
            theirs = wrapped.result()
    with theirs:
        yield transport, theirs
    transport.close()


def taken(theirs: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        octets += theirs.recv(count - len(octets))
    return octets


def soon() -> float:
    return time.monotonic() + 5


def test_it_reads_while_it_writes_so_that_both_may_go_on(pair: tuple[Transport, socket.socket]) -> None:
    """The other side takes what comes behind the letter only once all its long answers are taken."""
    transport, theirs = pair
    answers = b"".join(b"250%s%s\r\n" % (b" " if n % 9 == 8 else b"-", b"x" * 3000) for n in range(18))
    assert len(answers) < 64 * 1024

    def other_side() -> None:
        taken(theirs, 10_000)
        theirs.sendall(answers)
        taken(theirs, 500_000)

    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    thread = threading.Thread(target=other_side)
    thread.start()
    transport.write(b"x" * 510_000, soon(), unanswered=10_000)
    thread.join(5)
    assert not thread.is_alive()
    assert transport.written == 510_000
    assert [transport.read_reply(soon()).code for _ in range(2)] == [250, 250]
    assert not transport.pending


def test_an_answer_to_the_letter_is_heard_though_what_was_behind_it_never_left(
    pair: tuple[Transport, socket.socket],
) -> None:
    transport, theirs = pair

    def other_side() -> None:
        taken(theirs, 20_000)
        theirs.sendall(b"250 accepted\r\n")
        theirs.close()

    thread = threading.Thread(target=other_side)
    thread.start()
    transport.write(b"x" * 500_000, soon(), unanswered=20_000)
    thread.join(5)
    assert 20_000 <= transport.written < 500_000
    assert transport.read_reply(soon()).code == 250
    with pytest.raises(Broken) as caught:
        transport.read_reply(soon())
    assert caught.value.hung_up
    with pytest.raises(Broken):
        transport.write(b"QUIT\r\n", soon())


def test_it_holds_only_so_much_of_what_it_did_not_ask_for(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair

    def other_side() -> None:
        taken(theirs, 20_000)
        with suppress(OSError):
            theirs.sendall(b"250 more\r\n" * 100_000)

    thread = threading.Thread(target=other_side)
    thread.start()
    transport.write(b"x" * 500_000, soon(), unanswered=20_000)
    assert transport._replies.held < 100_000
    transport.close()
    thread.join(5)
    assert not thread.is_alive()


def test_nothing_is_said_after_commands_of_which_a_part_never_left(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair

    def other_side() -> None:
        taken(theirs, 20_000)
        theirs.sendall(b"250 accepted\r\n")

    thread = threading.Thread(target=other_side)
    thread.start()
    transport.write(b"x" * 500_000, time.monotonic() + 2, unanswered=20_000)
    thread.join(5)
    assert transport.read_reply(soon()).code == 250
    written = transport.written
    taken(theirs, written - 20_000)  # so that there would be room for more
    with pytest.raises(Broken):
        transport.write(b"QUIT\r\n", soon())
    assert transport.written == written


def test_an_answer_to_a_letter_that_has_not_left_is_not_one(pair: tuple[Transport, socket.socket]) -> None:
    transport, theirs = pair
    theirs.sendall(b"250 accepted\r\n")
    with pytest.raises(SpokeEarly):
        transport.write(b"x" * 500_000, soon(), unanswered=500_000)
    assert transport.written < 500_000


@pytest.mark.parametrize("late", [False, True], ids=["before the first write", "between two writes"])
def test_it_hears_why_a_server_cut_a_letter_off_though_the_write_failed_first(late: bool) -> None:
    """The words, and the RST behind them, arrive between a wait for room and the write that then fails."""

    def script(peer: Peer) -> None:
        peer.read_some(1)
        peer.say("552 5.3.4 too big")
        peer.reset()

    with ScriptedServer(script) as server:
        ours = socket.create_connection(("127.0.0.1", server.port))
        ours.setblocking(False)
        transport = Transport()
        transport._adopt(ours)

        def wait(sock: socket.socket, events: int, deadline: float) -> int:
            wait_for(lambda: _closed(sock), 5, what="the RST")
            return select.POLLOUT

        transport.wait_by(wait)
        if not late:
            transport.write(b"x" * 5000, soon())
            wait(ours, 0, soon())
        with pytest.raises(SpokeEarly):
            transport.write(b"x" * 50_000_000, soon(), unanswered=50_000_000)
        assert transport.read_reply(soon()).code == 552
        transport.close()


def _closed(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7  # TCP_CLOSE


@pytest.mark.parametrize("unanswered", [0, 500_000])
def test_what_was_not_taken_in_time_has_not_left(pair: tuple[Transport, socket.socket], unanswered: int) -> None:
    transport, theirs = pair
    with pytest.raises(Broken) as caught:
        transport.write(b"x" * 500_000, time.monotonic() + 0.2, unanswered=unanswered)
    assert (caught.value.failure, caught.value.hung_up) == (FailureCode.TIMED_OUT, False)
    assert len(taken(theirs, transport.written)) == transport.written
    theirs.setblocking(False)
    with pytest.raises((BlockingIOError, ssl.SSLWantReadError)):
        theirs.recv(1)


# ---- Postfix's own sink


@pytest.fixture
def sink_port() -> Iterator[int]:
    program = need_program("smtp-sink", install="apt-get install postfix")
    port = free_port()
    process = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{port}", "100"])

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    try:
        wait_for(listens, what="smtp-sink")
        yield port
    finally:
        process.terminate()
        process.wait(5)


def test_it_gets_on_with_postfixs_sink(sink_port: int) -> None:
    book = Book()
    with session(sink_port) as client:
        client.open()
        assert client.features.pipelining
        letters = [submission(number, large(number, 10_000)) for number in range(300)]
        outcomes = book.note(client.send_all(book.submissions(letters), book))
        assert client.reusable
        client.quit()
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 300
    assert sum(event.startswith("envelope") for event in book.events) == 1
