// Package twilio sends short messages through Twilio's Messages API (version 2010-04-01). Receipts come as status
// callbacks, messages of users as webhooks; both are verified by X-Twilio-Signature.
//
// The provider's documentation:
//
//   - https://www.twilio.com/docs/messaging/api/message-resource
//   - https://www.twilio.com/docs/api/errors
//   - https://www.twilio.com/docs/messaging/guides/track-outbound-message-status (status callbacks)
//   - https://www.twilio.com/docs/messaging/guides/webhook-request (messages of users)
//   - https://www.twilio.com/docs/usage/security (signature)
package twilio
