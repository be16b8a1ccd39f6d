# A plain webhook: every message of the channel "webhook" goes to one URL as JSON, signed as Standard Webhooks
# (standardwebhooks.com) describes, so that the receiver can tell who sent it.
#
#     ORDERS_WEBHOOK_SECRET=whsec_… bin/pigeonry config check -c examples/http/webhook.hcl

plugins {
  dir = "./bin/plugins"
}

connector "webhook" "orders" {
  plugin = "http"

  config {
    url = "https://orders.example.com/hooks/messages"

    # No body block: the whole message goes out as JSON.

    headers = {
      "webhook-id" = "{{.message_id}}"
    }

    signature {
      secret           = env("ORDERS_WEBHOOK_SECRET")
      secret_encoding  = "base64"
      header           = "webhook-signature"
      timestamp_header = "webhook-timestamp"
      prefix           = "v1,"
      encoding         = "base64"
      content          = "{{.message_id}}.{{.timestamp}}.{{.body}}"
    }

    status {
      rejected = ["410"] # the receiver is gone for good
    }
  }
}
