# Custom bots of Feishu groups: each posts into the group that it was added to. The recipient of a message is the name of a
# hook below.
#
#     FEISHU_OPS_TOKEN=… FEISHU_OPS_SECRET=… bin/pigeonry config check -c examples/feishu/bots.hcl
#
# With bin/pigeonry-sandbox: set base_url = "http://127.0.0.1:8025", FEISHU_OPS_TOKEN=sandbox-hook-signed and
# FEISHU_OPS_SECRET=sandbox-secret.

plugins {
  dir = "./bin/plugins"
}

connector "feishu" "bots" {
  plugin = "feishu"

  config {
    webhook {
      hooks = {
        ops = {
          token  = env("FEISHU_OPS_TOKEN") # the webhook address after /hook/
          secret = env("FEISHU_OPS_SECRET") # "signature verification" of the bot's security settings
        }
      }

      # What Feishu allows one bot. With two gateways, give each a half.
      per_second = 5
      per_minute = 100
    }
  }
}
