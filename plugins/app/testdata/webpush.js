'use strict';
// web-push as a client: node webpush.js <public key> <private key> <subscriptions as JSON>. It prints what each subscription
// came to. NODE_EXTRA_CA_CERTS names the authority of the push service.

const webpush = require('web-push');

const [publicKey, privateKey, subscriptions] = process.argv.slice(2);

async function main() {
  const out = [];
  for (const subscription of JSON.parse(subscriptions)) {
    try {
      const payload = JSON.stringify({ notification: { title: 'Order', body: 'Your order is on its way', data: { pigeonry_id: 'msg_of_web_push' } } });
      const r = await webpush.sendNotification(subscription, payload, {
        vapidDetails: { subject: 'mailto:ops@example.com', publicKey, privateKey },
        TTL: 60,
        urgency: 'high',
        topic: 'order',
      });
      out.push({ status: r.statusCode, location: r.headers.location });
    } catch (e) {
      out.push({ status: e.statusCode, body: e.body || String(e) });
    }
  }
  console.log(JSON.stringify(out));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
