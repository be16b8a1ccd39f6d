# The Official Account that pigeonry-sandbox plays, with its default settings.
#
#     bin/pigeonry-sandbox &
#     bin/pigeonry config check -c examples/wechat/sandbox.hcl
#     bin/pigeonry serve -c examples/wechat/sandbox.hcl &
#
# Tell the sandbox where its receipts and the messages of its users go, and let a user write:
#
#     curl -X PUT http://127.0.0.1:8025/api/providers/wechat -d '{"callback_url": "http://127.0.0.1:8080/callbacks/wechat/main"}'
#     curl http://127.0.0.1:8025/api/providers/wechat/events -d '{"from": "ann", "text": "Hello"}'

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
