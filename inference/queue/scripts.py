"""The ledger's moves as Lua, so that each compares and changes in one step, and how they are run.

State of a request: waiting → running → ended; back to waiting when its worker is lost. `attempt`
rises with each try and with a cancel while waiting; who comes with another one is refused
(fencing). Of those that wait, CLAIM_NEXT takes the best: the sorted set is the queue. `next` counts
the tokens that the stream holds, so that an entry written twice, because an answer of Redis was
lost, is there once, and a missing one is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError

Arg = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua source and the name under which Redis keeps it."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script, to be made alone or among others."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]


def run(client: redis.Redis, call: Call) -> Any:
    """Run one script. Raises redis errors."""
    return run_all(client, [call])[0]


def run_all(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    """Run scripts in one pipeline, in order. Those that Redis has forgotten are loaded again.

    Raises the first error of Redis; the others may have run by then.
    """
    answers = _send(client, calls)
    if forgotten := [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]:
        for script in {calls[i].script for i in forgotten}:
            client.script_load(script.source)
        again = _send(client, [calls[i] for i in forgotten])
        for i, answer in zip(forgotten, again, strict=True):
            answers[i] = answer
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _send(client: redis.Redis, calls: Sequence[Call]) -> list[Any]:
    with client.pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
        return list(pipe.execute(raise_on_error=False))


SUBMIT = Script.of("""
-- KEYS request, waiting, live, arrivals
-- ARGV id, wire, model, rank, max_waiting, now_ms, expires_ms, attempt, ttl_s, next, source
if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'full' end
local arrival = redis.call('INCR', KEYS[4])
redis.call('HSET', KEYS[1], 'state', 'waiting', 'attempt', ARGV[8], 'model', ARGV[3],
  'wire', ARGV[2], 'arrival', arrival, 'submitted_ms', ARGV[6],
  'expires_ms', ARGV[7], 'next', ARGV[10], 'losses', 0, 'source', ARGV[11])
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('ZADD', KEYS[2], tonumber(ARGV[4]) + arrival, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
return 'ok'
""")

WITHDRAW = Script.of("""
-- KEYS request, waiting, live; ARGV id. 1 withdrawn, 0 a worker has it already
if redis.call('HGET', KEYS[1], 'state') ~= 'waiting' then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
return 1
""")

CLAIM_NEXT = Script.of("""
-- KEYS waiting; ARGV worker, lease_ms, now_ms, ttl_s, source to take alone or '',
--   prefixes of request, lease and stream, kind and JSON of Started without id and attempt
-- {'ok', wire} the best that may be taken; {'none', 1 when others wait that may not be taken}
local passed_over, first = 0, 0
while true do
  local ids = redis.call('ZRANGE', KEYS[1], first, first + 31)
  if #ids == 0 then return {'none', passed_over} end
  for _, id in ipairs(ids) do
    local request = ARGV[6] .. id
    local known = redis.call('HMGET', request, 'state', 'attempt', 'expires_ms', 'source', 'wire')
    if known[1] ~= 'waiting' then
      redis.call('ZREM', KEYS[1], id)
      first = first - 1
    elseif tonumber(known[3]) >= tonumber(ARGV[3]) then
      if ARGV[5] == '' or ARGV[5] == known[4] then
        local stream = ARGV[8] .. id
        redis.call('HSET', request, 'state', 'running', 'worker', ARGV[1], 'claimed_ms', ARGV[3])
        redis.call('ZREM', KEYS[1], id)
        redis.call('SET', ARGV[7] .. id, known[2], 'PX', ARGV[2])
        redis.call('XADD', stream, '*', 'k', ARGV[9], 'd', '{"request_id":' .. cjson.encode(id)
          .. ',"attempt":' .. known[2] .. ',' .. string.sub(ARGV[10], 2))
        redis.call('EXPIRE', stream, ARGV[4])
        return {'ok', known[5]}
      end
      passed_over = 1
    end
  end
  first = first + 32
end
""")

APPEND = Script.of("""
-- KEYS request, stream; ARGV attempt, kind, entry, position, count
-- 1 written, 2 was there already, 0 refused, -(n + 1): token n must come first
local known = redis.call('HMGET', KEYS[1], 'attempt', 'state', 'next')
if known[1] ~= ARGV[1] or known[2] ~= 'running' then return 0 end
if tonumber(ARGV[5]) > 0 then
  local next = tonumber(known[3])
  local position = tonumber(ARGV[4])
  if position > next then return -(next + 1) end
  if position < next then return 2 end
  redis.call('HINCRBY', KEYS[1], 'next', ARGV[5])
end
redis.call('XADD', KEYS[2], '*', 'k', ARGV[2], 'd', ARGV[3])
return 1
""")

FINISH = Script.of("""
-- KEYS request, stream, lease, live, ended, waiting
-- ARGV id, attempt, kind, entry, ttl_s, expected state, new attempt, tokens that must be there
-- 1 written, 0 refused, -(n + 1): token n must come first
local known = redis.call('HMGET', KEYS[1], 'attempt', 'state', 'next')
if known[1] ~= ARGV[2] or known[2] ~= ARGV[6] then return 0 end
local next = tonumber(known[3])
if ARGV[8] ~= '' and tonumber(ARGV[8]) > next then return -(next + 1) end
redis.call('XADD', KEYS[2], '*', 'k', ARGV[3], 'd', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[1], 'state', 'ended', 'attempt', ARGV[7])
redis.call('DEL', KEYS[3])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
return 1
""")

REFRESH = Script.of("""
-- KEYS request, lease; ARGV attempt, lease_ms
-- 'ours', 'cancelled' (still ours, but it is to end) or 'lost'
local known = redis.call('HMGET', KEYS[1], 'attempt', 'state', 'cancelled')
if known[1] ~= ARGV[1] or known[2] ~= 'running' then return 'lost' end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if known[3] then return 'cancelled' end
return 'ours'
""")

CANCEL = Script.of("""
-- KEYS request; ARGV attempt. 1 marked, 0 it doesn't run (any more)
local known = redis.call('HMGET', KEYS[1], 'attempt', 'state')
if known[1] ~= ARGV[1] or known[2] ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'cancelled', 1)
return 1
""")

RESUBMIT = Script.of("""
-- KEYS request, waiting, lease
-- ARGV id, attempt, wire, rank, expires_ms, tokens in wire, losses to add,
--      'held' when the caller runs it itself
local known = redis.call('HMGET', KEYS[1], 'attempt', 'state', 'next', 'arrival', 'cancelled')
if known[1] ~= ARGV[2] or known[2] ~= 'running' or known[5] then return 0 end
if tonumber(known[3]) ~= tonumber(ARGV[6]) then return 0 end
if ARGV[8] == '' and redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[1], 'state', 'waiting', 'attempt', tonumber(ARGV[2]) + 1, 'wire', ARGV[3],
  'expires_ms', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'losses', ARGV[7])
redis.call('HDEL', KEYS[1], 'worker')
redis.call('ZADD', KEYS[2], tonumber(ARGV[4]) + known[4], ARGV[1])
return 1
""")
