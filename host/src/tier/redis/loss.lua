-- Appends to the stream of changes that a write of the gateway lost. It is numbered as in announce.lua, and changes nothing.

local n = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'n', n, 'g', ARGV[1], 'name', ARGV[2], 'k', ARGV[4], 'lost', ARGV[5])
return n
