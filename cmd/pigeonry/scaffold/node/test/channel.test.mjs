// Tests of the channel: what it makes of the provider's answers, and the conformance kit on the program that
// ships.
//
//   npm test

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Channel, description, problems } from '../src/channel.js'

const here = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const token = 's3cret-token'

// What the provider answers decides what becomes of the message.
describe('send', () => {
  const got = []
  let url = ''
  // The provider: it answers with the status in the path, and keeps what it got.
  const provider = http.createServer(async (request, answer) => {
    let text = ''
    for await (const chunk of request) text += chunk
    got.push({ headers: request.headers, message: JSON.parse(text) })
    answer.writeHead(Number(request.url.slice(1)), { 'Retry-After': '7' }).end('{"id": "p-1"}')
  })
  before(() => new Promise((resolve) => {
    provider.listen(0, '127.0.0.1', () => {
      url = `http://127.0.0.1:${provider.address().port}`
      resolve()
    })
  }))
  after(() => provider.close())

  const item = {
    message_id: 'm-1', idempotency_key: 'k-1', recipient: 'ann', content: { text: 'Hello', subject: '', html: '', attributes: {} },
  }
  async function send(to) {
    const channel = new Channel({ url: to, token })
    try {
      return await channel.send(item, 5000)
    } finally {
      channel.close()
    }
  }

  for (const [status, outcome] of [
    [200, 'OUTCOME_ACCEPTED'],
    [400, 'OUTCOME_REJECTED'],
    [401, 'OUTCOME_REJECTED'],
    [429, 'OUTCOME_THROTTLED'],
    [503, 'OUTCOME_RETRYABLE'],
    [500, 'OUTCOME_UNCERTAIN'], // it may have done the work before
  ]) {
    test(`status ${status}`, async () => {
      const sent = await send(`${url}/${status}`)
      assert.equal(sent.outcome, outcome, sent.message)
      if (status === 200) assert.deepEqual(sent.providerIds, ['p-1'])
      else assert.equal(sent.retryAfter, 7000)
    })
  }

  test('the request', async () => {
    await send(`${url}/200`)
    const { headers, message } = got.at(-1)
    assert.deepEqual(message, { id: 'm-1', to: 'ann', text: 'Hello' })
    assert.equal(headers.authorization, `Bearer ${token}`)
    assert.equal(headers['idempotency-key'], 'k-1')
  })

  test('nobody there', async () => {
    assert.equal((await send('http://127.0.0.1:1/')).outcome, 'OUTCOME_RETRYABLE') // surely not sent
  })
})

describe('problems', () => {
  const good = { url: 'https://example.com/', token }
  for (const [change, fields] of [[{}, []], [{ url: 'example.com' }, ['url']], [{ token: '' }, ['token']], [{ tokn: 'x' }, ['tokn']]]) {
    test(JSON.stringify(change), () => {
      assert.deepEqual(problems({ ...good, ...change }).map(({ field }) => field), fields)
    })
  }
})

// The program that ships does all that the gateway relies on. PIGEONRY names the program pigeonry.
const pigeonry = process.env.PIGEONRY ?? 'pigeonry'
const missing = spawnSync(pigeonry, ['version']).error && 'pigeonry is not on the PATH; PIGEONRY=<path> names it'

test('conformance', { skip: missing }, () => {
  const out = mkdtempSync(path.join(tmpdir(), 'my-plugin-'))
  try {
    const built = spawnSync(path.join(here, 'build.sh'), [out], { encoding: 'utf8' })
    assert.equal(built.status, 0, built.stderr)
    const binary = path.join(out, 'my-plugin', description.version, 'my-plugin')
    const run = spawnSync(pigeonry, ['plugin', 'test', binary, '--config', path.join(here, 'test-config.json'), '--provider'], { encoding: 'utf8' })
    assert.equal(run.status, 0, run.stdout + run.stderr)
  } finally {
    rmSync(out, { recursive: true })
  }
})
