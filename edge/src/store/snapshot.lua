-- ARGV[2] how many articles.
-- Answers, beside the heads, each symbol with its latest price, and the newest articles, newest first.
local articles = {}
for _, id in ipairs(redis.call('ZREVRANGE', 'articles:byTime', 0, ARGV[2] - 1)) do
  local article = redis.call('GET', 'article:' .. id)
  if article then articles[#articles + 1] = article end
end
return {epoch, heads, redis.call('HGETALL', 'prices:latest'), articles}
