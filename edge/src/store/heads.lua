-- KEYS[1] the epoch's key; ARGV[1] a fresh name for it.
-- Answers the epoch and, for each stream, its key, first id, last id and the kind of its last entry.
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
end
local heads = {}
for _, stream in ipairs(redis.call('SMEMBERS', 'streams')) do
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local head = {stream, '0-0', '0-0', ''}
  if last then
    head[2], head[3] = first[1], last[1]
    for field = 1, #last[2], 2 do
      if last[2][field] == 'kind' then head[4] = last[2][field + 1] end
    end
  end
  heads[#heads + 1] = head
end
