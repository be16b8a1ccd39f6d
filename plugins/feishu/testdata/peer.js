// The peer of interop_test.go: the vendor's SDK as a client of the sandbox's Feishu and as the receiver of its events, and
// Node's own crypto in the part of Feishu itself. Prints one JSON object a line.
'use strict';

const crypto = require('crypto');
const http = require('http');
const lark = require('@larksuiteoapi/node-sdk');

const say = (v) => process.stdout.write(JSON.stringify(v) + '\n');
const silent = { error() {}, warn() {}, info() {}, debug() {}, trace() {} };

// client talks to the interface of apps at a domain.
async function client(domain, appId, appSecret) {
  const c = new lark.Client({ appId, appSecret, domain, logger: silent, loggerLevel: lark.LoggerLevel.fatal });
  const attempt = async (step, call) => {
    try {
      const answer = await call();
      say({ step, answer });
      return answer;
    } catch (e) {
      say({ step, refused: e.response ? e.response.data : { message: e.message }, status: e.response ? e.response.status : 0 });
      return undefined;
    }
  };
  const create = (receive_id, receive_id_type, msg_type, content, uuid) =>
    c.im.v1.message.create({ params: { receive_id_type }, data: { receive_id, msg_type, content: JSON.stringify(content), uuid } });
  const first = await attempt('text', () => create('ou_node', 'open_id', 'text', { text: 'from the vendor, "quoted" 短信' }, 'uuid-1'));
  if (!first) {
    return;
  }
  await attempt('repeat', () => create('ou_node', 'open_id', 'text', { text: 'from the vendor, "quoted" 短信' }, 'uuid-1'));
  await attempt('post', () => create('oc_node', 'chat_id', 'post', { zh_cn: { title: 'T', content: [[{ tag: 'text', text: 'one' }]] } }));
  await attempt('card', () => c.im.v1.message.create({
    params: { receive_id_type: 'email' },
    data: { receive_id: 'ann@example.com', msg_type: 'interactive', content: lark.messageCard.defaultCard({ title: 'T', content: 'body' }) },
  }));
  await attempt('wrong id', () => create('oc_1', 'open_id', 'text', { text: 'x' }));
  await attempt('image', () => c.im.v1.image.create({ data: { image_type: 'message', image: Buffer.from('png') } }));
  await attempt('get', () => c.im.v1.message.get({ path: { message_id: first.data.message_id } }));
  await attempt('read_users', () => c.im.v1.message.readUsers({ path: { message_id: first.data.message_id }, params: { user_id_type: 'open_id' } }));
}

// dispatcher receives events until it is ended.
function dispatcher(encryptKey, verificationToken) {
  const take = (kind) => async (data) => {
    say({ event: kind, data });
    return { ok: true };
  };
  const kinds = ['im.message.message_read_v1', 'im.message.receive_v1', 'im.chat.member.bot.added_v1'];
  const d = new lark.EventDispatcher({ encryptKey, verificationToken, logger: silent })
    .register(Object.fromEntries(kinds.map((k) => [k, take(k)])));
  const server = http.createServer();
  server.on('request', lark.adaptDefault('/webhook/event', d, { autoChallenge: true }));
  server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
}

// The examples of https://open.feishu.cn/document/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case
function sign(timestamp, nonce, encryptKey, body) {
  return crypto.createHash('sha256').update(timestamp + nonce + encryptKey + body).digest('hex');
}

function encrypt(text, encryptKey) {
  const key = crypto.createHash('sha256').update(encryptKey).digest();
  const iv = crypto.randomBytes(16);
  const c = crypto.createCipheriv('aes-256-cbc', key, iv);
  return Buffer.concat([iv, c.update(text, 'utf8'), c.final()]).toString('base64');
}

// feishu calls a URL back, as Feishu does, with events given as JSON.
async function feishu(url, encryptKey, ...events) {
  for (const event of events) {
    const body = JSON.stringify({ encrypt: encrypt(event, encryptKey) });
    const timestamp = String(Math.floor(Date.now() / 1000));
    const nonce = String(Math.random()).slice(2);
    const headers = {
      'content-type': 'application/json;charset=utf-8', 'x-lark-request-timestamp': timestamp, 'x-lark-request-nonce': nonce,
      'x-lark-signature': sign(timestamp, nonce, encryptKey, body),
    };
    const answer = await fetch(url, { method: 'POST', headers, body });
    say({ status: answer.status, body: await answer.text() });
  }
}

// crypt decrypts with the SDK, and signs for custom bots.
function crypt(encryptKey, encrypted, timestamp, secret) {
  say({
    text: new lark.AESCipher(encryptKey).decrypt(encrypted),
    hook: crypto.createHmac('sha256', timestamp + '\n' + secret).update('').digest('base64'),
  });
}

const [mode, ...args] = process.argv.slice(2);
Promise.resolve({ client, dispatcher, feishu, crypt }[mode](...args)).catch((e) => {
  process.stderr.write(e.stack + '\n');
  process.exit(1);
});
