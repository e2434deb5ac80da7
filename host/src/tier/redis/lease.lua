-- Takes a lease, or prolongs it for the one who holds it. Answers 1 to the holder and 0 to others.

local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
