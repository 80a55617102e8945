"""Looks for one password, in every form that it could take on its way, in whatever a program leaves behind."""

from __future__ import annotations

import base64
import codecs
import html
import json
import re
import threading
import urllib.parse
import zlib
from collections.abc import Iterator
from typing import Any

import redis

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Canary:
    """A password that looks like no other, with characters that each encoding writes in its own way."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._forms = set(_forms(password))

    def found_in(self, *places: bytes | str) -> list[str]:
        """In which forms it is in any of these, compressed or not."""
        found = []
        for place in places:
            octets = place.encode() if isinstance(place, str) else place
            for seen in (octets, *_unpacked(octets)):
                found += [f"{form!r} in …{_around(seen, form)!r}…" for form in self._forms if form in seen]
        return found


def _forms(password: str) -> Iterator[bytes]:
    raw = password.encode()
    yield raw
    yield json.dumps(password)[1:-1].encode()
    yield html.escape(password).encode()
    yield html.escape(password).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").encode()
    yield urllib.parse.quote(password).encode()
    yield urllib.parse.quote_plus(password).encode()
    yield repr(password)[1:-1].encode()
    yield raw.hex().encode()
    # In base64 it looks otherwise after one or two other octets, as in AUTH PLAIN; the ends depend on what is around.
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + raw + b"xx")
        yield encoded[4 if shift else 0 : -8]
        yield encoded[4 if shift else 0 : -8].replace(b"+", b"-").replace(b"/", b"_")


def _unpacked(octets: bytes) -> Iterator[bytes]:
    try:
        yield zlib.decompress(octets)  # as RQ keeps a job and its traceback
    except zlib.error:
        return


def _around(octets: bytes, form: bytes) -> bytes:
    place = octets.find(form)
    return octets[max(0, place - 60) : place + len(form) + 60]


class Watch:
    """Everything that is written to Redis while it lasts, however soon it is deleted again."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.values: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._begun = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> Watch:
        self._thread.start()
        assert self._begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        # A last command, which is heard when all before it have been.
        self._client.set("ownpost:watch", "the end of the watch", ex=1)
        assert self._ended.wait(10)

    def _listen(self) -> None:
        with self._client.monitor() as monitor:
            self._begun.set()
            for heard in monitor.listen():
                command = str(heard["command"])
                if "the end of the watch" in command:
                    self._ended.set()
                    return
                self.values.append(command.encode())
                self.values += [_octets(each) for each in _QUOTED.findall(command)]


def _octets(quoted: str) -> bytes:
    return codecs.escape_decode(quoted.encode("latin-1", "replace"))[0]  # type: ignore[attr-defined]


def everything_in(client: redis.Redis) -> Iterator[bytes]:
    """Every key and value there is."""
    for key in client.scan_iter(count=1_000):
        yield key
        yield from _flat(_value(client, key))


def _value(client: redis.Redis, key: bytes) -> Any:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return client.hgetall(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1)
        case b"stream":
            return client.xrange(key)
    return b""


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        yield from _flat(list(value.items()))
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _flat(each)
