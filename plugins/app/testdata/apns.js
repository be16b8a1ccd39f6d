'use strict';
// @parse/node-apn as a client: node apns.js <port> <file of the authority> <key> <key id> <team id> <topic> <devices as JSON>. It
// prints what each device came to.

const fs = require('fs');
const apn = require('@parse/node-apn');

const [port, ca, key, keyId, teamId, topic, devices] = process.argv.slice(2);

async function main() {
  const provider = new apn.Provider({
    token: { key, keyId, teamId },
    address: '127.0.0.1',
    port: Number(port),
    ca: fs.readFileSync(ca),
    connectionRetryLimit: 0,
    production: false,
  });
  const note = new apn.Notification();
  note.alert = { title: 'Order', body: 'Your order is on its way' };
  note.badge = 3;
  note.sound = 'default';
  note.topic = topic;
  note.pushType = 'alert';
  note.collapseId = 'order';
  note.priority = 10;
  note.expiry = Math.floor(Date.now() / 1000) + 3600;
  note.payload = { order: '12345', pigeonry_id: 'msg_of_apn' };
  const out = [];
  for (const device of JSON.parse(devices)) {
    const result = await provider.send(note, device);
    const failed = result.failed[0];
    out.push(failed ? { status: Number(failed.status), reason: (failed.response && failed.response.reason) || String(failed.error) } : { sent: result.sent.length });
  }
  await provider.shutdown();
  console.log(JSON.stringify(out));
  process.exit(0);
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
