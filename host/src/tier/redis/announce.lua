-- Appends to the stream of changes what a script did. Not a script of its own: others begin with it.
--
-- `n` rises by one with each entry, so that a reader notices what it did not get: entries that were trimmed away, a server
-- that came back empty or is another one. `g` is the writer's and tells readers what is their own; `name` is for people. Without a gateway nothing is announced.
--
-- Answers the entry's id, or what went wrong.

local function announce(stream, count, gateway, gateway_name, announced_max, ...)
  if gateway == '' then return end
  -- `pcall`: the value is stored, and a stream that takes nothing is noticed by its heartbeat.
  local n = redis.pcall('INCR', count)
  if type(n) == 'table' then return n end
  return redis.pcall('XADD', stream, 'MAXLEN', '~', announced_max, '*', 'n', n, 'g', gateway, 'name', gateway_name, ...)
end

