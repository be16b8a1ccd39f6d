#!/bin/sh
# Sends one text to three recipients, each with variables of its own, and asks how far the batch is. The third
# recipient is no phone number: it is rejected, the others are accepted.
#
#   examples/api/batch.sh
set -eu
cd "$(dirname "$0")" && . ./gateway.sh

answer=$(call POST /api/messages/send-batch -d '{
  "channel": "sms",
  "content": "Hello {{name}}, {{shop}} is open.",
  "recipients": ["+8613800138000", "+8613800138001", "nobody"],
  "variables_list": [{"name": "Ada"}, {"name": "Bob"}, {"name": "Eve"}],
  "variables": {"shop": "The Loft"},
  "priority": 2
}')
printf '%s\n' "$answer"

sleep 1
call GET "/api/messages/batches/$(field batch_id "$answer")"
