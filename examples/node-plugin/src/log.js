// The log: hclog's JSON on the standard error, one object a line, without secrets.

import util from 'node:util'
import { description } from './channel.js'

// In each form in which they commonly turn up. Those of replaced configs stay: a late error may
// still quote an old token.
const secrets = new Set()

// hide keeps the secrets out of all that redact sees from now on.
export function hide(values) {
  for (const value of values) {
    if (value.length < 4) continue // it would be found inside ordinary words
    const bytes = Buffer.from(value)
    for (const form of [
      value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value), new URLSearchParams({ v: value }).toString().slice(2),
      bytes.toString('base64'), bytes.toString('base64url'),
    ]) secrets.add(form)
  }
}

// redact cuts the secrets out of a text: the longest first, for one may begin with another.
export function redact(text) {
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) text = text.replaceAll(secret, '[redacted]')
  return text
}

function write(level, message, fields) {
  const entry = { '@level': level, '@message': message, '@module': description.name, '@timestamp': new Date().toISOString(), ...fields }
  process.stderr.write(redact(JSON.stringify(entry)) + '\n')
}

export const info = (message, fields = {}) => write('info', message, fields)
export const warn = (message, fields = {}) => write('warn', message, fields)
export const error = (message, fields = {}) => write('error', message, fields)

// capture makes a line of the log of whatever the console prints.
export function capture() {
  for (const name of ['debug', 'info', 'log']) console[name] = (...args) => info(util.format(...args))
  for (const name of ['warn', 'error']) console[name] = (...args) => warn(util.format(...args))
}
