# Two WeChat Official Accounts. The address for WeChat's console, "Message and event push", is
# <public_url>/callbacks/wechat/shop and <public_url>/callbacks/wechat/school, in safe mode, as XML.
#
#     SHOP_SECRET=… SHOP_TOKEN=… SHOP_AES_KEY=… SCHOOL_SECRET=… \
#       bin/pigeonry config check -c examples/wechat/official-account.hcl

public_url = "https://messages.example.com"

plugins {
  dir = "./bin/plugins"
}

# A service account: template messages with receipts, subscription notices (attribute type = "subscribe"),
# customer-service messages, and what users write and do.
connector "wechat" "shop" {
  plugin = "wechat"

  config {
    app_id     = "wx0123456789abcdef"
    app_secret = env("SHOP_SECRET")

    # As in the console. Without them messages go out, but nothing comes back.
    token            = env("SHOP_TOKEN")
    encoding_aes_key = env("SHOP_AES_KEY")
  }
}

# An account that sends subscription notices and wants nothing back, over the access point in Shanghai.
connector "wechat" "school" {
  plugin = "wechat"

  config {
    app_id        = "wxfedcba9876543210"
    app_secret    = env("SCHOOL_SECRET")
    template_type = "subscribe"
    base_url      = "https://sh.api.weixin.qq.com"
    timeout       = "5s"
  }
}
