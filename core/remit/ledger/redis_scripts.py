"""What a Redis server does for a ledger, as Lua scripts: each is one atomic call.

Invariants:

- a script writes nothing before all that can fail has been asked: what raises halfway is not undone;
- every key is in `KEYS`, and all share one hash tag, so that a cluster has them in one place;
- no script asks the server's clock. What is kept for some time is kept so long after the guard's `now`;
- times and sums are passed and kept as text: Lua's numbers compare them exactly (they are doubles, and
  no sum is over 2^53), but do not write them as they were read.

Keys, the tag left out: `meta` (hash: version, store, number, forgotten), `order` (sorted set of
revocations, by the number of the change), `revoked` (hash: subject to that number), `expiry` (sorted
set of subjects, by expiry), `proofs` (sorted set, by expiry), `counters` (sorted set of the keys of
counters, by expiry), `tokens` (hash: identifier to metadata), `lifetimes` (sorted set of expiry and
identifier as text), and one key for each counter: a number, or for a rate the list of its last uses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "COMMIT",
    "ENROLL",
    "FORGET_COUNTERS",
    "FORGET_PROOFS",
    "FORGET_REVOKED",
    "FORGET_TOKENS",
    "NEWER",
    "POSITION",
    "PROBE",
    "READ",
    "REVOKE",
    "SPENT_COUNTERS",
    "TOKENS",
    "Script",
]

NEWER: Final = "REMITNEWER"
"""How the error begins that a store of a newer version gives."""
_VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the digest by which a server knows it once it has run it."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


_META: Final = f"""
local meta = redis.call('HMGET', KEYS[1], 'version', 'store', 'number', 'forgotten')
if meta[1] and meta[1] ~= '{_VERSION}' then
  return redis.error_reply('{NEWER} the ledger was written by a newer version')
end
"""

_STORE: Final = f"""
-- ARGV[1]: the name of the store if it is new
local store, number = meta[2], tonumber(meta[3] or '0')
if not store then
  store = ARGV[1]
  redis.call('HSET', KEYS[1], 'version', '{_VERSION}', 'store', store)
end
"""

_PLACE: Final = """
-- A server that was restarted, or took another's place, may have lost the last changes and given their
-- numbers away again. Its run is part of the store's name, so that guards read it all anew.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
local place = run and (store .. '.' .. string.sub(run, 1, 16)) or store
"""

POSITION: Final = Script(f"{_META}{_STORE}{_PLACE}\nreturn {{place, number}}")
"""KEYS: meta. ARGV: new name. The store's name and the number of its newest change."""

READ: Final = Script(f"""{_META}{_STORE}{_PLACE}
local order = ARGV[2] == 'up' and 'ZRANGEBYSCORE' or 'ZREVRANGEBYSCORE'
local far = ARGV[2] == 'up' and '+inf' or '-inf'
local rows = redis.call(order, KEYS[2], ARGV[3], far, 'LIMIT', 0, ARGV[4])
return {{place, number, '[' .. table.concat(rows, ',') .. ']'}}
""")
"""KEYS: meta, order. ARGV: new name, `up` or `down`, the bound by number, how many at most.

As POSITION, and a JSON array of rows, each of them the array `[number, expires_at, issued_until,
revoked_at, subject, reason]`.
"""

_REMOVE: Final = """
local function remove(members)
  if #members == 0 then return end
  local numbers = redis.call('HMGET', KEYS[3], unpack(members))
  redis.call('HDEL', KEYS[3], unpack(members))
  redis.call('ZREM', KEYS[4], unpack(members))
  for _, number in ipairs(numbers) do redis.call('ZREMRANGEBYSCORE', KEYS[2], number, number) end
end
"""

