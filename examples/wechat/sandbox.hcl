# The Official Account that pigeonry-sandbox plays, with its default settings. Tell the sandbox where its callbacks go:
#
#     bin/pigeonry-sandbox &
#     bin/pigeonry config check -c examples/wechat/sandbox.hcl
#     bin/pigeonry serve -c examples/wechat/sandbox.hcl

plugins {
  dir = "./bin/plugins"
}

connector "wechat" "main" {
  plugin = "wechat"

  config {
    app_id           = "wx5a9db0c5a9db0c00"
    app_secret       = "sandbox-secret-of-wechat-00000000"
    token            = "sandboxtoken"
    encoding_aes_key = "sandboxsandboxsandboxsandboxsandboxsandbox0"
    base_url         = "http://127.0.0.1:8025"
  }
}
