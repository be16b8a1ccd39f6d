#!/bin/sh
# Makes a template, looks at what it becomes, sends a message from it and deletes it.
#
#   examples/api/template.sh
set -eu
cd "$(dirname "$0")" && . ./gateway.sh

answer=$(call POST /api/messages/templates -d '{
  "name": "order-sent-'"$(date +%s)"'",
  "channel": "sms",
  "content": "Hello {{name}}, your order {{order}} is on its way.",
  "variables": ["name", "order"]
}')
printf '%s\n' "$answer"
id=$(field id "$answer")

call POST "/api/messages/templates/$id/preview" -d '{"variables": {"name": "Ada", "order": "4711"}}'
call POST /api/messages/send -d '{
  "template_id": '"$id"',
  "recipient": "+8613800138000",
  "variables": {"name": "Ada", "order": "4711"}
}'
call DELETE "/api/messages/templates/$id"
