'use strict';
// http_ece as a browser: node ece.js <private key> <auth> <bodies as JSON>, all in base64url. It prints the texts.

const crypto = require('crypto');
const ece = require('http_ece');

const [key, auth, bodies] = process.argv.slice(2);

const receiver = crypto.createECDH('prime256v1');
receiver.setPrivateKey(Buffer.from(key, 'base64url'));
const texts = JSON.parse(bodies).map((body) =>
  ece.decrypt(Buffer.from(body, 'base64url'), { version: 'aes128gcm', privateKey: receiver, authSecret: auth }).toString('utf8'));
console.log(JSON.stringify(texts));
