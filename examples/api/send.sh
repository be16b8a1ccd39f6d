#!/bin/sh
# Sends one e-mail and one text message. A repeat with the same Idempotency-Key is answered, not sent again.
#
#   examples/api/send.sh [e-mail address] [phone number]
set -eu
cd "$(dirname "$0")" && . ./gateway.sh

email=${1:-ada@example.com} phone=${2:-+8613800138000}

call POST /api/messages/send -H "Idempotency-Key: order-4711-$(date +%s)" -d '{
  "channel": "email",
  "recipient": "'"$email"'",
  "subject": "Your order {{order}}",
  "content": "Hello {{name}}, your order {{order}} is on its way.",
  "variables": {"name": "Ada", "order": "4711"}
}'

# Urgent, and worthless after five minutes: it is never sent later than that.
call POST /api/messages/send -d '{
  "channel": "sms",
  "recipient": "'"$phone"'",
  "content": "Your code is 482913.",
  "priority": 10,
  "expire_at": "'"$(later 300)"'"
}'
