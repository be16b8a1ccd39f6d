// ChannelService of proto/channel/v1/channel.proto for the channel in channel.js.

import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { Channel, description, problems } from './channel.js'
import * as log from './log.js'

const deliverTime = 60_000 // milliseconds, where the gateway sets no deadline
const drainTime = 30_000
const maxMargin = 200 // kept back before a deadline, for the results to travel
const giveUpTime = 1000 // for calls to settle once they have to give up

// Connector is one configured use of the plugin. It has a queue of its own: a slow provider holds up
// no other.
class Connector {
  constructor(revision, config) {
    this.revision = revision
    this.channel = new Channel(config)
    this.queue = []
    this.working = 0
    this.idle = () => {}
  }

  // submit sends an item as soon as fewer than max_in_flight are under way, and calls done with its result.
  submit(item, deadline, done) {
    const task = { item, deadline, done, begun: false, dropped: false }
    this.queue.push(task)
    this.next()
    return task
  }

  next() {
    while (this.queue.length > 0 && this.working < description.limits.max_in_flight) {
      const task = this.queue.shift()
      if (!task.dropped) this.run(task)
    }
    if (this.working === 0) this.idle()
  }

  async run(task) {
    task.begun = true
    this.working++
    const outcome = await this.send(task)
    this.working--
    task.done(result(task.item, outcome))
    this.next()
  }

  async send({ item, deadline }) {
    const began = Date.now()
    if (item.not_after && item.not_after.seconds * 1000 + item.not_after.nanos / 1e6 <= began) return expired
    if (deadline <= began) return notStarted
    try {
      const outcome = await this.channel.send(item, deadline - began)
      return { ...outcome, latency: Date.now() - began }
    } catch (error) { // a fault costs its message, not the process
      log.error('send failed', { attempt_id: item.attempt_id, stack: String(error?.stack) })
      return { outcome: 'OUTCOME_UNCERTAIN', code: 'panic', message: String(error), fault: 'FAULT_PLUGIN' }
    }
  }

  // retire closes the channel once what is in flight has finished.
  retire() {
    return new Promise((resolve) => {
      this.idle = () => {
        this.channel.close()
        resolve()
      }
      this.next()
    })
  }
}

// Service serves the contract. It emits change whenever its state does, giveUp when calls must settle,
// and drained at the end.
export class Service extends EventEmitter {
  connectors = new Map()
  nonce = randomBytes(16).toString('hex')
  unanswered = 0 // items of calls that have not ended
  working = 0 // items that are being sent; they may outlive their call
  draining = false
  drained = false

  constructor() {
    super()
    this.setMaxListeners(0) // every open call listens
  }

  // methods are what gRPC calls.
  methods() {
    const unary = (method) => (call, callback) => {
      Promise.resolve(method.call(this, call.request)).then((response) => callback(null, response), callback)
    }
    return {
      Describe: unary(this.describe),
      ValidateConfig: unary(this.validateConfig),
      Configure: unary(this.configure),
      Remove: unary(this.remove),
      Deliver: (call) => this.deliver(call),
      Health: (call) => this.health(call),
      Drain: (call) => this.drain(call),
    }
  }

  // Who am I, and is this config right?

  describe() {
    const schema = Buffer.from(JSON.stringify(description.config_schema))
    return { ...description, config_schema: schema, instance_nonce: this.nonce }
  }

  validateConfig({ config, channel }) {
    const { diagnostics } = read(config)
    if (channel && !description.channels.includes(channel)) {
      diagnostics.push(diagnostic({ summary: `this plugin does not serve the channel "${channel}"` }))
    }
    return { diagnostics }
  }

  configure({ connector: id, revision, config: text }) {
    const old = this.connectors.get(id)
    if (old && revision < old.revision) {
      return { diagnostics: [diagnostic({ summary: `revision ${revision} is older than the current one, ${old.revision}` })] }
    }
    const { config, diagnostics } = read(text)
    if (diagnostics.length === 0) {
      this.connectors.set(id, new Connector(revision, config))
      this.emit('change')
      old?.retire() // what it was given is still sent
    }
    return { diagnostics }
  }

