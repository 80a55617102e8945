"""Counts of letters by mail server in Redis, shared by all workers, so that together they keep to a server's limits.

A server's counts are one hash. Its mark says by which run of Redis and for which settings they were made: after a
restart, which may have brought back old counts, a flush or a change they are *lost*, and made anew from the database.
Counts that were never compared with the database since a letter was granted are *unchecked*: a worker that was killed
took some and did not send them. They are compared now and then, and before a full window is believed for long.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.commands.core import Script

from panel import queue
from panel.servers.windows import WINDOWS, Counts
from panel.smtp.limits import Limits

CHECK_EVERY: Final = 900.0
"""Seconds after which counts that grew are compared with the database."""

CHECK_FULL: Final = 120.0
"""Seconds after which that is done for a window that is full: by then a killed worker's leases have lapsed."""

CHECK_BUSY: Final = 20.0
"""Seconds to wait while others have claims, of which nobody can say whether they are counted."""

_PREFIX: Final = "ownpost:pace"
_LOCK: Final = 30  # seconds that a worker has for counting anew
_KEEP: Final = 90_000  # seconds: the longest window, and a little
_SHAPES: Final = ",".join(f"{{{window.length},{window.width}}}" for window in WINDOWS)

_COMMON: Final = f"""
local windows = {{{_SHAPES}}}
local function time()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function mark()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':' .. ARGV[2]
end
local function read()
  local raw, words, buckets = redis.call('HGETALL', KEYS[1]), {{}}, {{}}
  for _, window in ipairs(windows) do buckets[window[1]] = {{}} end
  for i = 1, #raw, 2 do
    local length, bucket = string.match(raw[i], '^(%d+):(%d+)$')
    if length then
      buckets[tonumber(length)][tonumber(bucket)] = tonumber(raw[i + 1])
    else
      words[raw[i]] = raw[i + 1]
    end
  end
  return words, buckets
end
"""

# ARGV: now or '', version, wanted, the most at once, limits by window ('' for none).
_TAKE: Final = (
    _COMMON
    + f"""
local now, words, buckets = time(), read()
if words.mark ~= mark() then return {{'lost'}} end
if words.check and now >= tonumber(words.check) then
  redis.call('HSET', KEYS[1], 'check', math.ceil(now + {CHECK_BUSY}))
  return {{'check', words.grants, words.made}}
end
local used, room = {{}}, math.huge
for i, window in ipairs(windows) do
  local on, sum = math.floor(now / window[2]), 0
  for bucket, count in pairs(buckets[window[1]]) do
    if bucket < on - window[1] / window[2] then
      redis.call('HDEL', KEYS[1], window[1] .. ':' .. bucket)
      buckets[window[1]][bucket] = nil
    else
      sum = sum + count
    end
  end
  used[i] = sum
  local limit = tonumber(ARGV[4 + i])
  if limit then room = math.min(room, limit - sum) end
end
local granted = math.max(0, math.min(tonumber(ARGV[3]), tonumber(ARGV[4]), room))
if granted > 0 then
  for _, window in ipairs(windows) do
    local on = math.floor(now / window[2])
    redis.call('HINCRBY', KEYS[1], window[1] .. ':' .. on, granted)
    buckets[window[1]][on] = (buckets[window[1]][on] or 0) + granted
  end
  redis.call('HINCRBY', KEYS[1], 'grants', 1)
  if not words.check then
    words.check = math.ceil(now + {CHECK_EVERY})
    redis.call('HSET', KEYS[1], 'check', words.check)
  end
  redis.call('EXPIRE', KEYS[1], {_KEEP})
end
if granted < room then return {{'ok', granted, '', words.made}} end
local again = 0
for i, window in ipairs(windows) do
  local limit = tonumber(ARGV[4 + i])
  local excess = limit and used[i] + granted - limit + 1 or 0
  if excess > 0 then
    local order = {{}}
    for bucket in pairs(buckets[window[1]]) do order[#order + 1] = bucket end
    table.sort(order)
    for _, bucket in ipairs(order) do
      excess = excess - buckets[window[1]][bucket]
      if excess <= 0 then
        again = math.max(again, (bucket + window[1] / window[2] + 1) * window[2])
        break
      end
    end
  end
end
if words.check then
  local check = math.min(tonumber(words.check), math.ceil(now + {CHECK_FULL}))
  redis.call('HSET', KEYS[1], 'check', check)
  again = math.min(again, check)
end
return {{'ok', granted, tostring(again), words.made}}
"""
)

# ARGV: now or '', version, name of the new counts, turn of whoever counted anew ('' for a comparison), name and grants
# of the counts that were compared, seconds until they are checked again ('' if they are sure), then length, bucket,
# count for each bucket.
_REPLACE: Final = (
    _COMMON
    + f"""
local now = time()
if ARGV[4] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[4] or redis.call('HGET', KEYS[1], 'mark') == mark() then return 0 end
else
  local words = redis.call('HMGET', KEYS[1], 'mark', 'made', 'grants')
  if words[1] ~= mark() or words[2] ~= ARGV[5] or words[3] ~= ARGV[6] then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'mark', mark(), 'made', ARGV[3], 'grants', 0)
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'check', math.ceil(now + tonumber(ARGV[7]))) end
for i = 8, #ARGV, 3 do redis.call('HSET', KEYS[1], ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 2]) end
redis.call('EXPIRE', KEYS[1], {_KEEP})
return 1
"""
)

