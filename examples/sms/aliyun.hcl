# Alibaba Cloud SMS. The callback URL for receipts (SmsReport) and replies (SmsUp), to be entered in its console:
#
#     https://gw.example.com/callbacks/sms/aliyun?token=<ALIYUN_CALLBACK_TOKEN>
#
#     ALIYUN_ACCESS_KEY_ID=… ALIYUN_ACCESS_KEY_SECRET=… ALIYUN_CALLBACK_TOKEN=… bin/pigeonry config check -c examples/sms/aliyun.hcl
#
# Against the sandbox: base_url = "http://127.0.0.1:8025", key sandbox and secret sandbox-secret, the signature Sandbox and the
# template SMS_SANDBOX.

plugins {
  dir = "./bin/plugins"
}

connector "sms" "aliyun" {
  plugin = "sms"
  rate   = 1000 # the provider allows 5,000 requests a second, of up to 100 messages

  config {
    aliyun {
      access_key_id     = env("ALIYUN_ACCESS_KEY_ID")
      access_key_secret = env("ALIYUN_ACCESS_KEY_SECRET")
      callback_token    = env("ALIYUN_CALLBACK_TOKEN")
      sign_name         = "阿里云"

      # For messages that name no template of the provider's: its only variable, ${content}, takes the text.
      template      = "SMS_15255000"
      template_text = "content"
    }
  }
}

# Verification codes by themselves, each in a request of its own: the provider is slower with batches.
connector "sms" "aliyun-otp" {
  plugin = "sms"

  config {
    aliyun {
      access_key_id     = env("ALIYUN_ACCESS_KEY_ID")
      access_key_secret = env("ALIYUN_ACCESS_KEY_SECRET")
      callback_token    = env("ALIYUN_CALLBACK_TOKEN")
      sign_name         = "阿里云"
      max_batch         = 1
    }
  }
}
