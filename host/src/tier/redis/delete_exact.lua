-- Removes exactly the bytes with this SHA-1.
--
-- Answers: {'deleted'}, {'absent'}, {'superseded'}.

local held = redis.call('GET', KEYS[1])
if not held then return {'absent', '', 0} end
if redis.sha1hex(held) ~= ARGV[1] then return {'superseded', '', 0} end
redis.call('DEL', KEYS[1])
return {'deleted', '', 0}
