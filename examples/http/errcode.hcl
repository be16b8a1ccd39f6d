# An SMS provider that answers 200 to everything and says in the body what came of it:
#
#     {"errcode": 0, "errmsg": "ok", "data": [{"msgid": "7001"}]}
#     {"errcode": 40001, "errmsg": "invalid credential"}
#
#     ACME_KEY=… ACME_SECRET=… bin/pigeonry config check -c examples/http/errcode.hcl

plugins {
  dir = "./bin/plugins"
}

connector "sms" "acme" {
  plugin = "http"

  config {
    url = "https://api.acme.example.com/v2/sms?key={{.secrets.key}}&ts={{.timestamp}}&sign={{print .secrets.key .timestamp .secrets.secret | md5 | hex | upper}}"

    secrets = {
      key    = env("ACME_KEY")
      secret = env("ACME_SECRET")
    }

    body {
      json = <<-EOT
        {
          "mobile": {{json .recipient}},
          {{if .template.id -}}
          "template": {{json .template.id}},
          "params": {{json .template.parameters}},
          {{- else -}}
          "content": {{json .text}},
          {{- end}}
          "sign": {{index .attributes "sign" | default "Shop" | json}},
          "out_id": {{json .idempotency_key}}
        }
      EOT
    }

    answer {
      id      = "data[0].msgid"
      code    = "errcode"
      message = "errmsg"

      # The first that fits counts.
      results = [
        { codes = ["0"], outcome = "accepted" },
        { codes = ["40001", "40002"], outcome = "rejected", code = "auth_failed", fault = "config" },
        { codes = ["41001"], outcome = "rejected", code = "invalid_recipient" },
        { codes = ["45009"], outcome = "throttled", retry_after = "60s" },
        { codes = ["-1", "5*"], outcome = "retryable" },
        { codes = ["60001"], outcome = "uncertain" },
        # Any other code is a refusal by the provider: rejected, with the code provider_error.
      ]
    }

    check_url = "https://api.acme.example.com/v2/balance?key={{.secrets.key}}"
  }
}
