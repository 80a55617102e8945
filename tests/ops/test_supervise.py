"""The supervisor with small programs: what it waits for, what it logs, how it ends."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from panel import process, supervise
from panel.partlog import PartLog
from panel.supervise import Part, PartFailed, Supervisor
from tests.support.wait import wait_for

READY = "import socket, os; s = socket.socket(1, 2); s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
SLEEP = READY + "import signal; signal.pause()"


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, log: io.StringIO) -> Iterator[Supervisor]:
    with Supervisor(runtime=tmp_path, log=PartLog(stream=log, width=8, coloured=False)) as made:
        yield made


def part(name: str, program: str, **more: object) -> Part:
    return Part(name=name, command=[sys.executable, "-S", "-c", program], environ=dict(os.environ), **more)


def test_it_waits_until_a_part_says_that_it_is_ready(supervisor: Supervisor):
    talker = part("talker", "print('at work')\n" + SLEEP)
    supervisor.start(talker)
    supervisor.wait(talker, timeout=10)


def test_it_runs_a_part_once_and_keeps_what_it_printed(supervisor: Supervisor, log: io.StringIO):
    seeds = part("seeds", "print('one'); print('two', end='')", once=True)
    supervisor.start(seeds)
    supervisor.wait(seeds, timeout=10)
    assert supervisor.output("seeds") == ["one", "two"]
    assert [line[9:] for line in log.getvalue().splitlines()] == ["seeds    | one", "seeds    | two"]


def test_it_says_which_part_failed_and_shows_its_last_words(supervisor: Supervisor, log: io.StringIO):
    broken = part("broken", "import sys; sys.exit('no such table')", once=True)
    supervisor.start(broken)
    with pytest.raises(PartFailed, match="broken ended with code 1"):
        supervisor.wait(broken, timeout=10)
    assert "broken   | no such table" in log.getvalue()


def test_it_does_not_wait_for_ever(supervisor: Supervisor):
    mute = part("mute", "import signal; signal.pause()")
    supervisor.start(mute)
    with pytest.raises(PartFailed, match="mute was not ready"):
        supervisor.wait(mute, timeout=0.2)


def test_it_goes_on_in_a_fork_with_an_environment_of_its_own(supervisor: Supervisor):
    def work() -> None:
        sys.stdout.write(f"in {os.environ['PLACE']} {os.getpid() == os.getsid(0)}\n")

    fork = Part(name="fork", command=work, environ={"PLACE": "a fork"}, once=True)
    supervisor.start(fork)
    supervisor.wait(fork, timeout=10)
    assert supervisor.output("fork") == ["in a fork True"]
    assert "PLACE" not in os.environ


@pytest.mark.parametrize(
    ("ending", "code"), [(SystemExit(3), "code 3"), (SystemExit("words"), "code 1"), (ValueError("x"), "code 1")]
)
def test_it_learns_how_a_fork_ended(supervisor: Supervisor, ending: BaseException, code: str):
    def work() -> None:
        raise ending

    fork = Part(name="fork", command=work, environ={}, once=True)
    supervisor.start(fork)
    with pytest.raises(PartFailed, match=f"fork ended with {code}"):
        supervisor.wait(fork, timeout=10)


def test_it_leaves_nothing_of_the_parent_open_in_a_fork(supervisor: Supervisor, tmp_path: Path):
    with (tmp_path / "secret").open("w") as secret:

        def work() -> None:
            for number in range(3, 64):
                try:
                    os.fstat(number)
                except OSError:
                    continue
                sys.stdout.write(f"open: {Path(f'/proc/self/fd/{number}').readlink()}\n")

        fork = Part(name="fork", command=work, environ={}, once=True)
        supervisor.start(fork)
        supervisor.wait(fork, timeout=10)
        assert supervisor.output("fork") == []
        assert not secret.closed


def test_it_stops_parts_wave_by_wave(tmp_path: Path, log: io.StringIO):
    say = READY + "import signal, sys\ntry:\n signal.sigwait([15])\nfinally:\n print('bye', flush=True)"
    block = "import signal; signal.pthread_sigmask(0, [15])\n"
    with Supervisor(runtime=tmp_path, log=PartLog(stream=log, width=8, coloured=False)) as made:
        parts = [part(f"wave{wave}", block + say, wave=wave) for wave in (2, 0, 1)]
        made.start(*parts)
        made.wait(*parts, timeout=10)
    assert [line[9:14] for line in log.getvalue().splitlines()] == ["wave0", "wave1", "wave2"]


def test_it_kills_what_does_not_stop(tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervise, "WAVES_END", (0.2, 0.4, 0.6))
    deaf = part("deaf", "import signal; signal.signal(15, signal.SIG_IGN)\n" + SLEEP)
    with Supervisor(runtime=tmp_path, log=PartLog(stream=log, width=8, coloured=False)) as made:
        made.start(deaf)
        made.wait(deaf, timeout=10)
        began = time.monotonic()
    assert time.monotonic() - began < 7  # seconds; unasked, a wave has 7.5
    assert "deaf did not stop in time" in log.getvalue()


def test_it_kills_what_a_dead_part_left_behind(tmp_path: Path, log: io.StringIO):
    parent = "import os\nprint(os.getpid(), flush=True)\nif not os.fork():\n os.execvp('sleep', ['sleep', '60'])"
    with Supervisor(runtime=tmp_path, log=PartLog(stream=log, width=8, coloured=False)) as made:
        leaver = part("leaver", parent, once=True)
        made.start(leaver)
        made.wait(leaver, timeout=10)
        group = int(made.output("leaver")[0])
        wait_for(lambda: not _group_exists(group), what="the end of the group")


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# A program of its own: `run` goes on until a signal, and this process's signals are pytest's.
CRASHING = """
    import io, os, sys
    from pathlib import Path
    from panel.partlog import PartLog
    from panel.supervise import Part, Supervisor
    program = {ready!r} + "raise SystemExit(7)"
    part = Part(name="frail", command=[sys.executable, "-S", "-c", program], environ=dict(os.environ))
    with Supervisor(runtime=Path(sys.argv[1]), log=PartLog(stream=sys.stdout, width=5, coloured=False)) as supervisor:
        supervisor.start(part)
        supervisor.run()
"""


def test_it_starts_a_dead_part_again_with_growing_pauses(tmp_path: Path):
    program = textwrap.dedent(CRASHING.format(ready=READY))
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=process.die_with_parent) as running:
        said = [running.stdout.readline()[9:].rstrip() for _ in range(3)]
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    words = "up    | frail ended with code 7; starting it again in {} s"
    assert said == [words.format(pause) for pause in ("0.25", "0.5", "1")]


def test_it_gives_the_signals_back(tmp_path: Path, log: io.StringIO):
    before = [signal.getsignal(number) for number in process.STOP_SIGNALS]
    with Supervisor(runtime=tmp_path, log=PartLog(stream=log, width=8, coloured=False)):
        assert [signal.getsignal(number) for number in process.STOP_SIGNALS] != before
    assert [signal.getsignal(number) for number in process.STOP_SIGNALS] == before


def test_it_notices_that_nobody_reads_the_log():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        parts = PartLog(stream=stream, width=4, coloured=False)
        parts.write("up", "hello")
        assert parts.broken
        parts.write("up", "hello again")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_it_opens_as_many_files_as_its_hard_limit_allows():
    script = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (64, r.getrlimit(r.RLIMIT_NOFILE)[1]));"
        "from panel import process; process.open_as_many_files_as_allowed(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    soft, hard = done.stdout.split()
    assert soft == hard
    assert int(soft) != 64
