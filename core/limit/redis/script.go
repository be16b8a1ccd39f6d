package redis

// allowScript decides all requests of a call on one reading of Redis' own clock. It reads each counter
// once, lets the requests take from what it read, one after the other, and writes only when all of them
// pass. So nothing has to be undone.
//
//	KEYS     one counter for each request
//	ARGV     name of the call, lease, and for each request: kind, max, n, window
//	returns  {0, 0}, or {index of the refused request from 1, wait or -1 for never}
//
// Times are microseconds, those of the clock since 2025, so that a double holds them to the nanosecond.
const allowScript = `
local SECOND, LONGEST, ROUNDING = 1e6, 1e15, 0.05
local GRAINS, ASK_AGAIN, NEVER = 128, 1e5, -1
local clock = redis.call('TIME')
local now = (clock[1] - 1735689600) * SECOND + clock[2]
local call, lease = ARGV[1], tonumber(ARGV[2])

local function keep(key, idle)
  redis.call('PEXPIRE', key, math.ceil(math.max(idle - now, 0) / 1000) + 1)
end

-- q: a rate, by the generic cell rate algorithm. Its value is the time that the events so far have taken.
local function load_rate(s)
  s.busy = tonumber(redis.call('GET', s.key) or 0)
  s.before = s.busy
end
local function take_rate(s, max, n)
  local each = math.min(SECOND / max, LONGEST)
  local ahead = math.max(each, SECOND)
  local cost = n * each
  if cost > ahead + ROUNDING then return NEVER end
  -- Under a smaller max events may have taken more time than the present one allows to be ahead. Then
  -- even a refusal writes, or that time would never pass.
  if s.before > now + ahead then s.before, s.clamped = now + ahead, true end
  s.busy = math.max(math.min(s.busy, now + ahead), now)
  local wait = s.busy + cost - ahead - now
  if wait > ROUNDING then return math.ceil(wait) end
  s.busy = s.busy + cost
  return 0
end
local function save_rate(s, busy)
  redis.call('SET', s.key, string.format('%.3f', busy), 'PX', math.ceil(math.max(busy - now, 0) / 1000) + 1)
end

-- w: a window. Its value is a list of entries "time n sum", oldest first: n events that count until time
-- plus window, and the sum of all n up to here, so that the first and the last entry tell the total.
local function parse(entry)
  local at, n, sum = string.match(entry, '(%S+) (%S+) (%S+)')
  return {at = tonumber(at), n = tonumber(n), sum = tonumber(sum)}
end
local function format(e) return string.format('%.0f %.0f %.0f', e.at, e.n, e.sum) end
local function load_window(s)
  s.total, s.pushed = 0, {}
  local first = redis.call('LINDEX', s.key, 0)
  while first do
    s.first = parse(first)
    if s.first.at + s.window > now then break end
    redis.call('LPOP', s.key)
    first, s.first = redis.call('LINDEX', s.key, 0), nil
  end
  if first then
    s.last = parse(redis.call('LINDEX', s.key, -1))
    s.total = s.last.sum - s.first.sum + s.first.n
  end
end
local function leave(s, over)
  if s.first and s.first.n >= over then return s.first.at + s.window end
  for _, entry in ipairs(redis.call('LRANGE', s.key, 0, -1)) do
    local e = parse(entry)
    over = over - e.n
    if over <= 0 then return e.at + s.window end
  end
  return s.last.at + s.window -- an earlier request of this call
end
local function take_window(s, max, n)
  if n > max then return NEVER end
  local over = s.total + n - max
  if over > 0 then return leave(s, over) - now end
  local at = now
  if max > GRAINS then
    local grain = math.max(math.floor(s.window / GRAINS), 1)
    at = (math.floor(now / grain) + 1) * grain
  end
  s.total = s.total + n
  if s.last and s.last.at >= at then
    s.last.n, s.last.sum = s.last.n + n, s.last.sum + n
    if #s.pushed == 0 then s.merged = s.last end
  else
    s.last = {at = at, n = n, sum = (s.last and s.last.sum or 0) + n}
    table.insert(s.pushed, s.last)
  end
  return 0
end
local function save_window(s)
  if s.merged then redis.call('LSET', s.key, -1, format(s.merged)) end
  for _, e in ipairs(s.pushed) do redis.call('RPUSH', s.key, format(e)) end
  keep(s.key, s.last.at + s.window)
end

-- c: places. Its value is a sorted set of places by the time of their lapse.
local function load_places(s)
  redis.call('ZREMRANGEBYSCORE', s.key, '-inf', string.format('%.0f', now))
  s.held, s.taken = redis.call('ZCARD', s.key), {}
end
local function take_places(s, max, n, request)
  if n > max then return NEVER end
  if s.held + n > max then
    local first = redis.call('ZRANGE', s.key, 0, 0, 'WITHSCORES')
    return math.max(1, math.ceil(math.min((first[2] or now + lease) - now, ASK_AGAIN)))
  end
  s.held = s.held + n
  for i = 1, n do table.insert(s.taken, call .. '.' .. request .. '.' .. i) end
  return 0
end
local function save_places(s)
  local lapse = string.format('%.0f', now + lease)
  for _, place in ipairs(s.taken) do redis.call('ZADD', s.key, lapse, place) end
  keep(s.key, now + lease)
end

local states = {}
for i, key in ipairs(KEYS) do
  local kind, max, n = ARGV[4 * i - 1], tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local s = states[key]
  if not s then
    s = {key = key, kind = kind, window = tonumber(ARGV[4 * i + 2])}
    states[key] = s
    if kind == 'q' then load_rate(s) elseif kind == 'w' then load_window(s) else load_places(s) end
  end
  local wait = NEVER
  if max > 0 then
    if kind == 'q' then wait = take_rate(s, max, n)
    elseif kind == 'w' then wait = take_window(s, max, n)
    else wait = take_places(s, max, n, i) end
  end
  if wait ~= 0 then
    for _, other in pairs(states) do
      if other.clamped then save_rate(other, other.before) end
    end
    return {i, wait}
  end
end
for _, s in pairs(states) do
  if s.kind == 'q' then save_rate(s, s.busy) elseif s.kind == 'w' then save_window(s) else save_places(s) end
end
return {0, 0}
`

// beatScript counts this instance as alive, forgets those that have not been heard of for a while, and
// returns how many there are.
//
//	KEYS  the instances
//	ARGV  name of this one, empty if it does not count; microseconds that it counts
const beatScript = `
local clock = redis.call('TIME')
local now = clock[1] * 1e6 + clock[2]
local life = tonumber(ARGV[2])
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], string.format('%.0f', now + life), ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(life / 1000))
return redis.call('ZCARD', KEYS[1])
`
