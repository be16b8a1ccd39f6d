# A WeChat Official Account (service account): template messages with receipts, subscription notices, customer-service
# messages, and what users write. The address for WeChat's console, "Message and event push", is
# <public_url>/callbacks/wechat/main, in safe mode, as XML.
#
#     WECHAT_APP_SECRET=… WECHAT_TOKEN=… WECHAT_AES_KEY=… bin/pigeonry config check -c examples/wechat/official-account.hcl

public_url = "https://messages.example.com"

plugins {
  dir = "./bin/plugins"
}

connector "wechat" "main" {
  plugin = "wechat"

  config {
    app_id     = "wx0123456789abcdef"
    app_secret = env("WECHAT_APP_SECRET")

    # As in the console. Without them messages go out, but nothing comes back.
    token            = env("WECHAT_TOKEN")
    encoding_aes_key = env("WECHAT_AES_KEY")
  }
}

# The same account for subscription notices, to users who have asked for one on a page. Callbacks come to the connector
# above, which the console knows: WeChat has one address for an account.
connector "wechat" "notices" {
  plugin = "wechat"

  config {
    app_id        = "wx0123456789abcdef"
    app_secret    = env("WECHAT_APP_SECRET")
    template_type = "subscribe"
    timeout       = "5s"
  }
}
