// Package aliyun sends short messages through Alibaba Cloud Short Message Service (dysmsapi, API version 2017-05-25):
// SendSms for one message, SendBatchSms for up to 100 of the same template, QuerySendDetails for what became of an
// attempt that was not answered. Requests are signed with ACS3-HMAC-SHA256. Receipts and replies of users come by HTTP
// push.
//
// The provider's documentation:
//
//   - https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms
//   - https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendbatchsms
//   - https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-querysenddetails
//   - https://help.aliyun.com/zh/sms/developer-reference/smsreport-2 (receipts)
//   - https://help.aliyun.com/zh/sms/developer-reference/smsup-http (replies)
//   - https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature
package aliyun
