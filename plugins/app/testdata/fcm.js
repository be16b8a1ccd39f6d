'use strict';
// The FCM part of firebase-admin as a client: node fcm.js <port> <service account> <tokens as JSON>. Its addresses are those of
// Google; every TLS connection goes to the port of this machine instead. It prints what each token came to.

const tls = require('tls');

const port = Number(process.argv[2]);
const connect = tls.connect;
tls.connect = function (...args) {
  let options = args.find((a) => a !== null && typeof a === 'object') || {};
  if (typeof args[0] === 'number') {
    options = { ...options, host: typeof args[1] === 'string' ? args[1] : options.host };
  }
  const listener = args.find((a) => typeof a === 'function');
  return connect({ ...options, port, host: '127.0.0.1', servername: options.servername || options.host }, listener);
};

const { initializeApp, cert } = require('firebase-admin/app');
const { getMessaging } = require('firebase-admin/messaging');

async function main() {
  const app = initializeApp({ credential: cert(process.argv[3]) });
  const messaging = getMessaging(app);
  const message = {
    notification: { title: 'Order', body: 'Your order is on its way', imageUrl: 'https://example.com/a.png' },
    data: { order: '12345', pigeonry_id: 'msg_of_firebase' },
    android: { priority: 'high', ttl: 3600 * 1000, collapseKey: 'order', notification: { channelId: 'orders', clickAction: 'OPEN', notificationCount: 3 } },
    apns: { headers: { 'apns-priority': '10' }, payload: { aps: { badge: 3, sound: 'default' } } },
    webpush: { headers: { Urgency: 'high' }, fcmOptions: { link: 'https://example.com/orders' } },
  };
  const out = [];
  for (const token of JSON.parse(process.argv[4])) {
    try {
      out.push({ name: await messaging.send({ ...message, token }) });
    } catch (e) {
      out.push({ code: e.code });
    }
  }
  // Over HTTP/2 this version writes the scheme as "https:", which Google takes and net/http, rightly, does not.
  messaging.enableLegacyHttpTransport();
  const each = await messaging.sendEach([{ ...message, token: 'each-1' }, { ...message, token: 'unregistered-2' }]);
  for (const r of each.responses) {
    out.push(r.success ? { name: r.messageId } : { code: r.error.code });
  }
  console.log(JSON.stringify(out));
  process.exit(0);
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
