-- Tells the other gateways of a write of the gateway that lost: see announce.lua, which stands before this one. It changes nothing.

return announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], 'k', ARGV[4], 'lost', ARGV[5])
