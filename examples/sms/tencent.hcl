# Tencent Cloud SMS. The callback URL for receipts and replies, to be entered in its console:
#
#     https://gw.example.com/callbacks/sms/tencent?token=<TENCENT_CALLBACK_TOKEN>
#
#     TENCENT_SECRET_ID=… TENCENT_SECRET_KEY=… TENCENT_CALLBACK_TOKEN=… bin/pigeonry config check -c examples/sms/tencent.hcl
#
# Against the sandbox: base_url = "http://127.0.0.1:8025", SecretId sandbox and SecretKey sandbox-secret, the application 1400000000,
# the signature Sandbox and the templates 1000 and 1001.

plugins {
  dir = "./bin/plugins"
}

connector "sms" "tencent" {
  plugin = "sms"
  rate   = 1000 # the provider allows 3,000 requests a second, of up to 200 messages that say the same

  config {
    tencent {
      secret_id      = env("TENCENT_SECRET_ID")
      secret_key     = env("TENCENT_SECRET_KEY")
      callback_token = env("TENCENT_CALLBACK_TOKEN")
      app_id         = "1400006666"
      region         = "ap-guangzhou"
      sign_name      = "腾讯云"

      # The provider's variables have numbers. Here is how a message may call them, by template.
      parameters = {
        "1110" = ["code", "minutes"]
      }
    }
  }
}
