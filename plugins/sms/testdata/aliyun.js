// Alibaba Cloud's own client (npm @alicloud/dysmsapi20170525) against the sandbox: node aliyun.js HOST:PORT SECRET. It sends one
// message, a batch of two and one that is refused, asks what became of the first, and prints it all as one JSON object.

const dysms = require('@alicloud/dysmsapi20170525');
const { $OpenApiUtil } = require('@alicloud/openapi-core');

const [endpoint, accessKeySecret] = process.argv.slice(2);
const client = new dysms.default(new $OpenApiUtil.Config({ accessKeyId: 'sandbox', accessKeySecret, endpoint, protocol: 'HTTP' }));

async function main() {
  const seen = {};
  const single = {
    phoneNumbers: '13800138000', signName: '阿里云', templateCode: 'SMS_CODE', templateParam: JSON.stringify({ code: "12 3*~'+" }), outId: 'mine-1',
  };
  seen.single = (await client.sendSms(new dysms.SendSmsRequest(single))).body;
  seen.batch = (await client.sendBatchSms(new dysms.SendBatchSmsRequest({
    phoneNumberJson: JSON.stringify(['13800138001', '85251234567']), signNameJson: JSON.stringify(['阿里云', 'Sandbox']),
    templateCode: 'SMS_SANDBOX', templateParamJson: JSON.stringify([{ content: '你好' }, { content: 'Hello & goodbye' }]),
  }))).body;
  seen.refused = (await client.sendSms(new dysms.SendSmsRequest({ ...single, templateCode: 'SMS_NONE' }))).body;
  const day = new Date(Date.now() + 8 * 3600 * 1000).toISOString().slice(0, 10).replaceAll('-', '');
  seen.details = (await client.querySendDetails(new dysms.QuerySendDetailsRequest({
    phoneNumber: '13800138000', sendDate: day, pageSize: 10, currentPage: 1,
  }))).body;
  return seen;
}

main().catch((e) => ({ error: e.code })).then((seen) => process.stdout.write(JSON.stringify(seen) + '\n'));
