-- KEYS: stream, the partition's life, snapshot, its companion; for a candle also the snapshot and
-- companion of its symbol's first exchange.
-- ARGV: offset, kind, channel, data, stream length, time, member, how many the snapshot keeps,
-- the life as read, the life to write, 1 if the partition began anew; for a candle also symbol,
-- exchange and the channel that names no exchange.
-- Answers 1 when written, 0 if the stream holds the record, -1 if another writer moved the life.
local offset, kind, channel, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time, member, keep = ARGV[6], ARGV[7], tonumber(ARGV[8])
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[9] then return -1 end
redis.call('SET', KEYS[2], ARGV[10])
if ARGV[11] == '1' then
  -- The ids start again below those that were given: readers must not go on from old ones.
  redis.call('DEL', KEYS[1], 'edge:epoch')
end

local function add(n, to)
  return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], offset .. '-' .. n,
    'kind', kind, 'channel', to, 'data', data)
end

local added = add(1, channel)
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then return 0 end
  return added
end
redis.call('SADD', 'streams', KEYS[1])

local function keep_candle(times, candles)
  redis.call('ZADD', times, time, member)
  redis.call('HSET', candles, member, data)
  for _, old in ipairs(redis.call('ZRANGE', times, 0, -keep - 1)) do
    redis.call('ZREM', times, old)
    redis.call('HDEL', candles, old)
  end
end

if kind == 'price' then
  local latest = redis.call('HGET', KEYS[4], member)
  if not latest or tonumber(latest) <= tonumber(time) then
    redis.call('HSET', KEYS[3], member, data)
    redis.call('HSET', KEYS[4], member, time)
  end
  redis.call('PUBLISH', 'prices:' .. channel, data)
elseif kind == 'candle' then
  keep_candle(KEYS[3], KEYS[4])
  redis.call('HSETNX', 'candles:exchange', ARGV[12], ARGV[13])
  if redis.call('HGET', 'candles:exchange', ARGV[12]) == ARGV[13] then
    add(2, ARGV[14])
    keep_candle(KEYS[5], KEYS[6])
  end
else
  redis.call('ZADD', KEYS[3], time, member)
  redis.call('SET', KEYS[4], data)
  for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, -keep - 1)) do
    redis.call('ZREM', KEYS[3], old)
    redis.call('DEL', 'article:' .. old)
  end
end
return 1
