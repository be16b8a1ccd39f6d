// The channel: it posts each message as JSON to a URL, with a bearer token.

import http from 'node:http'
import https from 'node:https'

// What -describe prints and Describe answers. The gateway reads from it what the plugin can do.
export const description = {
  name: 'webhook-node',
  version: '0.1.0',
  api_versions: ['channel.v1'],
  channels: ['webhook'],
  capabilities: {
    attachments: false, callback: false, check: false, exclusive_session: false, html: true,
    idempotent_send: false, query: false, receipts: false, receive: false,
  },
  // How much the gateway hands over at once, and how many requests a connector has under way.
  limits: { max_batch: 0, max_batch_bytes: 0, max_in_flight: 64, max_message_bytes: 0, suggested_rate: 0 },
  config_schema: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'webhook-node connector',
    type: 'object',
    properties: {
      url: { type: 'string', format: 'uri', minLength: 1, description: 'Where to post the message' },
      token: { type: 'string', minLength: 1, description: 'Bearer token of the provider', 'x-secret': true },
    },
    required: ['url', 'token'],
    additionalProperties: false,
  },
}

const answerBytes = 1 << 20 // of an answer that are read
const excerptLength = 300 // of a refusal that becomes the error's text

// problems checks a config without any effect. The value of a secret never becomes part of a text.
export function problems(config) {
  const known = description.config_schema.properties
  const found = Object.keys(config).filter((field) => !Object.hasOwn(known, field)).map((field) => (
    { field, summary: `unknown field "${field}"`, detail: `one of: ${Object.keys(known).join(', ')}` }))
  for (const [field, { description: detail }] of Object.entries(known)) {
    const value = config[field] ?? null
    if (value === null) found.push({ field, summary: `"${field}" is missing`, detail })
    else if (typeof value !== 'string') found.push({ field, summary: `expected a string, found ${typeof value}`, detail })
    else if (value === '') found.push({ field, summary: `"${field}" must not be empty`, detail })
  }
  if (found.length === 0 && !isHttp(config.url)) {
    found.push({ field: 'url', summary: 'not a valid URL', detail: 'it begins with http:// or https:// and has a host' })
  }
  return found
}

function isHttp(text) {
  return /^https?:\/\/[^/]/.test(text) && URL.canParse(text)
}

// Channel is one connector: an address and its token.
export class Channel {
  constructor(config) {
    this.url = new URL(config.url)
    this.token = config.token
    this.client = this.url.protocol === 'https:' ? https : http
    this.agent = new this.client.Agent({ keepAlive: true })
  }

  // send sends one message within so many milliseconds and says what came of it. The gateway repeats
  // only what was surely not sent.
  send(item, milliseconds) {
    return new Promise((resolve) => {
      let connected = false
      const fail = (error) => resolve(afterError(error, connected))
      const request = this.client.request(this.url, {
        method: 'POST', headers: this.headers(item), agent: this.agent, signal: AbortSignal.timeout(milliseconds),
      }, (answer) => readText(answer).then((text) => resolve(outcomeOf(answer, text)), fail))
      request.on('error', fail)
      request.on('socket', (socket) => {
        connected = !socket.connecting // one that was kept open
        socket.once(this.client === https ? 'secureConnect' : 'connect', () => { connected = true })
      })
      request.end(body(item))
    })
  }

  headers(item) {
    const headers = {
      Authorization: `Bearer ${this.token}`,
      'Content-Type': 'application/json',
      'Idempotency-Key': item.idempotency_key, // the same for every attempt of one message
    }
    if (item.traceparent) headers.traceparent = item.traceparent
    return headers
  }

  close() {
    this.agent.destroy()
  }
}

function body(item) {
  const { text, subject, html, attributes } = item.content
  const message = { id: item.message_id, to: item.recipient, text }
  if (subject) message.subject = subject
  if (html) message.html = html
  if (Object.keys(attributes).length > 0) message.attributes = attributes
  return JSON.stringify(message)
}

async function readText(answer) {
  const chunks = []
  let size = 0
  for await (const chunk of answer) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= answerBytes) break
  }
  return Buffer.concat(chunks).toString('utf8')
}

// afterError tells what was surely not sent from what the provider may have read.
function afterError(error, connected) {
  const message = error.cause?.message ?? error.message
  if (!connected) return { outcome: 'OUTCOME_RETRYABLE', code: 'connect_failed', message: `connect: ${message}`, fault: 'FAULT_PROVIDER' }
  const code = error.name === 'AbortError' ? 'timeout' : 'uncertain'
  return { outcome: 'OUTCOME_UNCERTAIN', code, message: `post: ${message}`, fault: 'FAULT_PROVIDER' }
}

// outcomeOf turns the status of an answer into an outcome, as sdk.DoHTTP does for plugins in Go.
function outcomeOf(answer, text) {
  const status = answer.statusCode
  if (status >= 200 && status < 300) return { outcome: 'OUTCOME_ACCEPTED', providerIds: providerIds(text) }
  const failed = (outcome, code, fault) => ({
    outcome, code, fault, providerCode: String(status), retryAfter: retryAfter(answer.headers['retry-after'] ?? ''),
    message: `provider answered ${status} ${answer.statusMessage}: ${excerpt(text)}`,
  })
  if (status === 429) return failed('OUTCOME_THROTTLED', 'throttled', 'FAULT_PROVIDER')
  if ([408, 425, 503].includes(status)) return failed('OUTCOME_RETRYABLE', 'unavailable', 'FAULT_PROVIDER')
  if ([401, 403].includes(status)) return failed('OUTCOME_REJECTED', 'auth_failed', 'FAULT_CONFIG')
  if (status >= 300 && status < 400) return failed('OUTCOME_REJECTED', 'http_status', 'FAULT_CONFIG')
  if (status >= 400 && status < 500) return failed('OUTCOME_REJECTED', 'http_status', 'FAULT_MESSAGE')
  return failed('OUTCOME_UNCERTAIN', 'http_status', 'FAULT_PROVIDER') // it may have failed after the work
}

// providerIds is the provider's own id of the message, where the answer is JSON with an "id".
function providerIds(text) {
  try {
    const { id } = JSON.parse(text) ?? {}
    return id ? [String(id)] : []
  } catch {
    return []
  }
}

function excerpt(text) {
  return text.split(/\s+/).join(' ').trim().slice(0, excerptLength) || 'no body'
}

// retryAfter reads seconds or a date, and gives milliseconds.
function retryAfter(value) {
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Math.max(0, milliseconds || 0)
}
