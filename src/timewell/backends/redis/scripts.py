"""What Redis runs by itself, each script in one atomic step.

Rule: nothing is decided by when a write arrives. A writer takes a build by its order ``(as_of, lease epoch)``, which
must not be older than any that took it before, and its chunks count only while nobody took it since.

They are sent with ``EVAL``: the server compiles a script once and finds it by its digest either way, and a restarted
server needs no second attempt (a chunk carries some hundred bytes of script beside 100 KB of rows).

A mark is ``refresh_seq`` (8 bytes), number of rows (8), generation (8), and what the store only carries. A part is the
greatest order that took it (16), the token of who holds it (16), and its number of rows (8).
"""

from __future__ import annotations

from typing import Final

# bytes one by one: Lua's own comparison of strings follows the server's locale
_OLDER: Final = """
local function older(a, b)
  for i = 1, 16 do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return false
end
"""

# KEYS mark, control; ARGV order (empty: whatever it is), token, generation, refresh_seq to start from (or empty)
BEGIN: Final = (
    _OLDER
    + """
local mark = redis.call('GET', KEYS[1])
local held = redis.call('HGET', KEYS[2], 'order')
if not mark or not held then return {'missing'} end
if ARGV[1] ~= '' and older(ARGV[1], held) then return {'older', held} end
if mark:sub(17, 24) ~= ARGV[3] then return {'replaced', mark} end
if ARGV[4] ~= '' and mark:sub(1, 8) ~= ARGV[4] then return {'moved', mark} end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[2], 'order', ARGV[1]) end
redis.call('HSET', KEYS[2], 'token', ARGV[2])
return {'done'}
"""
)

# KEYS part, control (where it lies on the same server); ARGV order (or empty), token
TAKE: Final = (
    _OLDER
    + """
if KEYS[2] and redis.call('HGET', KEYS[2], 'token') ~= ARGV[2] then return {'lost'} end
local part = redis.call('GET', KEYS[1])
if not part then return {'missing'} end
local order = part:sub(1, 16)
if ARGV[1] ~= '' then
  if older(ARGV[1], order) then return {'older', order} end
  order = ARGV[1]
end
redis.call('SET', KEYS[1], order .. ARGV[2] .. part:sub(33))
return {'done', part:sub(33)}
"""
)

# KEYS part, added, names of rows to upsert, to delete and upsert (never seen missing, but counted as both), to delete;
# ARGV token, offset of the key in a name, how many of the first kind, of the second, the rows of both
CHUNK: Final = """
local part = redis.call('GET', KEYS[1])
if not part or part:sub(17, 32) ~= ARGV[1] then return {'lost'} end
local offset, change, deleted = tonumber(ARGV[2]), 0, 0
local both, last = 3 + tonumber(ARGV[3]), 2 + tonumber(ARGV[3]) + tonumber(ARGV[4])
if both <= last then deleted = redis.call('EXISTS', unpack(KEYS, both, last)) end
if last > 2 then
  if redis.call('EXISTS', unpack(KEYS, 3, last)) < last - 2 then
    for i = 3, last do
      if redis.call('EXISTS', KEYS[i]) == 0 then
        redis.call('SADD', KEYS[2], KEYS[i]:sub(offset))
        change = change + 1
      end
    end
  end
  local words = {}
  for i = 3, last do
    words[2 * i - 5] = KEYS[i]
    words[2 * i - 4] = ARGV[i + 2]
  end
  redis.call('MSET', unpack(words))
end
if last < #KEYS then
  local gone, keys = redis.call('DEL', unpack(KEYS, last + 1)), {}
  for i = last + 1, #KEYS do keys[i - last] = KEYS[i]:sub(offset) end
  redis.call('SREM', KEYS[2], unpack(keys))
  deleted, change = deleted + gone, change - gone
end
local rows = struct.pack('>I8', struct.unpack('>I8', part:sub(33)) + change)
redis.call('SET', KEYS[1], part:sub(1, 32) .. rows)
return {'done', deleted, rows}
"""

# KEYS mark, control, part (where it counts the rows); ARGV token, body (empty: as it is), rows (empty: the part's)
PUBLISH: Final = """
local mark = redis.call('GET', KEYS[1])
if not mark then return {'missing'} end
if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then return {'lost'} end
local body, rows = ARGV[2], ARGV[3]
if body == '' then body = mark:sub(25) end
if rows == '' then rows = redis.call('GET', KEYS[3]):sub(33) end
mark = struct.pack('>I8', struct.unpack('>I8', mark) + 1) .. rows .. mark:sub(17, 24) .. body
redis.call('SET', KEYS[1], mark)
return {'done', mark}
"""

# KEYS mark, control; ARGV order, generation, refresh_seq offered, rows, body
SWAP: Final = (
    _OLDER
    + """
if redis.call('HDEL', KEYS[2], 'load:' .. ARGV[2]) == 0 then return {'missing'} end
local seq, mark, held = ARGV[3], redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], 'order')
if mark and held then
  if older(ARGV[1], held) then return {'older', held} end
  local following = struct.unpack('>I8', mark) + 1
  if following > struct.unpack('>I8', seq) then seq = struct.pack('>I8', following) end
end
redis.call('HSET', KEYS[2], 'order', ARGV[1], 'token', '')
redis.call('SET', KEYS[1], seq .. ARGV[4] .. ARGV[2] .. ARGV[5])
return {'done', redis.call('GET', KEYS[1]), mark or ''}
"""
)

# KEYS mark, control, alive; ARGV generation
CLAIM: Final = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local mark = redis.call('GET', KEYS[1])
if mark and mark:sub(17, 24) == ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], 'load:' .. ARGV[1])
return 1
"""

# KEYS mark, control; ARGV generation
DROP: Final = """
local mark = redis.call('GET', KEYS[1])
if mark and mark:sub(17, 24) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""
