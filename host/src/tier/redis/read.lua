-- What is under each key, with its time left and its note, all of one moment.
--
-- A script and not MULTI, because a full server refuses whatever is queued in a transaction, reads included.
--
-- KEYS: value and note, value and note, ... Answers: {bytes or nil, PTTL, {note's fields}} for each.

local answers = {}
for i = 1, #KEYS, 2 do
  local held = redis.pcall('GET', KEYS[i])
  -- A list or a hash is there, which is no value of any key: as bytes that no codec accepts it is seen and reported, and
  -- the other keys are answered all the same.
  if type(held) == 'table' and held.err then held = '' end
  local note = redis.pcall('HMGET', KEYS[i + 1], 'kind', 'rank', 'fresh', 'version', 'produced', 'sha1', 'floor')
  if note.err then note = {} end
  answers[#answers + 1] = {held, redis.call('PTTL', KEYS[i]), note}
end
return answers
