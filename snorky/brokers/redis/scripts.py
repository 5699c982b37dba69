"""What the server does in one step: Lua scripts over the keys of one log.

The keys, all in one slot: ``m`` epoch, sequence, nonce and bytes of the log; ``s`` its stream,
whose ids are the sequence; ``o`` what is known of sources; ``e`` when their leases end; ``k``
position by key and ``q`` key by number, both by source; ``z`` and ``b`` the entries kept beside.
An entry has its text (d), its nonce (n), that of the entry before it (p) and its time (t).
"""

from __future__ import annotations

from hashlib import sha1

from snorky.brokers.log import KEYS_PER_SOURCE, MAX_KEPT_BESIDE

KEYS = ("m", "s", "o", "e", "k", "q", "z", "b")

_BEGIN = """
local m, s, o, e, k, q, z, b = unpack(KEYS)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function begin(epoch)
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', m, 'epoch', epoch, 'seq', 0, 'nonce', '', 'bytes', 0, 'looked', now)
end
if redis.call('EXISTS', m) == 0 then begin(ARGV[1]) end
local epoch, seq, nonce = unpack(redis.call('HMGET', m, 'epoch', 'seq', 'nonce'))
seq = tonumber(seq)
"""

_EXPIRE_BESIDE = """
while true do
  local old = redis.call('ZRANGEBYSCORE', z, '-inf', now, 'LIMIT', 0, 1000)
  if #old == 0 then break end
  redis.call('ZREM', z, unpack(old))
  redis.call('HDEL', b, unpack(old))
end
"""

# 2 source, 3 fence or "", 4 whether there is a place, 5 place, 6 milliseconds to be kept beside,
# 7 bytes, 8 milliseconds and 9 entries that the log keeps, then key or "", nonce and text of each.
APPEND = (
    _BEGIN
    + """
local source, fence = ARGV[2], ARGV[3]
if (redis.call('HGET', o, 'fence:' .. source) or '') ~= fence then return {'fence'} end
local keep = tonumber(ARGV[6])
if keep > 0 then
"""
    + _EXPIRE_BESIDE
    + f"""
  if redis.call('ZCARD', z) >= {MAX_KEPT_BESIDE} then return {{'full'}} end
end
if fence ~= '' then
  redis.call('HSET', e, source, now + redis.call('HGET', o, 'lease:' .. source))
end
if ARGV[4] == '1' then redis.call('HSET', o, 'place:' .. source, ARGV[5]) end
local bytes = tonumber(redis.call('HGET', m, 'bytes'))
local of = #source .. ':' .. source
local answer = {{'ok', epoch}}
for i = 10, #ARGV, 3 do
  local key, text = ARGV[i], ARGV[i + 2]
  local known = key ~= '' and redis.call('HGET', k, of .. key)
  if not known then
    seq = seq + 1
    redis.call('XADD', s, seq .. '-0', 'd', text, 'n', ARGV[i + 1], 'p', nonce, 't', now)
    nonce = ARGV[i + 1]
    bytes = bytes + #text
    known = seq .. ' ' .. nonce
    local number = redis.call('HINCRBY', o, 'count:' .. source, 1)
    if key ~= '' then
      redis.call('HSET', k, of .. key, known)
      redis.call('HSET', q, of .. number, key)
    end
    local old = redis.call('HGET', q, of .. (number - {KEYS_PER_SOURCE}))
    if old then
      redis.call('HDEL', q, of .. (number - {KEYS_PER_SOURCE}))
      redis.call('HDEL', k, of .. old)
    end
    if keep > 0 then
      redis.call('ZADD', z, now + keep, seq)
      redis.call('HSET', b, seq, nonce .. ' ' .. now .. ' ' .. text)
    end
  end
  answer[#answer + 1] = known
end
local most, age, entries = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local kept = redis.call('XLEN', s)
if bytes > most or kept > entries or now - redis.call('HGET', m, 'looked') > 1000 then
  local upto = nil
  local from = '-'
  while kept > 0 do
    local oldest = redis.call('XRANGE', s, from, '+', 'COUNT', 1)[1]
    local text, at = oldest[2][2], tonumber(oldest[2][8])
    if bytes <= most and kept <= entries and at >= now - age then break end
    bytes = bytes - #text
    kept = kept - 1
    upto = tonumber(string.match(oldest[1], '%d+'))
    from = '(' .. oldest[1]
  end
  if upto then redis.call('XTRIM', s, 'MINID', (upto + 1) .. '-0') end
  redis.call('HSET', m, 'looked', now)
end
redis.call('HSET', m, 'seq', seq, 'nonce', nonce, 'bytes', bytes)
return answer
"""
)

# 2 epoch, 3 sequence and 4 nonce that a process knows. Where the log does not continue from there
# it begins anew: what was told to somebody is lost.
LOOK = (
    _BEGIN
    + """
local state = 'same'
if epoch ~= ARGV[2] then
  state = 'other'
else
  local known, is = tonumber(ARGV[3]), nonce
  if known < seq then
    local entry = known > 0 and redis.call('XRANGE', s, ARGV[3], ARGV[3])[1]
    local oldest = redis.call('XRANGE', s, '-', '+', 'COUNT', 1)[1]
    if entry then
      is = entry[2][4]
    elseif oldest and oldest[1] == (known + 1) .. '-0' then
      is = oldest[2][6]
    else
      state, is = 'trimmed', ARGV[4]
    end
  end
  if known > seq or is ~= ARGV[4] then
    begin(ARGV[1])
    state, epoch, seq, nonce = 'other', ARGV[1], 0, ''
  end
end
return {state, epoch, seq, nonce}
"""
)

# 2 source, 3 milliseconds, 4 the new fence, 5 the one that is known, or ""
TAKE_LEASE = (
    _BEGIN
    + """
local source = ARGV[2]
local held = tonumber(redis.call('HGET', e, source) or 0) > now
if held and redis.call('HGET', o, 'fence:' .. source) ~= ARGV[5] then return {'held'} end
redis.call('HSET', o, 'fence:' .. source, ARGV[4], 'lease:' .. source, ARGV[3])
redis.call('HSET', e, source, now + ARGV[3])
return {'ok', redis.call('HGET', o, 'place:' .. source)}
"""
)

LEASES = (
    _BEGIN
    + """
local all = redis.call('HGETALL', e)
local answer = {}
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) > now then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = all[i + 1] - now
  end
end
return answer
"""
)

# 2 source, 3 how much to add: 0 to learn the count
ASK = _BEGIN + "return redis.call('HINCRBY', o, 'asked:' .. ARGV[2], ARGV[3])"

BESIDE = (
    _BEGIN
    + _EXPIRE_BESIDE
    + """
return {epoch, redis.call('HGETALL', b)}
"""
)

SCRIPTS = (APPEND, LOOK, TAKE_LEASE, LEASES, ASK, BESIDE)

SHA = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in SCRIPTS}
