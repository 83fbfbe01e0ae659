"""The ledger's moves as Lua, so that each compares and changes in one step.

State of a request: waiting → running → ended; back to waiting when its worker is lost. `attempt`
rises with each try and with a cancel; whoever comes with an older one is refused (fencing).
"""

SUBMIT = """
-- KEYS request, waiting, live
-- ARGV id, wire, model, score, max_waiting, now_ms, expires_ms, attempt, ttl_s, priority
if redis.call('EXISTS', KEYS[1]) == 1 then return 'duplicate' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'full' end
redis.call('HSET', KEYS[1], 'state', 'waiting', 'attempt', ARGV[8], 'model', ARGV[3], 'wire', ARGV[2],
  'score', ARGV[4], 'submitted_ms', ARGV[6], 'sent_ms', ARGV[6], 'expires_ms', ARGV[7],
  'priority', ARGV[10])
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
return 'ok'
"""

CLAIM = """
-- KEYS request, waiting, lease, stream
-- ARGV id, attempt, worker, lease_ms, kind, entry
if redis.call('HGET', KEYS[1], 'state') ~= 'waiting' then return 0 end
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'running', 'worker', ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[4])
redis.call('XADD', KEYS[4], '*', 'k', ARGV[5], 'd', ARGV[6])
return 1
"""

APPEND = """
-- KEYS request, stream; ARGV attempt, kind, entry
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('XADD', KEYS[2], '*', 'k', ARGV[2], 'd', ARGV[3])
return 1
"""

FINISH = """
-- KEYS request, stream, lease, live, ended, waiting
-- ARGV id, attempt, kind, entry, ttl_s, new_attempt
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[2] then return 0 end
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'ended' or (ARGV[6] ~= '' and state ~= 'waiting') then return 0 end
redis.call('XADD', KEYS[2], '*', 'k', ARGV[3], 'd', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], 'state', 'ended')
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'attempt', ARGV[6]) end
redis.call('DEL', KEYS[3])
redis.call('SREM', KEYS[4], ARGV[1])
redis.call('SADD', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
return 1
"""

REFRESH = """
-- KEYS request, lease; ARGV attempt, lease_ms
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""

RESUBMIT = """
-- KEYS request, waiting, lease; ARGV id, attempt, wire, now_ms, expires_ms
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[2] then return 0 end
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'waiting', 'attempt', tonumber(ARGV[2]) + 1, 'wire', ARGV[3],
  'sent_ms', ARGV[4], 'expires_ms', ARGV[5])
redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'score'), ARGV[1])
return 1
"""
