// Package tencent sends short messages through Tencent Cloud SMS (API version 2021-01-11): SendSms for up to 200 messages
// that say the same, PullSmsSendStatusByPhoneNumber for what became of an attempt that was not answered. Requests are
// signed with TC3-HMAC-SHA256. Receipts and replies of users come as HTTP callbacks.
//
// The provider's documentation:
//
//   - https://cloud.tencent.com/document/api/382/55981 (SendSms)
//   - https://cloud.tencent.com/document/api/382/59177 (error codes)
//   - https://cloud.tencent.com/document/api/382/59178 (receipts)
//   - https://cloud.tencent.com/document/api/382/59179 (replies)
//   - https://www.tencentcloud.com/document/product/382/40518 (PullSmsSendStatusByPhoneNumber)
//   - https://www.tencentcloud.com/document/api/1021/34193 (signature)
package tencent