  async remove({ connector: id }) {
    const connector = this.connectors.get(id)
    if (this.connectors.delete(id)) {
      this.emit('change')
      await connector.retire()
    }
    return {}
  }

  // Messages.

  // deliver streams one result for each item, as they come. What has none in time is given up.
  deliver(call) {
    const items = [...new Map(call.request.items.map((item) => [item.attempt_id, item])).values()] // each attempt once
    const connector = this.connectors.get(call.request.connector)
    if (items.length === 0) call.end()
    else if (this.draining) refuse(call, items, draining)
    else if (!connector) refuse(call, items, unknownConnector(call.request.connector))
    else new Delivery(this, call, connector, items)
  }

  begun(n) {
    this.unanswered += n
    this.working += n
  }

  answered(n) {
    this.unanswered -= n
    this.emit('change')
  }

  worked(n) {
    this.working -= n
    if (this.draining) this.emit('change')
  }

  inFlight() {
    return Math.max(this.unanswered, this.working)
  }

  // Health and the end.

  health(call) {
    const tell = () => call.write(this.healthNow())
    tell()
    this.on('change', tell)
    call.on('cancelled', () => this.off('change', tell))
  }

  healthNow() {
    const connectors = [...this.connectors.keys()].sort().map((connector) => ({ connector, state: 'HEALTH_STATE_SERVING' }))
    if (this.draining) return { state: 'HEALTH_STATE_NOT_SERVING', message: 'draining', connectors }
    return { state: 'HEALTH_STATE_SERVING', connectors }
  }

  drain(call) {
    const { deadline, reason } = call.request
    this.startDrain(deadline ? deadline.seconds * 1000 + deadline.nanos / 1e6 : drainTime, reason)
    const tell = () => {
      call.write({ in_flight: this.inFlight(), done: this.drained })
      if (!this.drained) return
      this.off('change', tell)
      call.end()
    }
    this.on('change', tell)
    call.on('cancelled', () => this.off('change', tell))
    tell()
  }

  // startDrain takes no more messages and drains in the background, once.
  async startDrain(milliseconds, reason) {
    if (this.draining) return
    this.draining = true
    this.emit('change')
    log.info('draining', { in_flight: this.inFlight(), deadline: `${milliseconds}ms`, reason })
    if (!await this.empty(milliseconds)) {
      log.warn('giving up items in flight', { in_flight: this.inFlight() })
      this.emit('giveUp')
      await this.empty(giveUpTime)
    }
    this.drained = true
    this.emit('change')
    this.emit('drained')
  }

  // empty waits until nothing is in flight, at most for so long.
  empty(milliseconds) {
    return new Promise((resolve) => {
      const look = (timedOut) => {
        if (this.inFlight() > 0 && timedOut !== true) return
        this.off('change', look)
        clearTimeout(timer)
        resolve(this.inFlight() === 0)
      }
      const timer = setTimeout(look, milliseconds, true)
      this.on('change', look)
      look()
    })
  }
}

// Delivery is one Deliver call under way.
class Delivery {
  constructor(service, call, connector, items) {
    this.service = service
    this.call = call
    this.size = items.length
    this.ready = [] // results that are known and not yet streamed
    const deadline = authorDeadline(call.getDeadline())
    service.begun(items.length)
    this.open = new Set() // tasks without a result
    for (const item of items) {
      const task = connector.submit(item, deadline, (sent) => this.finish(task, sent))
      this.open.add(task)
    }
    this.giveUp = () => this.settle()
    this.timer = setTimeout(this.giveUp, deadline - Date.now())
    service.once('giveUp', this.giveUp)
    call.on('cancelled', () => { // nobody listens: begin nothing more, finish what has begun
      this.settle()
      this.end()
    })
  }