_COUNTED: Final = "if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('DEL', KEYS[2]) end"

# ARGV: now or '', version, count, the counts that they were taken from ('' for whichever there are).
_GIVE_BACK: Final = (
    _COMMON
    + """
local words, buckets = read()
if words.mark ~= mark() or (ARGV[4] ~= '' and words.made ~= ARGV[4]) then return 0 end
for _, window in ipairs(windows) do
  local order, left = {}, tonumber(ARGV[3])
  for bucket in pairs(buckets[window[1]]) do order[#order + 1] = bucket end
  table.sort(order, function(a, b) return a > b end)
  for _, bucket in ipairs(order) do
    local off = math.min(left, buckets[window[1]][bucket])
    if off > 0 then redis.call('HINCRBY', KEYS[1], window[1] .. ':' .. bucket, -off) end
    left = left - off
  end
end
return 1
"""
)

_LOOK: Final = (
    _COMMON
    + """
local words = redis.call('HMGET', KEYS[1], 'mark')
if words[1] ~= mark() then return {''} end
return {tostring(time()), redis.call('HGETALL', KEYS[1])}
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """The counts of one server with the settings of that version. `now` is for tests: seconds in place of Redis'."""

    server_id: uuid.UUID
    version: int
    now: float | None = None

    def take(self, wanted: int, limits: Limits) -> Taken | Lost | Check:
        """Grants up to `wanted` in all windows at once."""
        rates = ["" if rate is None else rate for rate in limits.rates]
        reply = self._run(_TAKE, wanted, most_at_once(limits), *rates)
        if reply[0] == b"lost":
            return Lost()
        if reply[0] == b"check":
            return Check(grants=int(reply[1]), made=reply[2].decode())
        again = float(reply[2]) if reply[2] else None
        return Taken(granted=int(reply[1]), again_at=again, made=reply[3].decode())

    def replace(self, counts: Counts, *, after: Check | str, check_in: float | None) -> bool:
        """Puts counts from the database in place, `after` a check or in the turn that `may_count` gave.

        Refused when letters may have been granted meanwhile that the database was read too early to show: the counts
        that were to be checked are others by now, or the turn is over, with time or because Redis lost it, or it began
        when somebody else had just made them.
        """
        flat = [str(n) for length, buckets in counts.items() for pair in buckets.items() for n in (length, *pair)]
        then = ("", after.made, after.grants) if isinstance(after, Check) else (after, "", "")
        check = "" if check_in is None else check_in
        return bool(self._run(_REPLACE, uuid.uuid4().hex, *then, check, *flat))

    def give_back(self, count: int, made: str = "") -> bool:
        """Uncounts letters that were granted and not sent, newest first."""
        return bool(self._run(_GIVE_BACK, count, made))

    def look(self) -> tuple[float, Counts] | None:
        """The time and the counts; None when they are lost."""
        now, *rest = self._run(_LOOK)
        return (float(now), _counts(rest[0])) if rest else None

    def forget(self) -> None:
        """Loses the counts, so that they are made anew; also by whoever is about to, who may have begun too early."""
        queue.prompt_connection().delete(self._key, self._lock)

    def may_count(self) -> str | None:
        """The caller's turn to count anew; None when it is somebody else's."""
        turn = uuid.uuid4().hex
        return turn if queue.prompt_connection().set(self._lock, turn, nx=True, ex=_LOCK) else None

    def counted(self, turn: str) -> None:
        """Ends a turn, so that others may count anew again."""
        self._run(_COUNTED, turn)

    @property
    def _key(self) -> str:
        return f"{_PREFIX}:{{{self.server_id}}}"

    @property
    def _lock(self) -> str:
        return f"{self._key}:lock"

    def _run(self, script: str, *arguments: Any) -> Any:
        client = queue.prompt_connection()
        first: list[Any] = ["" if self.now is None else repr(self.now), self.version]
        return _script(client, script)(keys=[self._key, self._lock], args=[*first, *arguments])


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How many were granted, and when to ask for more if not all were; `made` names the counts they were taken from."""

    granted: int
    again_at: float | None
    made: str


@dataclass(frozen=True, slots=True)
class Lost:
    """There are no counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The counts, which `made` names, should be compared with the database first; they had seen that many grants."""

    grants: int
    made: str


def most_at_once(limits: Limits) -> int:
    """Of a limit by the minute a sixth at most is granted in one go, so that no grant is long before its letter."""
    return max(1, -(-limits.per_minute // 6)) if limits.per_minute else 1_000_000


_scripts: dict[tuple[int, str], Script] = {}


def _script(client: Redis, text: str) -> Script:
    key = (id(client), text)
    if key not in _scripts:
        if len(_scripts) > 64:
            _scripts.clear()  # clients that are no more
        _scripts[key] = client.register_script(text)
    found = _scripts[key]
    return found if found.registered_client is client else client.register_script(text)


def _counts(raw: list[bytes]) -> Counts:
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for length, bucket, count in _buckets(raw):
        counts[length][bucket] = count
    return counts


def _buckets(raw: list[bytes]) -> Iterator[tuple[int, int, int]]:
    for field, value in zip(raw[::2], raw[1::2], strict=True):
        length, colon, bucket = field.partition(b":")
        if colon:
            yield int(length), int(bucket), int(value)
