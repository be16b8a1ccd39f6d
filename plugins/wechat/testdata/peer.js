// WeChat libraries that this project did not write, against the sandbox or for our plugin. It prints one JSON value.
//
//   peer.js co <base url> <account as JSON>      sends by co-wechat-api, with the tokens of /cgi-bin/token
//   peer.js easy <base url> <account as JSON>    sends by node-easywechat, with stable tokens
//   peer.js seal <account as JSON> <message>...  makes pushes by wechat-crypto
//   peer.js serve <account as JSON>              takes pushes by the middleware wechat at /wechat and by node-easywechat at
//                                                /easy until its standard input ends; prints the port, then one line a push
'use strict'

const http = require('http')
const url = require('url')

const print = (value) => process.stdout.write(JSON.stringify(value) + '\n')

// failure runs f and gives the error code that the library reports.
async function failure (f) {
  try {
    return { answer: await f() }
  } catch (e) {
    return { code: e.code, text: e.message }
  }
}

async function co (base, account) {
  const API = require('co-wechat-api')
  const api = new API(account.app_id, account.app_secret)
  api.prefix = base + '/cgi-bin/'
  const data = { thing1: { value: '黄先生', color: '#173177' }, amount2: { value: '39.80元' } }
  const program = { appid: 'wx0123456789abcdef', pagepath: 'index?foo=bar' }
  const out = {}
  out.template = await api.sendTemplate('ann', 'T1', 'https://example.com/?a=1&b=2', '#FF0000', data, program)
  out.template.msgid = String(out.template.msgid)
  out.text = await api.sendText('ann', '你好 <b>&')
  out.image = await api.sendImage('ann', 'MEDIA')
  out.news = await api.sendNews('ann', [{ title: 'Happy Day', description: 'Is Really', url: 'https://example.com', picurl: '' }])
  out.once = await api.sendSubscribe('ann', 'T1', 'https://example.com', program, '1000', 'TITLE', { content: { value: 'VALUE' } })
  // A token that is not valid any more: the library fetches another one by itself.
  const before = await api.ensureAccessToken()
  api.store.accessToken = 'ended'
  out.renewed = await api.sendText('ann', 'again')
  out.tokens = [before.accessToken, api.store.accessToken]
  out.stranger = await failure(() => api.sendTemplate('zoe', 'T1', '', '', data))
  out.unknown = await failure(() => api.sendTemplate('ann', 'T9', '', '', data))
  out.empty = await failure(() => api.sendText('ann', ''))
  const wrong = new API(account.app_id, 'wrong')
  wrong.prefix = api.prefix
  out.secret = await failure(() => wrong.sendText('ann', 'hello'))
  print(out)
}

async function easy (base, account) {
  const { OfficialAccount } = require('node-easywechat')
  const app = new OfficialAccount({
    app_id: account.app_id,
    secret: account.app_secret,
    token: account.token,
    aes_key: account.encoding_aes_key,
    use_stable_access_token: true,
    http: { baseURL: base + '/', throw: true }
  })
  const client = app.getClient()
  const post = async (path, json) => (await client.post(path, { json })).toObject()
  const out = {}
  const data = { thing1: { value: '黄先生' }, amount2: { value: '39.80元' } }
  out.notice = await post('cgi-bin/message/subscribe/bizsend', { touser: 'ann', template_id: 'T1', page: 'https://example.com', data })
  out.template = await post('cgi-bin/message/template/send', { touser: 'ann', template_id: 'T1', client_msg_id: 'c1', data })
  out.again = await post('cgi-bin/message/template/send', { touser: 'ann', template_id: 'T1', client_msg_id: 'c1', data })
  out.text = await post('cgi-bin/message/custom/send', { touser: 'ann', msgtype: 'text', text: { content: '你好' } })
  out.refused = await post('cgi-bin/message/subscribe/bizsend', { touser: 'bob', template_id: 'T1', data })
  const token = app.getAccessToken()
  out.stable = [await token.getStableAccessToken(), await token.getStableAccessToken(), await token.getStableAccessToken(true)]
  print(out)
}

function seal (account, messages) {
  const Crypto = require('wechat-crypto')
  const crypto = new Crypto(account.token, account.encoding_aes_key, account.app_id)
  const timestamp = String(Math.floor(Date.now() / 1000))
  const nonce = '1320562132'
  print(messages.map((message) => {
    const encrypt = crypto.encrypt(message)
    const query = new url.URLSearchParams({
      timestamp, nonce, encrypt_type: 'aes', msg_signature: crypto.getSignature(timestamp, nonce, encrypt)
    })
    return {
      query: query.toString(),
      body: `<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[${encrypt}]]></Encrypt></xml>`
    }
  }))
}

function serve (account) {
  const wechat = require('wechat')
  const { OfficialAccount, ServerRequest } = require('node-easywechat')
  const settings = { token: account.token, appid: account.app_id, encodingAESKey: account.encoding_aes_key }
  const middleware = wechat(settings, (req, res) => {
    print({ by: 'wechat', message: req.weixin })
    res.reply('success')
  })

  async function easy (req, res) {
    const app = new OfficialAccount({ app_id: account.app_id, secret: account.app_secret, token: account.token, aes_key: account.encoding_aes_key })
    app.setRequest(await ServerRequest.createFromIncomingMessage(req))
    const server = app.getServer()
    server.withHandler((message) => print({ by: 'node-easywechat', message: message.toObject ? message.toObject() : message }))
    const response = await server.serve()
    res.writeHead(response.getStatusCode())
    res.end(String(response.getBody()))
  }

  const server = http.createServer((req, res) => {
    const parsed = url.parse(req.url, true)
    req.query = parsed.query
    if (parsed.pathname === '/easy') {
      easy(req, res).catch((e) => {
        process.stderr.write(e.stack + '\n')
        res.writeHead(500)
        res.end()
      })
      return
    }
    middleware(req, res, (e) => {
      if (e) process.stderr.write(e.stack + '\n')
      res.writeHead(500)
      res.end()
    })
  })
  server.listen(0, '127.0.0.1', () => print({ port: server.address().port }))
  process.stdin.on('end', () => { server.closeAllConnections(); server.close() })
  process.stdin.resume()
}

async function main ([command, ...args]) {
  switch (command) {
    case 'co': return co(args[0], JSON.parse(args[1]))
    case 'easy': return easy(args[0], JSON.parse(args[1]))
    case 'seal': return seal(JSON.parse(args[0]), args.slice(1))
    case 'serve': return serve(JSON.parse(args[0]))
  }
  throw new Error('unknown command ' + command)
}

main(process.argv.slice(2)).catch((e) => {
  process.stderr.write(e.stack + '\n')
  process.exit(1)
})
