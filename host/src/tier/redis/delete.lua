-- Removes a value unless its version is above the floor, and keeps values up to the floor out.
--
-- It is announced to the other gateways in the same script: see announce.lua, which stands before this one.
--
-- As in put.lua, bytes that no note describes are given back, and the caller comes again with its judgement of them.
--
-- Answers: {'deleted'}, {'absent'}, {'superseded'}, {'foreign', bytes, PTTL}.

local value_key, note_key = KEYS[1], KEYS[2]
local floor, floor_life_ms, judged_sha, judged_version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local gateway, gateway_name, announced_max = ARGV[5], ARGV[6], ARGV[7]

local held = redis.call('GET', value_key)
local note = redis.call('HMGET', note_key, 'version', 'sha1', 'floor')
local version, note_sha, old_floor = note[1], note[2], note[3]
local answer = 'absent'

if held then
  local held_sha = redis.sha1hex(held)
  if held_sha ~= note_sha then
    if held_sha ~= judged_sha then return {'foreign', held, redis.call('PTTL', value_key)} end
    version = judged_version -- empty for bytes that are no value of the key: below any floor
  end
  if version > floor then
    answer = 'superseded'
  else
    redis.call('DEL', value_key)
    answer = 'deleted'
  end
end

if not old_floor or old_floor < floor then redis.call('HSET', note_key, 'floor', floor) end
local left = redis.call('PTTL', note_key)
if left < tonumber(floor_life_ms) then redis.call('PEXPIRE', note_key, floor_life_ms) end
announce(KEYS[3], KEYS[4], gateway, gateway_name, announced_max, 'k', value_key, 'f', floor, 'answer', answer)
return {answer, '', 0}
