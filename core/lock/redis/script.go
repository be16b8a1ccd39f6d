package redis

// A lock is a hash: its owner, its fence, and a field for each hold that has not been given back. Holds
// have names of their own, so that a command that is repeated after a network fault changes nothing twice.

// takeScript takes a lock, or takes it again for its owner. The fence grows with the clock, and by one
// where the clock does not: it may be forgotten when it is older than any clock goes back.
//
//	KEYS     lock, its fence
//	ARGV     owner, hold, lease in ms, ms that the fence is remembered
//	returns  {1, fence}, or {0, ms until the lease of who holds it runs out}
const takeScript = `
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
if not owner then
  local clock = redis.call('TIME')
  local last = tonumber(redis.call('GET', KEYS[2]) or 0)
  local fence = string.format('%.0f', math.max(last + 1, clock[1] * 1e6 + clock[2]))
  redis.call('SET', KEYS[2], fence, 'PX', ARGV[4])
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', fence)
end
redis.call('HSET', KEYS[1], ARGV[2], '')
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {1, tonumber(redis.call('HGET', KEYS[1], 'fence'))}
`

// renewScript renews the lease of a lock, if the hold is one of its holds.
//
//	KEYS     lock
//	ARGV     hold, lease in ms
//	returns  1, or 0 if the hold was lost
const renewScript = `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
`

// releaseScript gives a hold back, and wakes who waits when it was the last one.
//
//	KEYS     lock
//	ARGV     hold, channel, name of the lock
//	returns  1, or 0 if the hold was lost
const releaseScript = `
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('HLEN', KEYS[1]) == 2 then
  redis.call('DEL', KEYS[1])
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
`
