# An app of Feishu with a bot: it writes to users and groups, and hears when its messages are read and what users write. The
# recipient of a message is an open_id (ou_…), a union_id (on_…), a group (oc_…), an e-mail address or a user_id.
#
#     FEISHU_APP_ID=cli_… FEISHU_APP_SECRET=… FEISHU_VERIFICATION_TOKEN=… FEISHU_ENCRYPT_KEY=… \
#         bin/pigeonry config check -c examples/feishu/app.hcl
#
# The request URL of the developer console is https://<this gateway>/callbacks/feishu/app.
#
# With bin/pigeonry-sandbox: set base_url = "http://127.0.0.1:8025", FEISHU_APP_ID=cli_sandbox, FEISHU_APP_SECRET=sandbox-secret,
# FEISHU_VERIFICATION_TOKEN=sandbox-token and FEISHU_ENCRYPT_KEY=sandbox-encrypt-key, and tell the sandbox where the gateway is:
#
#     curl -X PUT http://127.0.0.1:8025/api/providers/feishu \
#         -d '{"callback_url": "http://127.0.0.1:8080/callbacks/feishu/app"}'

plugins {
  dir = "./bin/plugins"
}

connector "feishu" "app" {
  plugin = "feishu"

  config {
    base_url = "https://open.feishu.cn" # https://open.larksuite.com for Lark

    app {
      app_id     = env("FEISHU_APP_ID")
      app_secret = env("FEISHU_APP_SECRET")

      verification_token = env("FEISHU_VERIFICATION_TOKEN")
      encrypt_key        = env("FEISHU_ENCRYPT_KEY")
    }
  }
}
