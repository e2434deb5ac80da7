-- Appends signals to the stream that all gateways read, numbered as in announce.lua, in one piece.

local gateway, batch, received_at, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for i = 5, #ARGV do
  local n = redis.call('INCR', KEYS[2])
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', kept, '*', 'n', n, 'g', gateway, 'b', batch, 'i', i - 5, 't', received_at,
    's', ARGV[i])
end
return #ARGV - 4
