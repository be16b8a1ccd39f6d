#!/bin/sh
# Sends a text message and shows its path, up to the receipt that the provider sends a moment later.
#
#   examples/api/trace.sh
set -eu
cd "$(dirname "$0")" && . ./gateway.sh

answer=$(call POST /api/messages/send -d '{
  "channel": "sms", "recipient": "+8613800138000", "content": "Where am I?"
}')
printf '%s\n' "$answer"

sleep 1
call GET "/api/messages/traces/$(field trace_id "$answer")"
call GET "/api/messages/$(field record_id "$answer")"
