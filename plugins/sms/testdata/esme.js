// A client made of the npm package smpp, for the tests of the server side: node esme.js PORT. It binds,
// submits two texts, awaits their receipts, unbinds and prints what happened as one JSON object.

const smpp = require('smpp');

const seen = { answers: [], receipts: [] };
const session = smpp.connect({ host: '127.0.0.1', port: Number(process.argv[2]) });

session.on('error', (e) => {
  process.stderr.write(`${e}\n`);
  process.exit(1);
});

session.on('deliver_sm', (pdu) => {
  seen.receipts.push({ id: pdu.receipted_message_id, state: pdu.message_state, text: pdu.short_message.message });
  session.send(pdu.response());
  if (seen.receipts.length === 2) {
    session.unbind((answer) => {
      seen.unbind = answer.command_status;
      process.stdout.write(JSON.stringify(seen) + '\n', () => process.exit(0));
    });
  }
});

session.bind_transceiver({ system_id: 'shop', password: 'secret' }, (answer) => {
  seen.bind = answer.command_status;
  seen.smsc = answer.system_id;
  for (const text of ['Hello {€}', '你好']) {
    session.submit_sm({
      destination_addr: '8613800138000', dest_addr_ton: 1, dest_addr_npi: 1,
      registered_delivery: 1, short_message: text,
    }, (resp) => seen.answers.push({ id: resp.message_id, status: resp.command_status }));
  }
});
