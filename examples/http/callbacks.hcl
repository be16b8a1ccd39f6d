# A provider with a form for sending, and signed callbacks for receipts and for messages of users. Its address for
# both is <public_url>/callbacks/sms/globex:
#
#     POST /callbacks/sms/globex/status     {"reports": [{"sid": "SM1", "state": "DELIVRD", "done_at": "2026-01-02 11:04:05"}]}
#     POST /callbacks/sms/globex/inbound    {"messages": [{"sid": "IN1", "from": "+8613800138000", "to": "1069", "body": "STOP"}]}
#
#     GLOBEX_USER=… GLOBEX_TOKEN=… GLOBEX_CALLBACK_KEY=… bin/pigeonry config check -c examples/http/callbacks.hcl

public_url = "https://messages.example.com"

plugins {
  dir = "./bin/plugins"
}

connector "sms" "globex" {
  plugin = "http"

  config {
    url = "https://rest.globex.example.com/accounts/{{.secrets.user}}/messages"

    secrets = {
      user = env("GLOBEX_USER")
    }

    auth {
      username = env("GLOBEX_USER")
      password = env("GLOBEX_TOKEN")
    }

    idempotency_header = "Idempotency-Key"

    body {
      form = {
        To   = "{{.recipient}}"
        From = "1069"
        Body = "{{.text}}"
      }
    }

    answer {
      id          = "sid"
      code        = "error.code"
      message     = "error.message"
      retry_after = "error.retry_after"

      results = [
        { codes = [""], outcome = "accepted" }, # no error in the answer
        { codes = ["21211", "21614"], outcome = "rejected", code = "invalid_recipient" },
        { codes = ["20429"], outcome = "throttled" },
      ]
    }

    callback {
      # Hex of HMAC-SHA256 over "<timestamp>.<body>".
      signature {
        secret           = env("GLOBEX_CALLBACK_KEY")
        header           = "X-Globex-Signature"
        prefix           = "sha256="
        timestamp_header = "X-Globex-Timestamp"
        tolerance        = "5m"
      }

      answer_body = "OK"

      receipts {
        path        = "/status"
        items       = "reports"
        id          = "sid"
        status      = "state"
        code        = "error"
        time        = "done_at"
        time_format = "2006-01-02 15:04:05"
        time_zone   = "Asia/Shanghai"

        statuses = {
          DELIVRD = "delivered"
          READ    = "read"
          ACCEPTD = "progress"
          "*"     = "undelivered"
        }
      }

      inbound {
        path  = "/inbound"
        items = "messages"
        id    = "sid"
        from  = "from"
        to    = "to"
        text  = "body"
      }
    }
  }
}
