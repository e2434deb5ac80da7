-- Where a stream ends: the id of its last entry, and the number of entries that it ever had.

local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
return {last[1] and last[1][1] or '0-0', tonumber(redis.call('GET', KEYS[2]) or '0')}