  finish(task, sent) {
    this.service.worked(1)
    this.report(task, sent)
  }

  report(task, sent) {
    if (!this.open.delete(task)) return
    if (this.ready.push(sent) === 1) setImmediate(() => this.flush()) // others that are ready travel along
  }

  // settle answers every item that has no result: one that had not begun was surely not sent.
  settle() {
    for (const task of this.open) {
      if (task.begun) {
        this.report(task, result(task.item, timedOut))
      } else {
        task.dropped = true
        this.finish(task, result(task.item, notStarted))
      }
    }
  }

  flush() {
    if (this.ended) return
    this.call.write({ results: this.ready })
    this.ready = []
    if (this.open.size > 0) return
    this.call.end()
    this.end()
  }

  end() {
    if (this.ended) return
    this.ended = true
    clearTimeout(this.timer)
    this.service.off('giveUp', this.giveUp)
    this.service.answered(this.size)
  }
}

// read decodes and checks a config. Its secrets are kept out of the log from here on.
function read(text) {
  let config
  try {
    config = JSON.parse(text.toString() || '{}')
  } catch {
    return { diagnostics: [diagnostic({ summary: 'the config is not JSON' })] }
  }
  if (config === null || typeof config !== 'object' || Array.isArray(config)) {
    return { diagnostics: [diagnostic({ summary: 'the config is not an object' })] }
  }
  const { properties } = description.config_schema
  log.hide(Object.keys(config).filter((k) => properties[k]?.['x-secret'] && typeof config[k] === 'string').map((k) => config[k]))
  return { config, diagnostics: problems(config).map(diagnostic) }
}

function diagnostic({ field, summary, detail = '' }) {
  return {
    severity: 'SEVERITY_ERROR', summary: log.redact(summary), detail: log.redact(detail), path: field ? [{ name: field }] : [],
  }
}

// authorDeadline is when sending must be over, a little before the gateway stops waiting.
function authorDeadline(deadline) {
  const now = Date.now()
  const remaining = Number.isFinite(Number(deadline)) ? Math.max(0, Number(deadline) - now) : deliverTime
  return Math.floor(now + remaining - Math.min(remaining / 10, maxMargin))
}

function refuse(call, items, outcome) {
  call.write({ results: items.map((item) => result(item, outcome)) })
  call.end()
}

const expired = { outcome: 'OUTCOME_REJECTED', code: 'expired', message: 'expired before it could be sent', fault: 'FAULT_MESSAGE' }
const notStarted = { outcome: 'OUTCOME_RETRYABLE', code: 'not_started', message: 'the deadline came before its turn', fault: 'FAULT_PROVIDER' }
const timedOut = { outcome: 'OUTCOME_UNCERTAIN', code: 'timeout', message: 'no answer in time', fault: 'FAULT_PROVIDER' }
const draining = { outcome: 'OUTCOME_RETRYABLE', code: 'draining', message: 'the plugin takes no messages any more', fault: 'FAULT_PLUGIN' }
const unknownConnector = (id) => (
  { outcome: 'OUTCOME_RETRYABLE', code: 'unknown_connector', message: `connector "${id}" is not configured here`, fault: 'FAULT_CONFIG' })

// result is an outcome as the contract has it.
function result(item, { outcome, code, message, fault, providerCode, providerIds, retryAfter, latency }) {
  const made = { attempt_id: item.attempt_id, outcome, provider_ids: providerIds ?? [] }
  if (code) made.error = { code, provider_code: providerCode ?? '', message: log.redact(message), fault }
  if (retryAfter > 0) made.retry_after = duration(retryAfter)
  if (latency !== undefined) made.latency = duration(latency)
  return made
}

function duration(milliseconds) {
  return { seconds: Math.floor(milliseconds / 1000), nanos: Math.round((milliseconds % 1000) * 1e6) }
}
