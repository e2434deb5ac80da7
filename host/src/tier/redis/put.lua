-- Stores a value unless a greater one is there. The rule is that of `contest.rs`.
--
-- The value is a plain string; what a gateway knows beside it stands in a hash, the note, with the SHA-1 of the bytes that
-- it describes. When that does not match the bytes that are there, somebody else wrote them: the script changes nothing and
-- gives them back, and the caller comes again with its judgement of exactly these bytes.
--
-- Orders are texts of fixed width (kind 1, rank 3, version 16, digest 40), so that they sort as what they stand for. Lua's
-- numbers are doubles: versions above 2^53 would be mixed up.
--
-- A change is announced to the other gateways in the same script: see announce.lua, which stands before this one.
--
-- Answers: {'stored'}, {'superseded'}, {'refused', kind}, {'foreign', bytes, PTTL}.

local value_key, note_key = KEYS[1], KEYS[2]
local value, life_ms, note_life_ms, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local kind, rank, fresh_until, version, digest, produced_at = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local stored_sha, judged_sha, judged_order = ARGV[11], ARGV[12], ARGV[13]
local known_floor = ARGV[14] -- of a delete that the gateway knows of, and this server may not know, or not know yet
local gateway, gateway_name, announced_max = ARGV[15], ARGV[16], ARGV[17]

local function order_of(kind, rank, fresh_until, version, digest)
  if fresh_until <= now then rank = '000' end
  return kind .. rank .. version .. digest
end

-- Lets `key` live at least this long; what never ends stays so.
local function prolong(key, ms)
  local left = redis.call('PTTL', key)
  if left >= 0 and left < tonumber(ms) then redis.call('PEXPIRE', key, ms) end
end

local function write_note()
  redis.call('HSET', note_key, 'kind', kind, 'rank', rank, 'fresh', fresh_until, 'version', version, 'digest', digest,
    'produced', produced_at, 'sha1', stored_sha)
end

local held = redis.call('GET', value_key)
local note = redis.call('HMGET', note_key, 'kind', 'rank', 'fresh', 'version', 'digest', 'sha1', 'floor')
local note_kind, note_version, note_sha, floor = note[1], note[4], note[6], note[7]

local function announce_value(...)
  announce(KEYS[3], KEYS[4], gateway, gateway_name, announced_max, 'k', value_key, 'bytes', #value, 'kind', kind, 'rank', rank,
    'fresh', fresh_until, 'version', version, 'digest', digest, 'produced', produced_at, 'sha1', stored_sha, ...)
end

if floor and version <= floor or version <= known_floor then
  -- Another store may have taken it, from where others would take it for newer than the delete.
  announce_value('barred', '1')
  return {'superseded', '', 0}
end

if held then
  local held_sha = redis.sha1hex(held)
  local theirs
  if held_sha == note_sha then
    theirs = order_of(note_kind, note[2], note[3], note_version, note[5])
  elseif held_sha == judged_sha then
    theirs = judged_order -- empty for bytes that are no value of the key: lesser than any order
  else
    return {'foreign', held, redis.call('PTTL', value_key)}
  end
  local mine = order_of(kind, rank, fresh_until, version, digest)
  if theirs ~= '' then
    local their_kind = theirs:sub(1, 1)
    if their_kind > kind then return {'refused', their_kind, 0} end
    if their_kind == kind then
      if theirs:sub(5) == mine:sub(5) then
        -- Somebody else may have written the very same bytes, without a note.
        if held_sha == stored_sha and held_sha ~= note_sha then
          write_note()
          redis.call('PEXPIRE', note_key, note_life_ms)
        end
        prolong(value_key, life_ms)
        prolong(note_key, note_life_ms)
        return {'stored', '', 0}
      end
      if theirs > mine then return {'superseded', '', 0} end
    end
  end
elseif note_version and kind <= note_kind and version < note_version then
  -- The value has ended or was evicted. Its note is the floor: nobody sees an older one of its kind come back.
  return {'superseded', '', 0}
end

-- The first write of a script is where a full server refuses (-OOM); nothing is half done then.
redis.call('SET', value_key, value, 'PX', life_ms)
write_note()
redis.call('PEXPIRE', note_key, note_life_ms)
announce_value()
return {'stored', '', 0}