REVOKE: Final = Script(f"""{_META}{_STORE}{_REMOVE}
redis.call('ZCARD', KEYS[2])
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[3], 'LIMIT', 0, 8)
local before, kept, changes, news = number, {{}}, {{}}, {{}}
for subject, expires, till, at, reason in
    string.gmatch(ARGV[4], '([^\\t]+)\\t([^\\t]+)\\t([^\\t]+)\\t([^\\t]+)\\t([^\\n]+)\\n') do
  local old = kept[subject]
  if not old then
    local known = redis.call('HGET', KEYS[3], subject)
    if known then
      local row = redis.call('ZRANGEBYSCORE', KEYS[2], known, known)[1]
      local e, t, a, rest = string.match(row, '^%[[^,]+,([^,]+),([^,]+),([^,]+),(.+)%]$')
      old = {{known, e, t, a, string.sub(rest, #subject + 2)}}
    end
  end
  local is_news = true
  if old then -- as Revocation.after says
    is_news = old[3] ~= 'null' and tonumber(at) > tonumber(old[3])
    if not is_news then at, reason = old[4], old[5] end
    if tonumber(at) == tonumber(old[4]) then at = old[4] end
    if old[3] == 'null' or till == 'null' or tonumber(till) <= tonumber(old[3]) then till = old[3] end
    if tonumber(expires) <= tonumber(old[2]) then expires = old[2] end
  end
  if not (old and expires == old[2] and till == old[3] and at == old[4] and reason == old[5]) then
    number = number + 1
    kept[subject] = {{number, expires, till, at, reason}}
    local row = {{string.format('[%.0f', number), expires, till, at, subject, reason .. ']'}}
    changes[#changes + 1] = {{number, old and old[1], subject, expires, table.concat(row, ',')}}
  end
  news[#news + 1] = is_news and '1' or '0'
end
remove(gone)
for _, change in ipairs(changes) do
  if change[2] then redis.call('ZREMRANGEBYSCORE', KEYS[2], change[2], change[2]) end
  redis.call('ZADD', KEYS[2], change[1], change[5])
  redis.call('HSET', KEYS[3], change[3], change[1])
  redis.call('ZADD', KEYS[4], change[4], change[3])
end
if number > before then
  redis.call('HSET', KEYS[1], 'number', number)
  redis.pcall('PUBLISH', ARGV[2], number) -- guards that hear nothing ask by themselves
end
return table.concat(news)
""")
"""KEYS: meta, order, revoked, expiry. ARGV: new name, channel, expiry of what is long gone, entries.

An entry is subject, expires_at, issued_until, revoked_at and reason, each as JSON, with tabs between
them and a line feed after them. Returns `1` for each that is news, `0` for each that is not.
"""

_ROOM: Final = """
-- ARGV: now, the proof's key, its expiry or nothing, expiry of what is long gone; then for each charge
-- amount, ceiling, window or nothing, expiry, seconds to keep the counter.
local now, horizon, old = tonumber(ARGV[1]), tonumber(meta[4] or '0'), {}
if ARGV[3] ~= '' then
  old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, 8)
  if #old > 0 then horizon = math.max(horizon, tonumber(old[#old])) end
  -- A proof that would be forgotten by now cannot be told from one that was.
  if tonumber(ARGV[3]) <= horizon or redis.call('ZSCORE', KEYS[2], ARGV[2]) then return -1 end
end
local taken = {} -- by this call, where it charges one counter twice
for i = 1, #KEYS - 3 do
  local key, at = KEYS[i + 3], i * 5
  local amount, ceiling, window = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
  if window == '' then
    local held = taken[key] or tonumber(redis.call('GET', key) or '0')
    if amount > ceiling - held then return i end
    taken[key] = held + amount
  else
    local uses, own = redis.call('LLEN', key), taken[key] or 0
    -- The use that has to be over for this one: so many before it as the rate allows.
    local place = uses + own - ceiling
    if place >= uses then return i end
    if place >= 0 and tonumber(redis.call('LINDEX', key, place)) > now - tonumber(window) then return i end
    taken[key] = own + 1
  end
end
"""

PROBE: Final = Script(f"{_META}{_ROOM}\nreturn 0")
"""As COMMIT, and writes nothing."""

