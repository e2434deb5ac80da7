-- Appends a heartbeat to the stream of changes. Whoever reads its own knows that the stream takes and gives.

local n = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'n', n, 'g', ARGV[1], 'name', ARGV[3], 'release', ARGV[4])
return n
