// Tencent Cloud's own client (npm tencentcloud-sdk-nodejs-sms) against the sandbox: node tencent.js HOST:PORT SECRET. It sends to two
// numbers, one of which is refused, and asks for receipts; it prints the answers as one JSON object.

const { sms } = require('tencentcloud-sdk-nodejs-sms');

const [endpoint, secretKey] = process.argv.slice(2);
const client = new sms.v20210111.Client({
  credential: { secretId: 'sandbox', secretKey }, region: 'ap-guangzhou',
  profile: { signMethod: 'TC3-HMAC-SHA256', httpProfile: { endpoint, protocol: 'http://', reqMethod: 'POST' } },
});

async function main() {
  const seen = {};
  seen.sent = await client.SendSms({
    PhoneNumberSet: ['+8613800138000', '+8613800000002'], SmsSdkAppId: '1400000000', TemplateId: '1001', SignName: '腾讯云',
    TemplateParamSet: ['4370', '5'], SessionContext: 'mine-1',
  });
  seen.pulled = await client.PullSmsSendStatusByPhoneNumber({
    BeginTime: Math.floor(Date.now() / 1000) - 60, Offset: 0, Limit: 10, PhoneNumber: '+8613800138000', SmsSdkAppId: '1400000000',
  });
  return seen;
}

main().catch((e) => ({ error: e.code })).then((seen) => process.stdout.write(JSON.stringify(seen) + '\n'));
