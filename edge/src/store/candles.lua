-- KEYS[2] the candles' key; ARGV[2] how many.
-- Answers, beside the heads, the newest candles, newest first.
local candles = {}
local times = redis.call('ZREVRANGE', KEYS[2], 0, ARGV[2] - 1)
if #times > 0 then
  for _, candle in ipairs(redis.call('HMGET', KEYS[2] .. ':data', unpack(times))) do
    if candle then candles[#candles + 1] = candle end
  end
end
return {epoch, heads, candles}
