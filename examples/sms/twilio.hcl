# Twilio. Each message asks for its receipts at callback_url; the webhook for incoming messages, to be entered in the console at the
# number or at the messaging service, is the same URL.
#
#     TWILIO_ACCOUNT_SID=… TWILIO_AUTH_TOKEN=… TWILIO_API_KEY_SECRET=… bin/pigeonry config check -c examples/sms/twilio.hcl
#
# Against the sandbox: base_url = "http://127.0.0.1:8025", the account AC and 32 zeros, the token sandboxsecret, from +15005550006.

plugins {
  dir = "./bin/plugins"
}

# With an API key, through a messaging service that chooses the sender.
connector "sms" "twilio" {
  plugin = "sms"

  config {
    twilio {
      account_sid           = env("TWILIO_ACCOUNT_SID")
      auth_token            = env("TWILIO_AUTH_TOKEN") # verifies callbacks
      api_key_sid           = "SK0123456789abcdef0123456789abcdef"
      api_key_secret        = env("TWILIO_API_KEY_SECRET")
      messaging_service_sid = "MG0123456789abcdef0123456789abcdef"
      callback_url          = "https://gw.example.com/callbacks/sms/twilio"
      validity              = true
    }
  }
}

# From one number, signed in with the account itself.
connector "sms" "twilio-number" {
  plugin = "sms"
  rate   = 1 # what a long code in the USA may send

  config {
    twilio {
      account_sid  = env("TWILIO_ACCOUNT_SID")
      auth_token   = env("TWILIO_AUTH_TOKEN")
      from         = "+15005550006"
      callback_url = "https://gw.example.com/callbacks/sms/twilio-number"
    }
  }
}
