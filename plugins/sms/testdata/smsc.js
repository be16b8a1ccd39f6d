// An SMSC made of the npm package smpp, for the tests of the plugin. It listens on a free port of
// 127.0.0.1 and prints what happens as one JSON object a line: {"port"}, then {"event": "bind" |
// "submit" | "delivered" | "unbind", …}. It ends when its standard input does.
//
// The last digit of the recipient chooses what becomes of a message: 9 is throttled, 8 is refused as
// an invalid recipient, 7 is taken but not delivered, anything else is delivered.

const smpp = require('smpp');

const print = (object) => process.stdout.write(JSON.stringify(object) + '\n');

// The library's decoding of user data headers is faulty: tests look at the octets themselves.
const fromBuffer = smpp.PDU.prototype.fromBuffer;
smpp.PDU.prototype.fromBuffer = function (buffer) {
  this.raw = buffer.toString('hex');
  return fromBuffer.call(this, buffer);
};

let lastID = 0;

function receipt(submit, id, delivered) {
  const stat = delivered ? 'DELIVRD' : 'UNDELIV';
  return {
    source_addr: submit.destination_addr,
    source_addr_ton: submit.dest_addr_ton,
    source_addr_npi: submit.dest_addr_npi,
    destination_addr: submit.source_addr,
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
    short_message: `id:${id} sub:001 dlvrd:00${delivered ? 1 : 0} submit date:2603011200 ` +
      `done date:2603011201 stat:${stat} err:00${delivered ? 0 : 1} text:`,
  };
}

// inbound sends a long Chinese message of a user in two parts, the header written by hand.
function inbound(session) {
  const text = '回'.repeat(70);
  const octets = Buffer.from(text, 'utf16le').swap16();
  [octets.subarray(0, 134), octets.subarray(134)].forEach((part, i) => {
    session.deliver_sm({
      source_addr: '8613900139000', source_addr_ton: 1, source_addr_npi: 1, destination_addr: '10086',
      esm_class: smpp.ESM_CLASS.UDH_INDICATOR, data_coding: 8,
      short_message: Buffer.concat([Buffer.from([5, 0, 3, 99, 2, i + 1]), part]),
    }, (answer) => print({ event: 'delivered', id: `inbound ${i + 1}`, status: answer.command_status }));
  });
}

const server = smpp.createServer({}, (session) => {
  session.on('error', (e) => print({ event: 'error', message: String(e) }));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    print({ event: 'unbind' });
    session.send(pdu.response());
    session.close();
  });
  for (const bind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
    session.on(bind, (pdu) => {
      const good = pdu.system_id === 'shop' && pdu.password === 'secret';
      print({ event: 'bind', mode: bind, good });
      session.send(pdu.response({
        system_id: 'node', command_status: good ? smpp.ESME_ROK : smpp.ESME_RINVPASWD,
      }));
    });
  }
  session.on('query_sm', (pdu) => session.send(pdu.response({
    message_id: pdu.message_id, message_state: smpp.MESSAGE_STATE.DELIVERED,
  })));
  session.on('submit_sm', (pdu) => {
    const fate = pdu.destination_addr.slice(-1);
    print({ event: 'submit', raw: pdu.raw, to: pdu.destination_addr, from: pdu.source_addr });
    if (fate === '9' || fate === '8') {
      const status = fate === '9' ? smpp.ESME_RTHROTTLED : smpp.ESME_RINVDSTADR;
      session.send(pdu.response({ command_status: status }));
      return;
    }
    const id = `node-${++lastID}`;
    session.send(pdu.response({ message_id: id }));
    if (pdu.registered_delivery & 1) {
      session.deliver_sm(receipt(pdu, id, fate !== '7'),
        (answer) => print({ event: 'delivered', id, status: answer.command_status }));
    }
    if (fate === '6') {
      inbound(session);
    }
  });
});

server.listen(0, '127.0.0.1', () => print({ port: server.address().port }));
process.stdin.on('end', () => process.exit(0)).resume();
