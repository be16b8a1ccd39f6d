// Twilio's own client (npm twilio) against the sandbox: node twilio.js URL TOKEN. It creates messages, fetches and lists them and
// prints what it got as one JSON object. node twilio.js signatures TOKEN REQUESTS says of each request, { url, form, signature }, whether
// its validator takes the signature, and which one it would make.

const twilio = require('twilio');
const { getExpectedTwilioSignature } = require('twilio/lib/webhooks/webhooks');

const sid = (prefix) => prefix + '0'.repeat(32);

class Sandboxed extends twilio.RequestClient {
  constructor(base) {
    super();
    this.base = base;
  }

  request(options) {
    return super.request({ ...options, uri: options.uri.replace('https://api.twilio.com', this.base) });
  }
}

async function play(base, token) {
  const client = twilio(sid('AC'), token, { httpClient: new Sandboxed(base) });
  const seen = {};
  const sent = await client.messages.create({ to: '+4917612345678', from: '+15005550006', body: 'Grüße + mehr', validityPeriod: 60 });
  seen.sent = { sid: sent.sid, status: sent.status, segments: sent.numSegments, body: sent.body };
  const content = await client.messages.create({
    to: '+4917612345678', messagingServiceSid: sid('MG'), contentSid: sid('HX'), contentVariables: JSON.stringify({ 1: 'four' }),
  });
  seen.content = { status: content.status, body: content.body };
  seen.fetched = (await client.messages(sent.sid).fetch()).body;
  seen.listed = (await client.messages.list({ to: '+4917612345678', limit: 10 })).length;
  try {
    await client.messages.create({ to: '+15005550004', from: '+15005550006', body: 'Hello' });
  } catch (e) {
    seen.refused = { status: e.status, code: e.code };
  }
  return seen;
}

function judge({ url, form, signature }) {
  const fields = Object.fromEntries(new URLSearchParams(form));
  return { valid: twilio.validateRequest(token, signature, url, fields), theirs: getExpectedTwilioSignature(token, url, fields) };
}

const [command, token, requests] = process.argv.slice(2);
const seen = command === 'signatures' ? JSON.parse(requests).map(judge) : play(command, token).catch((e) => ({ error: e.code }));

Promise.resolve(seen).then((all) => process.stdout.write(JSON.stringify(all) + '\n'));
