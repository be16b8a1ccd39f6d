# Huawei Push Kit: apps on Huawei phones. The recipient of a message is a push token.
#
#     HUAWEI_CLIENT_ID=… HUAWEI_CLIENT_SECRET=… HUAWEI_CALLBACK_KEY=… bin/pigeonry config check -c examples/app/huawei.hcl
#
# Id and secret stand in AppGallery Connect under Project settings; receipts are set up under Push Kit, with the address
# https://<this gateway>/callbacks/app/huawei, and a user name and a key of your choice.
#
# With bin/pigeonry-sandbox: set base_url = "http://127.0.0.1:8025" and token_url = "http://127.0.0.1:8025/oauth2/v3/token", take
# HUAWEI_CLIENT_ID=100000001, HUAWEI_CLIENT_SECRET=sandbox-secret-of-huawei and
# HUAWEI_CALLBACK_KEY=sandbox-callback-key-of-huawei, and tell the sandbox where the gateway is:
#
#     curl -X PUT http://127.0.0.1:8025/api/providers/huawei \
#         -d '{"callback_url": "http://127.0.0.1:8080/callbacks/app/huawei"}'

public_url = "https://messages.example.com"

plugins {
  dir = "./bin/plugins"
}

connector "app" "huawei" {
  plugin = "app"

  config {
    title = "Example Shop" # of notifications whose message has no subject: Push Kit wants one

    huawei {
      client_id     = env("HUAWEI_CLIENT_ID")
      client_secret = env("HUAWEI_CLIENT_SECRET")
      base_url      = "https://push-api.cloud.huawei.com"
      token_url     = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"

      callback_user = "sandbox"
      callback_key  = env("HUAWEI_CALLBACK_KEY")
    }
  }
}