COMMIT: Final = Script(f"""{_META}{_ROOM}
redis.call('ZCARD', KEYS[3])
for i = 1, #KEYS - 3 do
  local key, at = KEYS[i + 3], i * 5
  local left = redis.call('TTL', key)
  if ARGV[at + 2] == '' then
    redis.call('INCRBY', key, ARGV[at])
  else
    local last, use = redis.call('LINDEX', key, -1), ARGV[1]
    if last and tonumber(last) > now then use = last end
    if redis.call('RPUSH', key, use) > tonumber(ARGV[at + 1]) then redis.call('LPOP', key) end
  end
  -- The time to keep it is only ever put off, whatever a clock says; and not for every second.
  if tonumber(ARGV[at + 4]) > left + 60 then redis.call('EXPIRE', key, ARGV[at + 4]) end
  if left == -2 then
    redis.call('ZADD', KEYS[3], ARGV[at + 3], key)
    local gone = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[4], 'LIMIT', 0, 4)
    if #gone > 0 then redis.call('ZREM', KEYS[3], unpack(gone)) end -- the keys themselves expire
  end
end
if ARGV[3] ~= '' then
  if #old > 0 then
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, #old / 2 - 1)
    redis.call('HSET', KEYS[1], 'forgotten', horizon)
  end
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
end
return 0
""")
"""KEYS: meta, proofs, counters, and the key of each charge's counter. ARGV: see `_ROOM`.

Returns 0 when it is done, the number of the first charge for which there is no room (from 1), or -1
when the proof was seen before.
"""

ENROLL: Final = Script(f"""{_META}
local known = redis.call('HGET', KEYS[2], ARGV[1])
local gone = redis.call('ZRANGEBYLEX', KEYS[3], '-', '(' .. ARGV[4], 'LIMIT', 0, 8)
for _, member in ipairs(gone) do
  redis.call('ZREM', KEYS[3], member)
  redis.call('HDEL', KEYS[2], string.sub(member, 14))
end
if known then redis.call('ZREM', KEYS[3], string.sub(known, 1, 13) .. ARGV[1]) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[2] .. ARGV[1])
return 0
""")
"""KEYS: meta, tokens, lifetimes. ARGV: identifier, expiry, metadata, what expired before is long gone.

An expiry is 12 digits, and here a colon.
"""

TOKENS: Final = Script(f"""{_META}
local members = redis.call('ZREVRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if #members == 0 then return members end
for i, member in ipairs(members) do members[i] = string.sub(member, 14) end
return redis.call('HMGET', KEYS[2], unpack(members))
""")
"""KEYS: meta, tokens, lifetimes. ARGV: the bounds, highest first, how many at most. Returns metadata."""

FORGET_REVOKED: Final = Script(f"""{_META}{_REMOVE}
redis.call('ZCARD', KEYS[2])
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
remove(gone)
return #gone
""")
"""KEYS: meta, order, revoked, expiry. ARGV: what expired up to then, how many at most. Returns how many."""

FORGET_PROOFS: Final = Script(f"""{_META}
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
if #old > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, #old / 2 - 1)
  redis.call('HSET', KEYS[1], 'forgotten', math.max(tonumber(meta[4] or '0'), tonumber(old[#old])))
end
return #old / 2
""")
"""KEYS: meta, proofs. ARGV and return as FORGET_REVOKED."""

FORGET_TOKENS: Final = Script(f"""{_META}
local gone = redis.call('ZRANGEBYLEX', KEYS[3], '-', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
if #gone > 0 then
  redis.call('ZREM', KEYS[3], unpack(gone))
  for i, member in ipairs(gone) do gone[i] = string.sub(member, 14) end
  redis.call('HDEL', KEYS[2], unpack(gone))
end
return #gone
""")
"""KEYS: meta, tokens, lifetimes. ARGV: the first expiry that is kept, how many at most. Returns how many."""

SPENT_COUNTERS: Final = Script(f"""{_META}
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
""")
"""KEYS: meta, counters. ARGV as FORGET_REVOKED. Returns keys of counters, for FORGET_COUNTERS."""

FORGET_COUNTERS: Final = Script(f"""{_META}
local count = 0
for i = 3, #KEYS do
  local expires = redis.call('ZSCORE', KEYS[2], KEYS[i])
  if expires and tonumber(expires) <= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[2], KEYS[i])
    redis.call('UNLINK', KEYS[i])
    count = count + 1
  end
end
return count
""")
"""KEYS: meta, counters, keys of counters. ARGV: what expired up to then. Returns how many."""
